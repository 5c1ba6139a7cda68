//! Choice of the passages for a question from what the index finds. Pure.

use super::{
    embeddings::EmbeddedQuestion,
    index::{Found, GOOD_SCORE, Index, MIN_SCORE, Nearest, Similar, Slot},
    probes::Thresholds,
    question::Question,
};
use crate::domain::{MethodOutcome, Passage, Retrieval, RetrievalBasis, RetrievalMethods};
use std::collections::HashMap;

/// Length of each ranking before they are fused.
const CANDIDATES: usize = 50;
/// Ranks over which the influence of a place in a ranking halves.
const RRF_RANKS: f64 = 60.0;
/// Weight of the ranking by words if a passage contains all words of the question; that by vectors has weight 1.
const WORDS_SHARE: f64 = 2.0;
/// Exponent of the best score by words in their weight beside an embedding model, which deserves more trust than word vectors.
const EMBEDDINGS_EXPONENT: i32 = 3;

/// Minimum number of telling words of a question that the vectors may declare known: a word or two are close to many passages.
const MIN_TELLING_WORDS: usize = 3;

/// Finds passages in `scope`.
pub fn search_in(
    index: &Index,
    question: &Question<'_>,
    scope: &[String],
    limit: usize,
    meaning: &Meaning,
) -> Vec<Passage> {
    let candidates = limit.max(CANDIDATES);
    let by_words = find(index, question, scope).rank(index, true, candidates);
    match &meaning.embedded {
        Some(embedded) => {
            passages_by_meaning(index, &by_words, &nearest(index, embedded, scope, candidates).slots, limit)
        }
        None if is_covered(&by_words) => passages(index, by_words, limit),
        None => {
            let similar = similar(index, question, scope, limit, meaning.thresholds).slots;
            passages(index, fuse(&by_words, &similar, WORDS_SHARE * best_score(&by_words)), limit)
        }
    }
}

/// Vectors that a search may use.
#[derive(Clone, Default)]
pub struct Meaning {
    /// Thresholds of the word vectors for this index. Until they are measured, passages that only the vectors find are not taken for
    /// known.
    pub thresholds: Option<Thresholds>,
    /// The question as the embedding model understands it.
    pub embedded: Option<EmbeddedQuestion>,
}

/// Finds passages in `scope`, or in all collections if none of them contains the words of the question. The vectors of the embedding
/// model always take part; without it, those of words only if no passage at all contains the words of the question.
pub fn retrieve_from(
    index: &Index,
    question: &Question<'_>,
    scope: &[String],
    limit: usize,
    meaning: &Meaning,
) -> Retrieval {
    let candidates = limit.max(CANDIDATES);
    let found = find(index, question, scope);
    let in_scope = found.rank(index, true, candidates);
    let (by_words, scope) =
        if is_covered(&in_scope) { (in_scope, scope) } else { (found.rank(index, false, candidates), &[][..]) };
    let used = Some(MethodOutcome::Used);
    let mut methods = RetrievalMethods { words: used, ..RetrievalMethods::default() };
    let covered = is_covered(&by_words);
    let (passages, is_similar) = match &meaning.embedded {
        Some(embedded) => {
            methods.embeddings = used;
            let nearest = nearest(index, embedded, scope, candidates);
            let is_similar = embedded.thresholds.is_some_and(|thresholds| nearest.cosine > thresholds.known);
            (passages_by_meaning(index, &by_words, &nearest.slots, limit), is_similar)
        }
        None if covered => (passages(index, by_words, limit), false),
        None => {
            methods.word_vectors = used;
            let similar = similar(index, question, scope, limit, meaning.thresholds);
            let is_similar = meaning.thresholds.is_some_and(|thresholds| similar.closeness > thresholds.known);
            let fused = fuse(&by_words, &similar.slots, WORDS_SHARE * best_score(&by_words));
            let is_telling = question.telling.terms.len() >= MIN_TELLING_WORDS && !found.has_absent_name;
            (passages(index, fused, limit), is_similar && is_telling)
        }
    };
    let basis = match passages.is_empty() {
        true => RetrievalBasis::Nothing,
        false if covered => RetrievalBasis::Covered,
        false if is_similar => RetrievalBasis::Similar,
        false => RetrievalBasis::Closest,
    };
    Retrieval { passages, basis, methods }
}

