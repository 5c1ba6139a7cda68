//! Soft match: scores passages by how similar their words are to those of a question.
//!
//! For each word of the question, the passage's most similar word counts, weighted by how telling the word of the question is;
//! to this is added how similar the question as a whole is to the passage as a whole, which finds passages about the same
//! subject that share no single word.
//!
//! The index's terms are compared with the question, not each passage: the terms that are most similar to a word become
//! weighted postings. The cost is one dot product per term and word, and does not depend on the length of passages.

use super::{KnownWord, WordVector, WordVectors};

/// Similarity up to which two words are unrelated.
const MIN_SIMILARITY: f32 = 0.2;
/// Maximum number of similar terms of a word. Bounds the postings that are read.
const MAX_SIMILAR_TERMS: usize = 64;
/// Share of a match in the text, relative to one in the title.
const TEXT_SHARE: f32 = 0.9;
/// Rarity of words without meaning of their own; weights count from there.
const COMMON_RARITY: f32 = 4.0;
/// Range of rarity in which words become more telling, from [`COMMON_RARITY`].
const RARITY_RANGE: f32 = 8.0;

/// Vectors of the terms of an index, by number.
#[derive(Default)]
pub struct TermVectors {
    terms: Vec<WordVector>,
    weights: Vec<f32>,
}

/// Vector of a term, and how telling the term is.
#[derive(Default)]
pub struct TermVector {
    vector: WordVector,
    weight: f32,
}

impl TermVector {
    /// Finds the vector of a term; one without a direction if the term is unknown or tells nothing.
    pub fn of(term: &str) -> Self {
        let known = WordVectors::embedded().word(term).map(|word| Self { weight: telling(&word), vector: word.vector });
        known.filter(|known| known.weight > 0.0).unwrap_or_default()
    }
}

/// Word of a question.
pub struct AskedWord<'a> {
    /// Folded.
    pub word: &'a str,
    /// Number of the term that is the same word.
    pub same: Option<u32>,
    /// Weight, in addition to how telling the word is.
    pub weight: f32,
}

/// Question, prepared for the comparison with passages.
pub struct SoftMatch {
    words: Vec<MatchedWord>,
    /// Sum of the weights of the words.
    weight: f32,
    whole: WordVector,
}

/// Similarity of a question and a passage; 0 if nothing matches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Orders the passages for one question.
    pub rank: f32,
    /// Compares one question with another: from 0 to 2.
    pub closeness: f32,
}

/// Word of a question with the similar terms of the index.
struct MatchedWord {
    weight: f32,
    /// Terms and how close each is, from 0 to 1.
    terms: Vec<(u32, f32)>,
}

impl TermVectors {
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Adds terms with the next numbers.
    pub fn extend(&mut self, terms: impl IntoIterator<Item = TermVector>) {
        for TermVector { vector, weight } in terms {
            self.terms.push(vector);
            self.weights.push(weight);
        }
    }

    /// Returns the direction of a passage with these terms, each with its weight.
    pub fn direction(&self, terms: impl IntoIterator<Item = (u32, f32)>) -> WordVector {
        WordVector::mean(terms.into_iter().map(|(term, weight)| {
            let term = term as usize;
            (&self.terms[term], weight * self.weights[term])
        }))
    }

    /// Compares the words of a question with all terms that satisfy `is_used`.
    pub fn compare<'a>(
        &self,
        words: impl IntoIterator<Item = AskedWord<'a>>,
        is_used: impl Fn(u32) -> bool,
    ) -> SoftMatch {
        let vectors = WordVectors::embedded();
        let known: Vec<_> = words.into_iter().map(|asked| (vectors.word(asked.word), asked)).collect();
        let telling_words = known.iter().filter_map(|(word, asked)| Some((word.as_ref()?, asked.weight)));
        let telling_words = telling_words.map(|(word, weight)| (&word.vector, weight * telling(word)));
        let whole = WordVector::mean(telling_words);
        let words: Vec<_> = known
            .into_iter()
            .filter_map(|(word, AskedWord { same, weight, .. })| {
                let weight = weight * word.as_ref().map_or(1.0, telling);
                let mut terms = word.map(|word| self.similar(&word.vector, &is_used)).unwrap_or_default();
                if let Some(same) = same.filter(|term| is_used(*term)) {
                    terms.retain(|(term, _)| *term != same);
                    terms.push((same, 1.0));
                }
                (weight > 0.0 && !terms.is_empty()).then_some(MatchedWord { weight, terms })
            })
            .collect();
        SoftMatch { weight: words.iter().map(|word| word.weight).sum(), words, whole }
    }

    fn similar(&self, word: &WordVector, is_used: &impl Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let mut terms: Vec<(u32, f32)> = (0..)
            .zip(&self.terms)
            .map(|(term, vector)| (term, (word.cosine(vector) - MIN_SIMILARITY) / (1.0 - MIN_SIMILARITY)))
            .filter(|(term, closeness)| *closeness > 0.0 && is_used(*term))
            .collect();
        if terms.len() > MAX_SIMILAR_TERMS {
            terms.select_nth_unstable_by(MAX_SIMILAR_TERMS, |(_, a), (_, b)| b.total_cmp(a));
            terms.truncate(MAX_SIMILAR_TERMS);
        }
        terms
    }
}

impl SoftMatch {
    /// Compares the question with the passages `0..count`. `postings` calls back with each passage that contains a term, and
    /// whether its title does; `closeness` compares a passage as a whole with the direction of the question. `whole_weight` is the influence of the whole question on
    /// the order of the passages, relative to that of its words.
    pub fn score(
        &self,
        count: usize,
        postings: impl Fn(u32, &mut dyn FnMut(u32, bool)),
        closeness: impl Fn(usize, &WordVector) -> f32,
        whole_weight: f32,
    ) -> Vec<Similarity> {
        let mut scores = vec![0.0_f32; count];
        let mut best = vec![0.0_f32; count];
        for word in &self.words {
            let mut touched = Vec::new();
            for (term, closeness) in &word.terms {
                postings(*term, &mut |passage, in_title| {
                    let closeness = if in_title { *closeness } else { closeness * TEXT_SHARE };
                    let best = &mut best[passage as usize];
                    if *best == 0.0 {
                        touched.push(passage as usize);
                    }
                    *best = best.max(closeness);
                });
            }
            for passage in touched {
                scores[passage] += word.weight / self.weight * std::mem::take(&mut best[passage]);
            }
        }
        let pair = |(passage, words): (usize, f32)| {
            let whole = closeness(passage, &self.whole).max(0.0);
            Similarity { rank: words + whole_weight * whole, closeness: words + whole }
        };
        scores.into_iter().enumerate().map(pair).collect()
    }
}

/// Weight of a word by its rarity: 0 for the commonest words, 1 for rare ones.
fn telling(word: &KnownWord) -> f32 {
    ((word.rarity - COMMON_RARITY) / RARITY_RANGE).clamp(0.0, 1.0)
}
