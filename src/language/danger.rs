//! Rules that recognise a message about danger.

use super::{phrases::Phrases, words::Word};
use std::ops::Range;

/// Maximum number of words between the two of a pair.
const MAX_WORDS_BETWEEN: usize = 5;

/// Phrases and pairs of words that mean danger, and exceptions.
#[derive(Clone, Debug, Default)]
pub struct DangerRules {
    pub(super) phrases: Phrases,
    pub(super) pairs: Vec<Pair>,
    /// Phrases that are taken out of a message, except where a longer phrase of danger covers them.
    pub(super) exceptions: Phrases,
    pub(super) exception_pairs: Vec<Pair>,
}

impl DangerRules {
    /// Adds a phrase that means danger; `false` if it has no word.
    pub(crate) fn add(&mut self, phrase: &str) -> bool {
        self.phrases.add(phrase)
    }
}

/// A phrase of each set, near each other in either order.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub first: Phrases,
    pub second: Phrases,
}

/// Whether a message is about danger under any of the rules. The exceptions of each apply to all.
pub(super) fn is_dangerous(message: &[Word], rules: &[&DangerRules]) -> bool {
    let phrases: Vec<Range<usize>> = rules.iter().flat_map(|rules| occurrences(&rules.phrases, message)).collect();
    let pairs: Vec<[Range<usize>; 2]> = rules.iter().flat_map(|rules| near(&rules.pairs, message)).collect();
    if phrases.is_empty() && pairs.is_empty() {
        return false;
    }
    let mut excepted = vec![false; message.len()];
    for exception in rules.iter().flat_map(|rules| occurrences(&rules.exceptions, message)) {
        let is_covered = |phrase: &Range<usize>| {
            phrase.start <= exception.start && exception.end <= phrase.end && exception.len() < phrase.len()
        };
        if !phrases.iter().any(is_covered) {
            excepted[exception].fill(true);
        }
    }
    for pair in rules.iter().flat_map(|rules| near(&rules.exception_pairs, message)) {
        pair.into_iter().for_each(|part| excepted[part].fill(true));
    }
    let counts = |part: &Range<usize>| !excepted[part.clone()].contains(&true);
    phrases.iter().any(counts) || pairs.iter().any(|pair| pair.iter().all(counts))
}

fn occurrences(phrases: &Phrases, message: &[Word]) -> Vec<Range<usize>> {
    let at = |at| phrases.lengths_at(message, at).map(move |length| at..at + length);
    (0..message.len()).flat_map(at).collect()
}

fn near(pairs: &[Pair], message: &[Word]) -> Vec<[Range<usize>; 2]> {
    let mut found = Vec::new();
    for pair in pairs {
        let seconds = occurrences(&pair.second, message);
        if seconds.is_empty() {
            continue;
        }
        for first in occurrences(&pair.first, message) {
            let is_near = |second: &&Range<usize>| {
                let between = second.start.checked_sub(first.end).or_else(|| first.start.checked_sub(second.end));
                between.is_some_and(|words| words <= MAX_WORDS_BETWEEN)
            };
            found.extend(seconds.iter().filter(is_near).map(|second| [first.clone(), second.clone()]));
        }
    }
    found
}
