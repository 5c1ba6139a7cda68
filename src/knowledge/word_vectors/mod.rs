//! Word vectors: directions that say how similar the meanings of two words are, in English and German alike. They let a search
//! find passages that use other words than the question, or another language, without a network. Pure.
//!
//! [`WordVectors`] finds the vector of a word: in the embedded table ([`table`]), or composed of the vectors of its parts, since
//! German writes compounds as one word. [`soft_match`] scores the passages of an index with them. `config/word_vectors`
//! contains the table, how it was made, and its licence.

mod soft_match;
mod table;
mod vector;

pub use soft_match::{AskedWord, Similarity, TermVector, TermVectors};
pub use vector::WordVector;

use crate::terms::{english_stem, german_stem};
use std::{borrow::Cow, sync::LazyLock};
use table::{Entry, Table};

/// Longest word that is composed of parts, in bytes; longer ones are taken for data.
const MAX_COMPOUND_BYTES: usize = 48;
/// Shortest part of a compound, in bytes.
const MIN_PART_BYTES: usize = 3;
/// Shortest part of a compound that may be inflected, in bytes.
const MIN_INFLECTED_BYTES: usize = 5;
/// Number of times a word is split: "Kinderbuchabteilung" has three parts.
const MAX_SPLITS: u32 = 2;
/// Letters that German compounds insert between their parts.
const LINKS: &[&str] = &["", "s", "es", "n", "en", "er", "e"];
/// Endings of base forms that a stem may have lost.
const BASE_ENDINGS: &[&str] = &["", "e", "en", "n", "er", "s", "ung"];
/// Rarity of a word that is not in the table: that of rare words in it.
const UNKNOWN_RARITY: f32 = 14.0;
/// Length of a part up to which a longer one makes a split more plausible, in bytes.
const PLAUSIBLE_PART_BYTES: usize = 6;

/// Vectors of words.
#[derive(Clone, Copy)]
pub struct WordVectors {
    table: Table<'static>,
}

/// Vector of a word, and how rare the word is in general.
#[derive(Clone)]
pub struct KnownWord {
    pub vector: WordVector,
    /// Negative natural logarithm of the word's probability in English or German text.
    pub rarity: f32,
}

impl WordVectors {
    /// Returns the vectors that are part of the program.
    pub fn embedded() -> Self {
        static TABLE: LazyLock<Table<'static>> = LazyLock::new(|| {
            Table::parse(include_bytes!("../../../config/word_vectors/table.bin")).unwrap_or_default()
        });
        Self { table: *TABLE }
    }

    /// Returns the vector of a folded word or index term, if it is in the table, an inflected form of a word in it, or
    /// composed of such words.
    pub fn word(&self, word: &str) -> Option<KnownWord> {
        if word.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.simple(word).map(|entry| self.known(entry)).or_else(|| self.respelled(word)).or_else(|| {
            let vector = self.compound(word, MAX_SPLITS)?;
            Some(KnownWord { vector, rarity: UNKNOWN_RARITY })
        })
    }

    /// Whether the table has a folded word or its stem.
    pub fn contains(&self, word: &str) -> bool {
        self.table.find(word).or_else(|| self.table.find(&english_stem(word))).is_some()
    }

    fn known(&self, entry: Entry) -> KnownWord {
        KnownWord { vector: self.table.vector(entry), rarity: self.table.rarity(entry) }
    }

    /// Finds a word that is in the table, or one of whose forms is.
    fn simple(&self, word: &str) -> Option<Entry> {
        self.table.find(word).or_else(|| self.table.find(&english_stem(word))).or_else(|| self.inflected(word))
    }

    fn inflected(&self, word: &str) -> Option<Entry> {
        if word.len() < MIN_INFLECTED_BYTES {
            return None;
        }
        let stem = german_stem(word);
        BASE_ENDINGS.iter().find_map(|ending| {
            let base = if ending.is_empty() { Cow::from(&*stem) } else { Cow::from(format!("{stem}{ending}")) };
            self.table.find(&base).or_else(|| self.table.find(&english_stem(&base)))
        })
    }

    /// Finds a word with umlauts written as two letters: "schluessel".
    fn respelled(&self, word: &str) -> Option<KnownWord> {
        let umlauts = word.replace("ae", "a").replace("oe", "o").replace("ue", "u");
        (umlauts != word).then(|| self.simple(&umlauts))?.map(|entry| self.known(entry))
    }

    /// Composes the vector of a compound from those of its parts.
    fn compound(&self, word: &str, splits: u32) -> Option<WordVector> {
        if splits == 0 || word.len() > MAX_COMPOUND_BYTES || !word.is_ascii() {
            return None;
        }
        let last = word.len().checked_sub(MIN_PART_BYTES)?;
        let mut best: Option<(f32, WordVector)> = None;
        for middle in MIN_PART_BYTES..=last {
            let (first, head) = word.split_at(middle);
            let Some(head) = self.simple(head).map(|entry| (head.len(), self.known(entry))) else { continue };
            for link in LINKS {
                let Some(first) = first.strip_suffix(link).filter(|first| first.len() >= MIN_PART_BYTES) else {
                    continue;
                };
                let modifier = self.simple(first).map(|entry| self.known(entry)).or_else(|| {
                    let vector = self.compound(first, splits - 1)?;
                    Some(KnownWord { vector, rarity: UNKNOWN_RARITY })
                });
                let Some(modifier) = modifier else { continue };
                let score = plausibility(&[(first.len(), &modifier), (head.0, &head.1)]) - link.len() as f32 / 2.0;
                if best.as_ref().is_none_or(|(other, _)| score > *other) {
                    best = Some((score, WordVector::mean([(&modifier.vector, 1.0), (&head.1.vector, 1.0)])));
                }
            }
        }
        best.map(|(_, vector)| vector)
    }
}

/// Plausibility of a split: long, common parts are more likely than short or rare ones.
fn plausibility(parts: &[(usize, &KnownWord)]) -> f32 {
    let shortest = parts.iter().map(|(bytes, _)| (*bytes).min(PLAUSIBLE_PART_BYTES)).min().unwrap_or(0);
    let rarity: f32 = parts.iter().map(|(_, word)| word.rarity).sum();
    2.0 * shortest as f32 - rarity / 2.0
}

#[cfg(test)]
mod tests;
