//! Scoring of passages by the words of a question, from 0 to 1.
//!
//! The weight of a term is its own weight times its inverse document frequency, `idf = ln(1 + (N - n + 0.5) / (n + 0.5))` if
//! `n` of `N` passages contain it. A term that no passage contains has the highest weight: that part of the question has no
//! answer. An n-gram that no passage contains has half that weight, since it may span two words.
//!
//! - *coverage* is the weight of the terms that the passage contains, divided by that of all terms of the question; a term
//!   that is contained in another form counts less;
//! - *rank* is the passage's BM25 score, divided by that of the best hit.
//!
//! `score = coverage × (0.6 + 0.4 × rank)`, and for few words that the passage and the question share less than [`GOOD_SCORE`], unless
//! they are most of the question: one or two words occur in questions about anything. The only word of a question ("Do you have it
//! in blue?") scores as an answer only where the title has it, a keyword is nothing else, or the text repeats it.
//! Coverage keeps the score low if no passage answers the question, which BM25 alone
//! cannot tell; rank orders passages that contain the same words.
//!
//! For a question of stop words alone, a passage scores as an answer only if it contains them in the same order.

use super::{
    Index, Slot,
    expand::{Alternative, QuestionLanguage},
    vocabulary::TermId,
};
use crate::terms::SearchTerms;
use std::collections::{HashMap, HashSet};

/// Minimum score of a passage to be returned at all.
pub const MIN_SCORE: f64 = 0.2;
/// Minimum score of a passage to be used as an answer. Below, it merely shares a word or two with the question.
pub const GOOD_SCORE: f64 = 0.5;

/// Number of words of a question below which a passage has to contain most of the question.
const FEW_WORDS: u32 = 3;
/// Minimum score of a passage with few words of the question to be used as an answer.
const FEW_WORDS_GOOD_SCORE: f64 = 0.62;
/// Maximum score of a passage that mentions the only word of a question in passing.
const LONE_WORD_MAX_SCORE: f64 = 0.9 * GOOD_SCORE;
/// Influence of whole keywords on the order: for each of up to [`MAX_KEYWORD_TERMS`] terms.
const KEYWORD_BONUS: f64 = 0.04;
const MAX_KEYWORD_TERMS: usize = 3;
/// Influence of BM25 on the score.
const RANK_SHARE: f64 = 0.4;
/// Factor for the weight of an n-gram that no passage contains.
const ABSENT_GRAM_FACTOR: f32 = 0.5;
/// Factor for the score of a passage that contains stop words, but not in the order of the question.
const SCATTERED_STOP_WORDS_FACTOR: f64 = 0.9 * GOOD_SCORE;
/// Saturation of repeated terms in BM25.
const K1: f32 = 1.2;
/// Influence of a passage's length in BM25.
const B: f32 = 0.75;

/// Passages that contain words of a question.
pub struct Found {
    hits: Vec<Hit>,
    /// Terms of the index that stand for words of the question.
    terms: HashSet<TermId>,
    /// Whether the question has a name that no passage contains.
    pub has_absent_name: bool,
    /// Whether the question has only stop words.
    only_stop_words: bool,
    /// Whether the question has one word besides stop words.
    has_lone_word: bool,
}

/// Passage that contains at least one word of a question.
#[derive(Clone, Copy)]
struct Hit {
    slot: Slot,
    coverage: f64,
    bm25: f64,
    /// Number of words of the question that it contains.
    words: u32,
    in_scope: bool,
    has_phrase: bool,
}

/// Sums of a passage over the terms of a question so far.
#[derive(Clone, Copy, Default)]
struct Sum {
    coverage: f32,
    bm25: f32,
    words: u32,
    has_phrase: bool,
}

/// Passage that contains a term of a question, factor of the best alternative, occurrences.
type TermMatch = (Slot, f32, f32);

impl Index {
    /// Finds the passages that contain any term of `search`; those in the collections of `scope` (empty: all) and in documents
    /// without a collection are in scope.
    pub fn find(&self, search: &SearchTerms, scope: &[String], language: &QuestionLanguage<'_>) -> Found {
        let mut sums = vec![Sum::default(); self.slots.len()];
        let mut touched: Vec<Slot> = Vec::new();
        let average = (self.length as f32 / self.visible.max(1) as f32).max(1.0);
        let mut total = 0.0;
        let (mut terms, mut has_absent_name) = (HashSet::new(), false);
        for (at, alternatives) in self.expand(&search.terms, language).iter().enumerate() {
            let Some(alternatives) = alternatives else { continue };
            let term = &search.terms[at];
            terms.extend(alternatives.iter().flat_map(|alternative| &alternative.terms));
            let matches = self.term_matches(alternatives);
            let absent = if term.is_gram && matches.is_empty() { ABSENT_GRAM_FACTOR } else { 1.0 };
            has_absent_name |= matches.is_empty() && (language.is_name)(&term.word);
            let idf = idf(self.visible, matches.len());
            let weight = term.weight as f32 * absent * idf;
            total += weight;
            for (slot, factor, occurrences) in matches {
                let length = self.lengths[slot as usize] as f32;
                let saturation = K1 * (1.0 - B + B * length / average);
                let sum = &mut sums[slot as usize];
                if sum.bm25 == 0.0 {
                    touched.push(slot);
                }
                sum.coverage += weight * factor;
                sum.bm25 += term.weight as f32 * idf * factor * occurrences * (K1 + 1.0) / (occurrences + saturation);
                sum.words += 1;
                sum.has_phrase |= at == 0;
            }
        }
        let has_several = search.terms.len() > 1;
        let hits = touched.into_iter().filter_map(|slot| {
            let sum = sums[slot as usize];
            let in_scope = scope.is_empty() || {
                let collection = &self.visible(slot)?.of.collection;
                collection.is_empty() || scope.contains(collection)
            };
            let coverage = if total > 0.0 { f64::from(sum.coverage / total) } else { 0.0 };
            let has_phrase = has_several && sum.has_phrase;
            Some(Hit { slot, coverage, bm25: f64::from(sum.bm25), words: sum.words, in_scope, has_phrase })
        });
        let words = search.terms.iter().filter(|term| !term.is_gram).count();
        Found {
            hits: hits.collect(),
            terms,
            has_absent_name,
            only_stop_words: search.only_stop_words,
            has_lone_word: words == 1 && !search.only_stop_words,
        }
    }