/// Finds passages by the embedding model; none if the nearest is found by chance.
fn nearest(index: &Index, embedded: &EmbeddedQuestion, scope: &[String], limit: usize) -> Nearest {
    let nearest = index.nearest(&embedded.vector, scope, limit);
    let is_chance = embedded.thresholds.is_some_and(|thresholds| nearest.cosine < thresholds.offered);
    if is_chance { Nearest::default() } else { nearest }
}

/// Returns the best passages by words and by the embedding model.
fn passages_by_meaning(index: &Index, by_words: &[(Slot, f64)], nearest: &[Slot], limit: usize) -> Vec<Passage> {
    let mut ranked = fuse(by_words, nearest, WORDS_SHARE * best_score(by_words).powi(EMBEDDINGS_EXPONENT));
    // A passage is at least as relevant as those after it.
    let mut highest = 0.0_f64;
    for (_, score) in ranked.iter_mut().rev() {
        highest = highest.max(*score);
        *score = highest;
    }
    passages(index, ranked, limit)
}

pub(super) fn find(index: &Index, question: &Question<'_>, scope: &[String]) -> Found {
    question.with_language(|language| index.find(&question.words, scope, language))
}

/// Finds passages by vectors; none if the closest is found by chance.
fn similar(
    index: &Index,
    question: &Question<'_>,
    scope: &[String],
    limit: usize,
    thresholds: Option<Thresholds>,
) -> Similar {
    let similar = index.similar(&question.telling, question.is_german, scope, limit.max(CANDIDATES));
    let is_chance = thresholds.is_some_and(|thresholds| similar.closeness < thresholds.offered);
    if is_chance { Similar::default() } else { similar }
}

/// Returns the best passages of a ranking. The scores are those by words, none higher than that of the passage before.
fn passages(index: &Index, mut ranked: Vec<(Slot, f64)>, limit: usize) -> Vec<Passage> {
    ranked.truncate(limit);
    let mut lowest = 1.0_f64;
    let passage = |(slot, score): (Slot, f64)| {
        lowest = lowest.min(score);
        index.passage(slot, lowest)
    };
    ranked.into_iter().filter_map(passage).collect()
}

/// Fuses two rankings by reciprocal rank. That by words has the weight `trust`, which grows with the share of the question that the
/// words of the best passage cover, since a passage that shares only one word with it is found by chance. A passage that only the
/// vectors found has the minimum score.
fn fuse(by_words: &[(Slot, f64)], similar: &[Slot], trust: f64) -> Vec<(Slot, f64)> {
    let mut fused: HashMap<Slot, (f64, f64)> = HashMap::new();
    for (rank, (slot, score)) in (1_u32..).zip(by_words) {
        fused.insert(*slot, (trust / (RRF_RANKS + f64::from(rank)), *score));
    }
    for (rank, slot) in (1_u32..).zip(similar) {
        fused.entry(*slot).or_insert((0.0, MIN_SCORE)).0 += 1.0 / (RRF_RANKS + f64::from(rank));
    }
    let mut ranked: Vec<_> = fused.into_iter().collect();
    ranked.sort_by(|(a_slot, (a, _)), (b_slot, (b, _))| b.total_cmp(a).then(a_slot.cmp(b_slot)));
    ranked.into_iter().map(|(slot, (_, score))| (slot, score)).collect()
}

fn best_score(ranked: &[(Slot, f64)]) -> f64 {
    ranked.first().map_or(0.0, |(_, score)| *score)
}

/// Whether the best passage contains enough of the question's words to answer it.
fn is_covered(ranked: &[(Slot, f64)]) -> bool {
    best_score(ranked) >= GOOD_SCORE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(by_words: &[(Slot, f64)], similar: &[Slot]) -> Vec<Slot> {
        let trust = WORDS_SHARE * best_score(by_words);
        fuse(by_words, similar, trust).into_iter().map(|(slot, _)| slot).collect()
    }

    #[test]
    fn a_passage_in_both_rankings_comes_first() {
        assert_eq!(order(&[(1, 0.9), (2, 0.8)], &[3, 2]), [2, 1, 3]);
    }

    #[test]
    fn words_count_less_the_less_of_the_question_they_cover() {
        assert_eq!(order(&[(1, 0.9)], &[2]), [1, 2]);
        assert_eq!(order(&[(1, 0.3)], &[2]), [2, 1]);
    }

    #[test]
    fn passages_keep_their_score_by_words() {
        assert_eq!(fuse(&[(1, 0.3)], &[2, 1], 1.0), [(1, 0.3), (2, MIN_SCORE)]);
        assert_eq!(fuse(&[], &[], 0.0), []);
    }
}
