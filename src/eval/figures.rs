//! Figures with units in a text, such as `180 kW`, `15,000 km` or `€0.20`.

use std::collections::BTreeSet;

/// Units after a figure, in any case. A unit of one letter is written as it stands here: "30 A" is a current, "30 a day" is
/// none.
const UNITS: &[&str] = &[
    // Length, area, volume, mass.
    "mm",
    "cm",
    "m",
    "km",
    "metre",
    "metres",
    "meter",
    "metern",
    "kilometres",
    "kilometer",
    "kilometern",
    "miles",
    "inch",
    "inches",
    "zoll",
    "m²",
    "ml",
    "l",
    "litre",
    "litres",
    "liter",
    "litern",
    "g",
    "kg",
    "t",
    "tonnes",
    "tonnen",
    // Time.
    "ms",
    "s",
    "min",
    "h",
    "second",
    "seconds",
    "sekunde",
    "sekunden",
    "minute",
    "minutes",
    "minuten",
    "hour",
    "hours",
    "stunde",
    "stunden",
    "day",
    "days",
    "tag",
    "tage",
    "tagen",
    "week",
    "weeks",
    "woche",
    "wochen",
    "month",
    "months",
    "monat",
    "monate",
    "monaten",
    "year",
    "years",
    "jahr",
    "jahre",
    "jahren",
    // Speed, force, pressure, power, electricity, temperature.
    "km/h",
    "mph",
    "rpm",
    "nm",
    "N",
    "bar",
    "kpa",
    "psi",
    "W",
    "kw",
    "hp",
    "ps",
    "kwh",
    "wh",
    "V",
    "A",
    "ah",
    "mah",
    "hz",
    "°c",
    "°f",
    "°",
    "dpi",
    "l/100 km",
    // Shares, money, data.
    "%",
    "per cent",
    "percent",
    "prozent",
    "€",
    "eur",
    "euro",
    "euros",
    "cent",
    "cents",
    "ct",
    "£",
    "$",
    "mb",
    "gb",
    "tb",
    "kb",
    "mbit/s",
    "pages",
    "seiten",
];
/// Characters that the longest unit and the one after it have, with some to spare.
const MAX_UNIT_CHARS: usize = 16;
/// Signs of a currency before a figure.
const CURRENCIES: &[char] = &['€', '£', '$'];

/// A figure and its unit: digits as written, the unit as in [`UNITS`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Figure {
    pub number: String,
    pub unit: String,
}

/// Returns the figures with units of a text. Both ends of a range ("10 to 12 bar") take its unit only if it stands after them.
pub(super) fn figures(text: &str) -> BTreeSet<Figure> {
    let mut found = BTreeSet::new();
    for (number, before, after) in numbers(text) {
        let currency = before.trim_end().chars().next_back().filter(|c| CURRENCIES.contains(c));
        if let Some(unit) = currency.map(String::from).or_else(|| unit_after(after).map(str::to_owned)) {
            found.insert(Figure { number: number.to_owned(), unit });
        }
    }
    found
}

/// Whether a passage states a figure: as written, or, in a table, as a cell whose unit stands in another cell such as the
/// heading of the column.
pub(super) fn is_stated(figure: &Figure, passage: &str) -> bool {
    if figures(passage).contains(figure) {
        return true;
    }
    let table: Vec<&str> = passage.lines().filter(|line| line.trim_start().starts_with('|')).collect();
    let has_number = table.iter().any(|line| numbers(line).any(|(number, ..)| number == figure.number));
    has_number && table.iter().any(|line| has_word(&line.to_lowercase(), &figure.unit.to_lowercase()))
}

/// Returns the numbers of a text, each with the text before and after it. Separators of thousands and decimals belong to the
/// number; digits at the end of a word ("P0301") or in a unit ("l/100 km") are no number.
fn numbers(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text[at..].find(|c: char| c.is_ascii_digit())?;
            let end = number_end(text, start);
            at = end;
            let before = &text[..start];
            let is_inside_word = before.ends_with("l/") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if !is_inside_word {
                return Some((&text[start..end], before, &text[end..]));
            }
        }
    })
}

/// Returns the end of the number at `start`: a separator counts only before another digit.
fn number_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut end = start;
    while let Some(byte) = bytes.get(end) {
        let joins = matches!(byte, b'.' | b',') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !byte.is_ascii_digit() && !joins {
            break;
        }
        end += 1;
    }
    end
}

/// Returns the unit at the start of a text, after at most one space: the longest that fits.
fn unit_after(text: &str) -> Option<&'static str> {
    let text = text.strip_prefix([' ', '\u{a0}', '\u{202f}']).unwrap_or(text);
    let written: String = text.chars().take(MAX_UNIT_CHARS).collect();
    let lower = written.to_lowercase();
    let fits = |unit: &&&str| {
        let start = if unit.chars().count() == 1 { &written } else { &lower };
        start.strip_prefix(**unit).is_some_and(|rest| {
            let is_word = unit.ends_with(char::is_alphabetic);
            !is_word || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '/')
        })
    };
    UNITS.iter().filter(fits).max_by_key(|unit| unit.len()).copied()
}

/// Whether `text` contains `word` between word boundaries.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(|c| c.is_alphanumeric() || c == '/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        figures(text).into_iter().map(|figure| format!("{} {}", figure.number, figure.unit)).collect()
    }

    #[test]
    fn figures_have_a_number_and_a_unit() {
        assert_eq!(of("It makes 180 kW (245 hp) and 370 Nm."), ["180 kw", "245 hp", "370 nm"]);
        assert_eq!(of("Every 15,000 km or 12 months"), ["12 months", "15,000 km"]);
        assert_eq!(of("up to 245 km/h, 6.4 l/100 km, 90%"), ["245 km/h", "6.4 l/100 km", "90 %"]);
        assert_eq!(of("fuse of 30 A, 12 V"), ["12 V", "30 A"]);
        assert_eq!(of("€0.20 a day, 24,00 €"), ["0.20 €", "24,00 €"]);
        assert_eq!(of("24\u{202f}mm × 19 \u{b0}C"), ["19 °c", "24 mm"]);
    }

    #[test]
    fn other_numbers_are_no_figures() {
        for text in [
            "P0301",
            "the 2.0T mills",
            "in 2025",
            "112",
            "9:00",
            "1. Switch off",
            "4 passengers",
            "5 lamps",
            "3 are",
            "30 a day",
        ] {
            assert_eq!(of(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_figure_is_stated_with_its_unit_or_in_a_table_with_the_unit_elsewhere() {
        let figure = |text: &str| figures(text).into_iter().next().unwrap();
        assert!(is_stated(&figure("180 kW"), "makes 180 kW."));
        assert!(is_stated(&figure("180 kW"), "makes 180 KW."));
        assert!(!is_stated(&figure("5 l"), "15 l of oil and 5 seats"));
        let table = "| engine | power (kW) |\n| --- | --- |\n| 2.0 | 180 |";
        assert!(is_stated(&figure("180 kW"), table));
        assert!(!is_stated(&figure("180 Nm"), table) && !is_stated(&figure("18 kW"), table));
    }
}
