//! Character folding: maps different spellings of a text to one. Replaces compatibility forms (full width, half width,
//! ligatures), removes accents and invisible characters, and unifies apostrophes, hyphens and digits.

use unicode_normalization::UnicodeNormalization;

/// Folds the characters of a text but keeps its case, which marks the parts of `camelCase`.
///
/// Removes accents that users commonly omit in a search (Latin, Greek, Cyrillic except й, Arabic and Hebrew points). Keeps
/// marks that distinguish letters: vowel signs, tone marks, the voicing marks of kana.
pub(super) fn fold_spelling(text: &str) -> String {
    let mut base = '\0';
    separated(text)
        .nfkd()
        .filter_map(move |c| {
            if is_accent(c) {
                let makes_a_letter = c == '\u{306}' && matches!(base, '\u{400}'..='\u{52f}');
                return makes_a_letter.then_some(c);
            }
            base = c;
            Some(unified(c))
        })
        .nfc()
        .collect()
}

/// Converts to lower case, and replaces letters without a Unicode decomposition by their common ASCII spelling.
pub(super) fn fold_case(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ı' => folded.push('i'),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ħ' => folded.push('h'),
            'ŧ' => folded.push('t'),
            'ς' => folded.push('σ'),
            c => folded.push(c),
        }
    }
    folded
}

/// Prepares a text for decomposition: removes invisible characters, and inserts a space where the decomposition would merge
/// two numbers (`10²` is not 102, `1½` is not 11⁄2).
fn separated(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut before = '\0';
    text.chars().filter(|c| !is_invisible(*c)).flat_map(move |c| {
        let splits = before.is_ascii_digit() && (is_raised_or_lowered(c) || is_fraction(c));
        before = c;
        let c = match c {
            // Would decompose to a space and an accent.
            '´' => '\'',
            '™' | '℠' => ' ',
            c => c,
        };
        splits.then_some(' ').into_iter().chain([c])
    })
}

fn unified(c: char) -> char {
    const ZEROS: [u32; 17] = [
        0x660, 0x6f0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20, 0x1040,
        0x17e0, 0x1810,
    ];
    match c {
        '`' | '‘' | '’' | '‛' | '′' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | 'ˈ' | '՚' | '׳' | 'ꞌ' => '\'',
        '‐'..='―' | '−' | '⁃' | '֊' | '־' | '⸺' | '⸻' => '-',
        '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{b}' | '\u{c}' => '\n',
        '\r' => ' ',
        '\u{660}'..='\u{1819}' => ZEROS
            .iter()
            .find_map(|zero| (c as u32).checked_sub(*zero).filter(|digit| *digit < 10))
            .and_then(|digit| char::from_digit(digit, 10))
            .unwrap_or(c),
        c => c,
    }
}

fn is_accent(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36f}'
            | '\u{591}'..='\u{5bd}'
            | '\u{5bf}'
            | '\u{5c1}'..='\u{5c2}'
            | '\u{5c4}'..='\u{5c5}'
            | '\u{5c7}'
            | '\u{640}'
            | '\u{64b}'..='\u{65f}'
            | '\u{670}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Whether a character is invisible and does not separate words: soft hyphens, zero-width characters, direction marks,
/// variation selectors. The zero-width space separates words in Thai and Khmer, but n-grams need no word boundaries.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\0' | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a character is a superscript or subscript digit.
fn is_raised_or_lowered(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '⁰'..='⁹' | '₀'..='₉')
}

fn is_fraction(c: char) -> bool {
    matches!(c, '¼'..='¾' | '⅐'..='⅞' | '↉')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        fold_case(&fold_spelling(text))
    }

    #[test]
    fn spellings_of_the_same_text_are_unified() {
        for (text, expected) in [
            ("Ｔｙｒｅ　ﾀｲﾔ", "tyre タイヤ"),
            ("eﬃcient ﬁlter", "efficient filter"),
            ("main\u{ad}tenance", "maintenance"),
            ("work\u{200b}shop \u{feff}a\u{2060}b\u{200d}c\u{200c}d", "workshop abcd"),
            ("İstanbul ILIK ılık", "istanbul ilik ilik"),
            ("cafe\u{301} CAFÉ café", "cafe cafe cafe"),
            ("Straße STRASSE STRAẞE", "strasse strasse strasse"),
            ("O’B O‘B OʼB O＇B O´B O`B O′B", "o'b o'b o'b o'b o'b o'b o'b"),
            ("a‐b a‑b a–b a—b a−b a－b", "a-b a-b a-b a-b a-b a-b"),
            ("15\u{a0}000 15\u{202f}000 15\u{2009}000", "15 000 15 000 15 000"),
            ("١٢٣ ๑๒๓ १२३", "123 123 123"),
            ("CO₂ 10² 1½ ㎞ Brand™", "co2 10 2 1 1⁄2 km brand "),
            ("Łódź Ærø ΣΊΣΥΦΟΣ", "lodz aero σισυφοσ"),
            ("مُحَمَّد أحمد", "محمد احمد"),
        ] {
            assert_eq!(folded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn marks_that_distinguish_letters_are_kept() {
        for (one, other) in [("か", "が"), ("ハ", "パ"), ("мой", "мои"), ("कल", "काल"), ("มา", "ม้า"), ("가", "각")]
        {
            assert_ne!(folded(one), folded(other));
        }
        // Composed and decomposed forms are equal.
        assert_eq!(folded("か\u{3099}"), folded("が"));
        assert_eq!(folded("и\u{306}"), folded("й"));
        assert_eq!(folded("\u{1100}\u{1161}"), folded("가"));
    }
}
