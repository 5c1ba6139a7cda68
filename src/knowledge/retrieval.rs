//! Choice of the passages for a question from what the index finds. Pure.

use super::{
    index::{Found, GOOD_SCORE, Index, MIN_SCORE, QuestionLanguage, Similar, Slot},
    probes::Thresholds,
};
use crate::{
    domain::{MethodOutcome, Passage, Retrieval, RetrievalBasis, RetrievalMethods},
    terms::SearchTerms,
};
use std::collections::HashMap;

/// Length of each ranking before they are fused.
const CANDIDATES: usize = 50;
/// Ranks over which the influence of a place in a ranking halves.
const RRF_RANKS: f64 = 60.0;
/// Weight of the ranking by words if a passage contains all words of the question; that by vectors has weight 1.
const WORDS_SHARE: f64 = 2.0;

/// Finds passages in `scope`.
pub fn search_in(index: &Index, search: &SearchTerms, scope: &[String], limit: usize) -> Vec<Passage> {
    passages(index, find(index, search, scope).rank(true, limit))
}

/// Finds passages in `scope`, or in all collections if none of them contains the words of the question. `thresholds` are those of
/// this index; until they are measured, passages that only the vectors find are not taken for known.
pub fn retrieve_from(
    index: &Index,
    search: &SearchTerms,
    scope: &[String],
    limit: usize,
    thresholds: Option<Thresholds>,
) -> Retrieval {
    let candidates = limit.max(CANDIDATES);
    let found = find(index, search, scope);
    let in_scope = found.rank(true, candidates);
    let (by_words, scope) =
        if is_covered(&in_scope) { (in_scope, scope) } else { (found.rank(false, candidates), &[][..]) };
    let mut similar = index.similar(search, scope, candidates);
    if thresholds.is_some_and(|thresholds| similar.closeness < thresholds.offered) {
        similar = Similar::default();
    }
    let mut ranked = fuse(&by_words, &similar.slots);
    ranked.truncate(limit);
    let basis = if ranked.is_empty() {
        RetrievalBasis::Nothing
    } else if is_covered(&by_words) {
        RetrievalBasis::Covered
    } else if thresholds.is_some_and(|thresholds| similar.closeness > thresholds.known) {
        RetrievalBasis::Similar
    } else {
        RetrievalBasis::Closest
    };
    let methods = RetrievalMethods {
        words: Some(MethodOutcome::Used),
        word_vectors: Some(MethodOutcome::Used),
        ..RetrievalMethods::default()
    };
    Retrieval { passages: passages(index, ranked), basis, methods }
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

fn find(index: &Index, search: &SearchTerms, scope: &[String]) -> Found {
    let language = QuestionLanguage { is_german: false, is_known: &|_| false, spellings: &|_| Vec::new() };
    index.find(search, scope, &language)
}

fn passages(index: &Index, ranked: Vec<(Slot, f64)>) -> Vec<Passage> {
    ranked.into_iter().filter_map(|(slot, score)| index.passage(slot, score)).collect()
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
