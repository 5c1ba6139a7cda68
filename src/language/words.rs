//! Words of a message, folded so that spellings compare equal.

use std::ops::Range;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_segmentation::UnicodeSegmentation;

/// A word and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word as [`fold`] returns it.
    pub text: String,
    /// The bytes of the word in the text.
    pub at: Range<usize>,
}

/// Returns the words of a text, in order.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let word = |(start, word): (usize, &str)| Word { text: fold(word), at: start..start + word.len() };
    text.unicode_word_indices().map(word).filter(|word| !word.text.is_empty()).collect()
}

/// Folds a word: NFKC, lower case, no apostrophes and accents, "ä" as "ae" and "ß" as "ss", repeated letters once.
pub(crate) fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    let mut push = |c: char| {
        // Digits may repeat: 112 is not 12.
        if !(c.is_alphabetic() && folded.ends_with(c)) {
            folded.push(c);
        }
    };
    for c in word.nfkc().flat_map(char::to_lowercase) {
        match c {
            '\'' | '’' | '‘' | '´' | '`' => {}
            'ä' => ['a', 'e'].into_iter().for_each(&mut push),
            'ö' => ['o', 'e'].into_iter().for_each(&mut push),
            'ü' => ['u', 'e'].into_iter().for_each(&mut push),
            'ß' => push('s'),
            _ => [c].into_iter().nfd().filter(|c| !is_combining_mark(*c)).for_each(&mut push),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_compare_equal() {
        for (one, other) in [
            ("HELLO", "helo"),
            ("hiiii", "hi"),
            ("What's", "whats"),
            ("what’s", "whats"),
            ("Grüß", "gruess"),
            ("fu\u{308}r", "fuer"),
            ("adé", "ade"),
            ("ＦＩＲＥ", "fire"),
        ] {
            assert_eq!(fold(one), fold(other), "{one}");
        }
        assert_eq!([fold("112"), fold("12"), fold("999")], ["112", "12", "999"]);
    }

    #[test]
    fn words_keep_their_place() {
        let text = "Es brennt – 112!";
        let found = words(text);
        assert_eq!(found.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["es", "brent", "112"]);
        assert_eq!(&text[found[2].at.clone()], "112");
        assert!(words(" … 👍 ").is_empty());
    }
}
