//! Sets of phrases, looked up in the words of a message.

use super::words::{Word, words};
use std::collections::HashMap;

/// A set of phrases of one or more words. A `*` at the beginning or end of a word stands for any letters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phrases {
    /// Phrases by their first word.
    by_first: HashMap<String, Vec<Box<[Pattern]>>>,
    /// Phrases whose first word has a `*`.
    open: Vec<Box<[Pattern]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Infix(String),
}

impl Pattern {
    fn matches(&self, word: &str) -> bool {
        match self {
            Self::Exact(text) => word == text,
            Self::Prefix(text) => word.starts_with(text.as_str()),
            Self::Suffix(text) => word.ends_with(text.as_str()),
            Self::Infix(text) => word.contains(text.as_str()),
        }
    }
}

impl Phrases {
    /// Adds a phrase; `false` if it has no word.
    pub(crate) fn add(&mut self, phrase: &str) -> bool {
        let patterns: Box<[Pattern]> = phrase.split_whitespace().flat_map(patterns).collect();
        match patterns.first() {
            None => return false,
            Some(Pattern::Exact(first)) => self.by_first.entry(first.clone()).or_default().push(patterns),
            Some(_) => self.open.push(patterns),
        }
        true
    }

    /// Returns the lengths in words of the phrases that begin at a word of a message.
    pub(crate) fn lengths_at<'a>(&'a self, message: &'a [Word], at: usize) -> impl Iterator<Item = usize> + 'a {
        let rest = &message[at..];
        let known = rest.first().and_then(|first| self.by_first.get(&first.text)).map(Vec::as_slice);
        known.unwrap_or_default().iter().chain(&self.open).filter_map(move |phrase| {
            let begins =
                rest.len() >= phrase.len() && phrase.iter().zip(rest).all(|(part, word)| part.matches(&word.text));
            begins.then_some(phrase.len())
        })
    }

    /// Returns the length in words of the longest phrase that begins at a word of a message; 0 if none does.
    pub(crate) fn longest_at(&self, message: &[Word], at: usize) -> usize {
        self.lengths_at(message, at).max().unwrap_or(0)
    }

    /// Whether the whole message is one of the phrases.
    pub(crate) fn is_whole(&self, message: &[Word]) -> bool {
        !message.is_empty() && self.lengths_at(message, 0).any(|length| length == message.len())
    }

    /// Whether a phrase occurs in a message.
    pub(crate) fn occurs_in(&self, message: &[Word]) -> bool {
        (0..message.len()).any(|at| self.lengths_at(message, at).next().is_some())
    }
}

fn patterns(token: &str) -> Vec<Pattern> {
    let (from_start, to_end) = (!token.starts_with('*'), !token.ends_with('*'));
    let texts = words(token);
    let last = texts.len().saturating_sub(1);
    let pattern = |(index, word): (usize, Word)| match (from_start || index > 0, to_end || index < last) {
        (true, true) => Pattern::Exact(word.text),
        (true, false) => Pattern::Prefix(word.text),
        (false, true) => Pattern::Suffix(word.text),
        (false, false) => Pattern::Infix(word.text),
    };
    texts.into_iter().enumerate().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(phrases: &[&str]) -> Phrases {
        let mut set = Phrases::default();
        phrases.iter().for_each(|phrase| assert!(set.add(phrase), "{phrase}"));
        set
    }

    #[test]
    fn phrases_match_whole_words_and_open_endings() {
        let set = set(&["fire", "on fire", "smok*", "*brand", "*lampe brennt", "e-mail"]);
        for (text, at, length) in [
            ("my car is on FIRE", 3, 2),
            ("fire", 0, 1),
            ("smoking", 0, 1),
            ("Kabelbrand", 0, 1),
            ("die Öllampe brennt", 1, 2),
            ("an E-Mail", 1, 2),
            ("fired", 0, 0),
            ("brandneu", 0, 0),
            ("on", 0, 0),
        ] {
            assert_eq!(set.longest_at(&words(text), at), length, "{text}");
        }
        assert!(set.is_whole(&words("On fire!")) && !set.is_whole(&words("fire now")) && !set.is_whole(&[]));
        assert!(set.occurs_in(&words("no smoke here")) && !set.occurs_in(&words("nothing")));
    }

    #[test]
    fn a_phrase_needs_a_word() {
        assert!(!Phrases::default().add("*") && !Phrases::default().add(" ! "));
    }
}
