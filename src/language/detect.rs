//! Detection of a message's language, by the words of the language files and by the letter groups of these words.

use super::{Language, words::fold};
use std::collections::{HashMap, HashSet};
use unicode_segmentation::UnicodeSegmentation;

/// Evidence of a word that one language lists and another does not.
const KNOWN_WORD: f64 = 4.0;
/// Maximum evidence of a word by its letter groups.
const MAX_BY_LETTERS: f64 = 3.0;
/// Minimum lead of the most likely language.
const MIN_LEAD: f64 = 0.7;
/// Added to each count of a letter group, so that an unseen one does not exclude a language.
const SMOOTHING: f64 = 0.3;
/// Longest part of a message that is considered, in words.
const MAX_WORDS: usize = 200;

/// Knowledge of one language's words.
#[derive(Clone, Debug)]
struct Vocabulary {
    words: HashSet<String>,
    /// Number of listed words with a group of three letters.
    groups: HashMap<[char; 3], f64>,
    total: f64,
}

/// Vocabularies of all languages, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Detector {
    vocabularies: Vec<Vocabulary>,
}

impl Detector {
    pub(super) fn new(languages: &[Language]) -> Self {
        Self { vocabularies: languages.iter().map(|language| Vocabulary::new(&language.listed)).collect() }
    }

    /// Returns the index of the most likely language; `None` if none leads clearly.
    pub(super) fn detect(&self, text: &str) -> Option<usize> {
        let mut evidence = vec![0.0; self.vocabularies.len()];
        for word in text.unicode_words().take(MAX_WORDS) {
            self.weigh(word, &mut evidence);
        }
        let best = (0..evidence.len()).max_by(|a, b| evidence[*a].total_cmp(&evidence[*b]))?;
        let mut others = evidence.iter().enumerate().filter(|(index, _)| *index != best);
        others.all(|(_, other)| evidence[best] - other >= MIN_LEAD).then_some(best)
    }

    fn weigh(&self, word: &str, evidence: &mut [f64]) {
        let folded = fold(word);
        let known: Vec<bool> = self.vocabularies.iter().map(|language| language.words.contains(&folded)).collect();
        if known.contains(&true) {
            for (evidence, known) in evidence.iter_mut().zip(known) {
                *evidence += if known { KNOWN_WORD } else { 0.0 };
            }
            return;
        }
        // A group that no language knows, such as one of another script, is no evidence.
        let is_known = |group: &[char; 3]| self.vocabularies.iter().any(|language| language.groups.contains_key(group));
        let groups: Vec<_> = groups(word).into_iter().filter(is_known).collect();
        let likelihoods: Vec<f64> = self.vocabularies.iter().map(|language| language.likelihood(&groups)).collect();
        let lowest = likelihoods.iter().copied().fold(f64::INFINITY, f64::min);
        for (evidence, likelihood) in evidence.iter_mut().zip(likelihoods) {
            *evidence += (likelihood - lowest).min(MAX_BY_LETTERS);
        }
    }
}

impl Vocabulary {
    fn new(listed: &[String]) -> Self {
        let words: HashSet<String> = listed.iter().map(|word| fold(word)).collect();
        let mut counts: HashMap<[char; 3], f64> = HashMap::new();
        let distinct: HashSet<String> = listed.iter().map(|word| word.to_lowercase()).collect();
        for group in distinct.iter().flat_map(|word| groups(word)) {
            *counts.entry(group).or_default() += 1.0;
        }
        let total = counts.values().sum();
        Self { words, groups: counts, total }
    }

    /// Returns the logarithm of the probability that a word of the language has these letter groups.
    fn likelihood(&self, groups: &[[char; 3]]) -> f64 {
        let probability = |group| (self.groups.get(group).copied().unwrap_or(0.0) + SMOOTHING) / (self.total + 1_000.0);
        groups.iter().map(|group| f64::ln(probability(group))).sum()
    }
}

/// Returns the groups of three letters in a word; the word is bounded by spaces. None if it has a digit.
fn groups(word: &str) -> Vec<[char; 3]> {
    if word.chars().any(|c| !c.is_alphabetic()) {
        return Vec::new();
    }
    let letters: Vec<char> = [' '].into_iter().chain(word.chars().flat_map(char::to_lowercase)).chain([' ']).collect();
    letters.windows(3).map(|group| [group[0], group[1], group[2]]).collect()
}
