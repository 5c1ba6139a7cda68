//! The words of a text that say what it is about: without stop words, and reduced to their stems.
//!
//! The full-text index has its own stemmer; this one serves what happens outside of it, such as choosing sentences.

use rust_stemmers::{Algorithm, Stemmer};
use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;

/// The words of a question that take part in a search; those after it do not. Bounds what one search costs.
pub const MAX_QUERY_TERMS: usize = 32;
/// The longest word that counts as one, in bytes; longer ones are data.
const MAX_TERM_BYTES: usize = 64;

/// Words that a question has whatever it is about.
const STOP_WORDS: &[&str] = &[
    "a",
    "about",
    "after",
    "again",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "anything",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "being",
    "big",
    "but",
    "by",
    "can",
    "cannot",
    "could",
    "couldn",
    "did",
    "didn",
    "do",
    "does",
    "doesn",
    "doing",
    "don",
    "exactly",
    "explain",
    "find",
    "for",
    "from",
    "get",
    "give",
    "go",
    "had",
    "has",
    "hasn",
    "have",
    "haven",
    "having",
    "he",
    "hello",
    "help",
    "her",
    "here",
    "hey",
    "hi",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "isn",
    "it",
    "its",
    "just",
    "know",
    "large",
    "let",
    "ll",
    "many",
    "may",
    "me",
    "mean",
    "might",
    "more",
    "most",
    "much",
    "must",
    "my",
    "need",
    "now",
    "of",
    "ok",
    "okay",
    "on",
    "one",
    "or",
    "our",
    "out",
    "own",
    "please",
    "re",
    "right",
    "say",
    "see",
    "shall",
    "she",
    "should",
    "shouldn",
    "show",
    "small",
    "so",
    "some",
    "something",
    "such",
    "tell",
    "thank",
    "thanks",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "to",
    "today",
    "too",
    "us",
    "use",
    "ve",
    "very",
    "want",
    "was",
    "we",
    "well",
    "were",
    "what",
    "when",
    "where",
    "which",
    "who",
    "why",
    "will",
    "with",
    "won",
    "would",
    "wouldn",
    "yes",
    "you",
    "your",
];

/// The telling words of a question, in lower case, each once, at most [`MAX_QUERY_TERMS`].
pub fn query_terms(question: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    words(question).filter(|word| !is_stop_word(word) && seen.insert(stem(word))).take(MAX_QUERY_TERMS).collect()
}

/// The stems of the telling words of a text, in order, with repetitions.
pub fn stems(text: &str) -> Vec<String> {
    words(text).filter(|word| !is_stop_word(word)).map(|word| stem(&word)).collect()
}

/// The words of a text in lower case; of `won't` and `car's` what stands before the apostrophe.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.unicode_words()
        .filter_map(|word| word.split(['\'', '’']).next())
        .filter(|word| !word.is_empty() && word.len() <= MAX_TERM_BYTES)
        .map(str::to_lowercase)
}

fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok() || (word.len() == 1 && word.chars().all(|c| c.is_ascii_alphabetic()))
}

fn stem(word: &str) -> String {
    Stemmer::create(Algorithm::English).stem(word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_can_be_looked_up() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn what_is_left_is_what_the_question_is_about() {
        assert_eq!(query_terms("What is the engine power?"), ["engine", "power"]);
        assert_eq!(query_terms("My car's engine won't start, why?"), ["car", "engine", "start"]);
        assert_eq!(query_terms("What is it?"), Vec::<String>::new());
    }

    #[test]
    fn forms_of_a_word_are_one_term() {
        assert_eq!(query_terms("brake, brakes and braking"), ["brake"]);
        assert_eq!(stems("Braking brakes"), ["brake", "brake"]);
    }

    #[test]
    fn a_question_of_any_length_makes_a_bounded_search() {
        let question: String = (0..1_000).map(|n| format!("word{n} ")).collect();
        assert_eq!(query_terms(&question).len(), MAX_QUERY_TERMS);
        assert_eq!(query_terms(&"x".repeat(100)), Vec::<String>::new());
    }
}
