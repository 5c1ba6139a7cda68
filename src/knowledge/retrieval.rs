//! Choice of the passages for a question from what the index finds. Pure.

use super::{
    index::{Found, GOOD_SCORE, Index, MIN_SCORE, Similar, Slot},
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

/// Minimum number of telling words of a question that the vectors may declare known: a word or two are close to many passages.
const MIN_TELLING_WORDS: usize = 3;

/// Finds passages in `scope`.
pub fn search_in(
    index: &Index,
    question: &Question<'_>,
    scope: &[String],
    limit: usize,
    thresholds: Option<Thresholds>,
) -> Vec<Passage> {
    let by_words = find(index, question, scope).rank(true, limit.max(CANDIDATES));
    if is_covered(&by_words) {
        return passages(index, by_words, limit);
    }
    let similar = similar(index, question, scope, limit, thresholds);
    passages(index, fuse(&by_words, &similar.slots), limit)
}

/// Finds passages in `scope`, or in all collections if none of them contains the words of the question. Only if no passage at all
/// contains them, the vectors take part. `thresholds` are those of
/// this index; until they are measured, passages that only the vectors find are not taken for known.
pub fn retrieve_from(
    index: &Index,
    question: &Question<'_>,
    scope: &[String],
    limit: usize,
    thresholds: Option<Thresholds>,
) -> Retrieval {
    let candidates = limit.max(CANDIDATES);
    let found = find(index, question, scope);
    let in_scope = found.rank(true, candidates);
    let (by_words, scope) =
        if is_covered(&in_scope) { (in_scope, scope) } else { (found.rank(false, candidates), &[][..]) };
    let used = Some(MethodOutcome::Used);
    if is_covered(&by_words) {
        let passages = passages(index, by_words, limit);
        let methods = RetrievalMethods { words: used, ..RetrievalMethods::default() };
        return Retrieval { passages, basis: RetrievalBasis::Covered, methods };
    }
    let similar = similar(index, question, scope, limit, thresholds);
    let passages = passages(index, fuse(&by_words, &similar.slots), limit);
    let basis = if passages.is_empty() {
        RetrievalBasis::Nothing
    } else if question.telling.terms.len() >= MIN_TELLING_WORDS
        && thresholds.is_some_and(|thresholds| similar.closeness > thresholds.known)
    {
        RetrievalBasis::Similar
    } else {
        RetrievalBasis::Closest
    };
    let methods = RetrievalMethods { words: used, word_vectors: used, ..RetrievalMethods::default() };
    Retrieval { passages, basis, methods }
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

/// Fuses two rankings by reciprocal rank. That by words counts as much as the words of the best passage cover the question, since a
/// passage that shares only one word with it is found by chance. A passage that only the vectors found has the minimum score.
fn fuse(by_words: &[(Slot, f64)], similar: &[Slot]) -> Vec<(Slot, f64)> {
    let trust = by_words.first().map_or(0.0, |(_, best)| WORDS_SHARE * best);
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

/// Whether the best passage contains enough of the question's words to answer it.
fn is_covered(ranked: &[(Slot, f64)]) -> bool {
    ranked.first().is_some_and(|(_, score)| *score >= GOOD_SCORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(by_words: &[(Slot, f64)], similar: &[Slot]) -> Vec<Slot> {
        fuse(by_words, similar).into_iter().map(|(slot, _)| slot).collect()
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
        assert_eq!(fuse(&[(1, 0.3)], &[2, 1]), [(1, 0.3), (2, MIN_SCORE)]);
        assert_eq!(fuse(&[], &[]), []);
    }
}
