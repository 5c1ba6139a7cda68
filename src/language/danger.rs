//! Rules that recognise a message about danger.

use super::{phrases::Phrases, words::Word};
use std::ops::Range;

/// Maximum number of words between the two of a pair.
const MAX_WORDS_BETWEEN: usize = 5;
/// The same for a danger and the words that say that it is over.
const MAX_WORDS_BEFORE_OVER: usize = 4;

/// Phrases and pairs of words that mean danger, and exceptions.
#[derive(Clone, Debug, Default)]
pub struct DangerRules {
    pub(super) phrases: Phrases,
    pub(super) pairs: Vec<Pair>,
    /// Parts on which safety depends: danger, unless the message only enquires about them.
    pub(super) subjects: Phrases,
    /// Forms of an enquiry, such as "how much" or "does it have".
    pub(super) enquiries: Phrases,
    /// Words that no mere enquiry has, such as "noise".
    pub(super) symptoms: Phrases,
    /// Phrases that are taken out of a message, except where a longer phrase of danger covers them.
    pub(super) exceptions: Phrases,
    /// As `exceptions`, within a clause.
    pub(super) exception_pairs: Vec<Pair>,
    /// Words that negate the phrase or pair of these rules that follows.
    pub(super) negations: Phrases,
    /// A danger, then words that say that it is over, within a clause.
    pub(super) over: Vec<Pair>,
    /// Words of a message in which nothing is over, such as "again".
    pub(super) resumed: Phrases,
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

/// A message and its words.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub text: &'a str,
    pub words: &'a [Word],
}

/// Whether a message is about danger under any of the rules. The exceptions of each apply to all.
pub(super) fn is_dangerous(message: Message<'_>, rules: &[&DangerRules]) -> bool {
    let occurring = |phrases: fn(&DangerRules) -> &Phrases| -> Vec<Range<usize>> {
        rules.iter().flat_map(|rules| message.occurrences(phrases(rules))).collect()
    };
    let phrases = occurring(|rules| &rules.phrases);
    let subjects = occurring(|rules| &rules.subjects);
    let pairs: Vec<[Range<usize>; 2]> = rules.iter().flat_map(|rules| message.near(&rules.pairs)).collect();
    if phrases.is_empty() && pairs.is_empty() && subjects.is_empty() {
        return false;
    }
    let mut excepted = vec![false; message.words.len()];
    for exception in occurring(|rules| &rules.exceptions) {
        let is_covered = |phrase: &Range<usize>| {
            phrase.start <= exception.start && exception.end <= phrase.end && exception.len() < phrase.len()
        };
        if !phrases.iter().any(is_covered) {
            excepted[exception].fill(true);
        }
    }
    let in_clause = |[one, other]: &[Range<usize>; 2]| message.is_clause(one, other);
    for pair in rules.iter().flat_map(|rules| message.near(&rules.exception_pairs)).filter(in_clause) {
        pair.into_iter().for_each(|part| excepted[part].fill(true));
    }
    rules.iter().flat_map(|rules| message.negated(rules)).for_each(|part| excepted[part].fill(true));
    if occurring(|rules| &rules.resumed).is_empty() {
        rules.iter().flat_map(|rules| message.over(&rules.over)).for_each(|part| excepted[part].fill(true));
    }
    let counts = |part: &Range<usize>| !excepted[part.clone()].contains(&true);
    if phrases.iter().any(counts) || pairs.iter().any(|pair| pair.iter().all(counts)) {
        return true;
    }
    let is_enquiry =
        || !occurring(|rules| &rules.enquiries).is_empty() && occurring(|rules| &rules.symptoms).is_empty();
    subjects.iter().any(counts) && !is_enquiry()
}

impl<'a> Message<'a> {
    fn occurrences(self, phrases: &Phrases) -> Vec<Range<usize>> {
        let at = |at| phrases.lengths_at(self.words, at).map(move |length| at..at + length);
        (0..self.words.len()).flat_map(at).collect()
    }

    fn near(self, pairs: &[Pair]) -> Vec<[Range<usize>; 2]> {
        let mut found = Vec::new();
        for pair in pairs {
            let seconds = self.occurrences(&pair.second);
            if seconds.is_empty() {
                continue;
            }
            for first in self.occurrences(&pair.first) {
                let is_near = |second: &&Range<usize>| {
                    let between = second.start.checked_sub(first.end).or_else(|| first.start.checked_sub(second.end));
                    between.is_some_and(|words| words <= MAX_WORDS_BETWEEN)
                };
                found.extend(seconds.iter().filter(is_near).map(|second| [first.clone(), second.clone()]));
            }
        }
        found
    }

    /// Returns the phrases, and the parts of pairs, directly after a negation.
    fn negated(self, rules: &DangerRules) -> Vec<Range<usize>> {
        let negations = self.occurrences(&rules.negations);
        if negations.is_empty() {
            return negations;
        }
        let mut matches = self.occurrences(&rules.phrases);
        matches.extend(self.near(&rules.pairs).into_iter().flatten());
        let follows = |negation: &Range<usize>, part: &Range<usize>| {
            negation.end == part.start && self.gap(negation.end).trim().is_empty()
        };
        matches.retain(|part| negations.iter().any(|negation| follows(negation, part)));
        matches
    }

    /// Returns the parts of the message about a danger that is over.
    fn over(self, pairs: &[Pair]) -> Vec<Range<usize>> {
        let found = self.near(pairs).into_iter();
        let is_over = |[danger, over]: &[Range<usize>; 2]| {
            over.start.checked_sub(danger.end).is_some_and(|words| words <= MAX_WORDS_BEFORE_OVER)
                && self.is_clause(danger, over)
        };
        found.filter(is_over).map(|[danger, over]| danger.start..over.end).collect()
    }

    /// Whether no punctuation is between two parts.
    fn is_clause(self, one: &Range<usize>, other: &Range<usize>) -> bool {
        let (from, to) = if one.end <= other.start { (one.end, other.start) } else { (other.end, one.start) };
        (from..=to).all(|at| !self.gap(at).contains([',', '.', ';', ':', '!', '?', '\n']))
    }

    /// Returns the text before a word, after the word before it.
    fn gap(self, at: usize) -> &'a str {
        let from = at.checked_sub(1).map_or(0, |before| self.words[before].at.end);
        let to = self.words.get(at).map_or(self.text.len(), |word| word.at.start);
        &self.text[from..to]
    }
}
