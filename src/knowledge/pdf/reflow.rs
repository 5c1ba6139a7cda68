//! Reflow of extracted text: joins lines to paragraphs, replaces ligatures and removes hyphenation.

use std::collections::HashSet;

/// Conjunctions between compounds that share a part, as in "input- and output". A hyphen before them is kept.
const CONJUNCTIONS: &[&str] =
    &["and", "or", "to", "und", "oder", "bis", "bzw", "sowie", "et", "ou", "y", "o", "e", "en", "of"];

/// Joins the lines of each paragraph; keeps empty lines between paragraphs.
pub(super) fn reflow(text: &str) -> String {
    let text = replace_ligatures(text);
    let words = Words::of(&text);
    let mut reflowed = String::with_capacity(text.len());
    let mut is_paragraph_over = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            is_paragraph_over = true;
            continue;
        }
        // A hyphenated word continues even across a paragraph or page break.
        match words.join(&reflowed, line) {
            Join::Word => {
                reflowed.pop();
            }
            Join::Compound => {}
            Join::Line if reflowed.is_empty() => {}
            Join::Line => reflowed.push_str(if is_paragraph_over { "\n\n" } else { " " }),
        }
        reflowed.push_str(line);
        is_paragraph_over = false;
    }
    // Soft hyphens at line ends have been handled.
    reflowed.replace('\u{ad}', "")
}

fn replace_ligatures(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{fb00}' => plain.push_str("ff"),
            '\u{fb01}' => plain.push_str("fi"),
            '\u{fb02}' => plain.push_str("fl"),
            '\u{fb03}' => plain.push_str("ffi"),
            '\u{fb04}' => plain.push_str("ffl"),
            '\u{fb05}' | '\u{fb06}' => plain.push_str("st"),
            c => plain.push(c),
        }
    }
    plain
}

const fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}' | '\u{ad}')
}

/// Way to join a line to the text before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    /// Remove the hyphen of a hyphenated word.
    Word,
    /// Keep the hyphen of a compound.
    Compound,
    Line,
}

/// Words of a text, used to recognize compounds that occur unbroken elsewhere.
struct Words<'a> {
    whole: HashSet<&'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let words = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
        Self { whole: words.filter(|word| !word.is_empty()).collect() }
    }

    fn join(&self, before: &str, line: &str) -> Join {
        let Some(hyphen) = before.chars().next_back().filter(|c| is_hyphen(*c)) else { return Join::Line };
        let stem = &before[..before.len() - hyphen.len_utf8()];
        let start = stem.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let first = stem[start..].trim_start_matches(|c: char| !c.is_alphanumeric());
        let second = line.split(|c: char| !(c.is_alphanumeric() || is_hyphen(c))).next().unwrap_or_default();
        let (Some(last), Some(next)) = (first.chars().next_back(), second.chars().next()) else { return Join::Line };
        if !last.is_alphanumeric() {
            return Join::Line;
        }
        if hyphen == '\u{ad}' {
            return Join::Word;
        }
        if CONJUNCTIONS.contains(&second) {
            return Join::Line;
        }
        // "A-\nGround", "COVID-\n19", "x-\nray", "state-of-\nthe-art"
        let is_compound = !next.is_lowercase()
            || !last.is_alphabetic()
            || first.chars().nth(1).is_none()
            || first.contains(is_hyphen)
            || second.contains(is_hyphen);
        if is_compound || self.whole.contains(format!("{first}-{second}").as_str()) {
            Join::Compound
        } else {
            Join::Word
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_paragraph_are_joined() {
        assert_eq!(reflow("\n\nOne\n two \n\n\nThree\n"), "One two\n\nThree");
        assert_eq!(reflow(""), "");
    }

    #[test]
    fn ligatures_are_replaced_by_letters() {
        assert_eq!(
            reflow("o\u{fb03}ce \u{fb01}le \u{fb02}ow o\u{fb00} ba\u{fb04}e \u{fb05}op \u{fb06}"),
            "office file flow off baffle stop st"
        );
    }

    #[test]
    fn hyphenated_words_are_joined() {
        for (text, expected) in [
            ("Regular main-\ntenance of the trans-\nmission.", "Regular maintenance of the transmission."),
            ("main\u{2010}\ntenance", "maintenance"),
            ("main\u{ad}\ntenance, main\u{ad}tenance", "maintenance, maintenance"),
            ("Getriebeöl-\nwechsel", "Getriebeölwechsel"),
            ("the word goes on-\n\nwards on another page", "the word goes onwards on another page"),
            ("(main-\ntenance)", "(maintenance)"),
        ] {
            assert_eq!(reflow(text), expected);
        }
    }

    #[test]
    fn compounds_keep_their_hyphen() {
        for (text, expected) in [
            ("a well-known fact is well-\nknown", "a well-known fact is well-known"),
            ("state-of-\nthe-art", "state-of-the-art"),
            ("an x-\nray", "an x-ray"),
            ("Baden-\nWürttemberg", "Baden-Württemberg"),
            ("COVID-\n19", "COVID-19"),
            ("Ein-\nund Ausgabe", "Ein- und Ausgabe"),
            ("input-\nand output", "input- and output"),
            ("a dash -\nand more", "a dash - and more"),
            ("-\nitem", "- item"),
            ("1990-\n2000", "1990-2000"),
        ] {
            assert_eq!(reflow(text), expected);
        }
    }
}