    /// Returns the passages that contain any of `alternatives`, each once.
    fn term_matches(&self, alternatives: &[Alternative]) -> Vec<TermMatch> {
        if let [Alternative { terms, factor, .. }] = alternatives
            && let [term] = terms[..]
        {
            let factor = *factor as f32;
            return self.matches(term).map(|(slot, occurrences)| (slot, factor, occurrences)).collect();
        }
        let mut best: HashMap<Slot, (f32, f32)> = HashMap::new();
        for Alternative { terms, is_phrase, factor } in alternatives {
            let Some((rarest, others)) = self.rarest_first(terms) else { continue };
            let factor = *factor as f32;
            for (slot, occurrences) in self.matches(rarest) {
                let has_all = others.is_empty()
                    || self.visible(slot).is_some_and(|passage| {
                        if *is_phrase { passage.contains(terms) } else { others.iter().all(|term| passage.has(*term)) }
                    });
                if has_all {
                    let best = best.entry(slot).or_default();
                    *best = (best.0.max(factor), best.1.max(occurrences));
                }
            }
        }
        best.into_iter().map(|(slot, (factor, occurrences))| (slot, factor, occurrences)).collect()
    }

    /// Returns the factor by which a passage precedes others because `terms` contain a whole keyword of it.
    fn keyword_bonus(&self, slot: Slot, terms: &HashSet<TermId>) -> f64 {
        let longest = self.visible(slot).map_or(0, |passage| passage.longest_keyword(terms));
        1.0 + KEYWORD_BONUS * longest.min(MAX_KEYWORD_TERMS) as f64
    }

    /// Whether a passage with any of `terms` is about them, and does not only mention them.
    fn is_about(&self, slot: Slot, terms: &HashSet<TermId>) -> bool {
        self.visible(slot).is_some_and(|passage| {
            let (title, text) = passage.title_and_text();
            let count = |part: &[TermId]| part.iter().filter(|term| terms.contains(term)).count();
            title.is_empty() || count(title) > 0 || count(text) > 1 || passage.longest_keyword(terms) > 0
        })
    }

    fn rarest_first(&self, terms: &[u32]) -> Option<(u32, Vec<u32>)> {
        let rarest = *terms.iter().min_by_key(|term| self.postings[**term as usize].len())?;
        Some((rarest, terms.iter().copied().filter(|term| *term != rarest).collect()))
    }
}

impl Found {
    /// Scores the hits, in scope only or all, and returns the best `limit` that have at least [`MIN_SCORE`], best first.
    pub fn rank(&self, index: &Index, only_in_scope: bool, limit: usize) -> Vec<(Slot, f64)> {
        let hits = || self.hits.iter().filter(|hit| hit.in_scope || !only_in_scope);
        let best = hits().map(|hit| hit.bm25).fold(f64::MIN_POSITIVE, f64::max);
        let mut scored: Vec<(Slot, f64)> = hits()
            .map(|hit| {
                let rank = (hit.bm25 / best).clamp(0.0, 1.0);
                let factor = if self.only_stop_words && !hit.has_phrase { SCATTERED_STOP_WORDS_FACTOR } else { 1.0 };
                let score = factor * hit.coverage * (1.0 - RANK_SHARE + RANK_SHARE * rank);
                let score = if hit.words < FEW_WORDS { few_words_score(score) } else { score };
                let in_passing = self.has_lone_word && !index.is_about(hit.slot, &self.terms);
                (hit.slot, if in_passing { score.min(LONE_WORD_MAX_SCORE) } else { score })
            })
            .filter(|(_, score)| *score >= MIN_SCORE)
            .collect();
        let order = |(a_slot, a): &(Slot, f64), (b_slot, b): &(Slot, f64)| b.total_cmp(a).then(a_slot.cmp(b_slot));
        if scored.len() > limit && limit > 0 {
            scored.select_nth_unstable_by(limit - 1, order);
        }
        scored.truncate(limit);
        let mut ordered: Vec<_> = scored
            .into_iter()
            .map(|(slot, score)| (slot, score, score * index.keyword_bonus(slot, &self.terms)))
            .collect();
        ordered.sort_by(|(a_slot, .., a), (b_slot, .., b)| b.total_cmp(a).then(a_slot.cmp(b_slot)));
        ordered.into_iter().map(|(slot, score, _)| (slot, score)).collect()
    }
}

/// Moves a score from [`GOOD_SCORE`] to [`FEW_WORDS_GOOD_SCORE`] below [`GOOD_SCORE`].
fn few_words_score(score: f64) -> f64 {
    if !(GOOD_SCORE..FEW_WORDS_GOOD_SCORE).contains(&score) {
        return score;
    }
    GOOD_SCORE * (0.9 + 0.1 * (score - GOOD_SCORE) / (FEW_WORDS_GOOD_SCORE - GOOD_SCORE))
}

fn idf(passages: usize, containing: usize) -> f32 {
    let (all, matching) = (passages as f32, containing as f32);
    (1.0 + (all - matching + 0.5).max(0.5) / (matching + 0.5)).ln()
}
