//! Choice of the passages for a question from what the index finds. Pure.

use super::index::{Found, GOOD_SCORE, Index, QuestionLanguage, Slot};
use crate::{
    domain::{MethodOutcome, Passage, Retrieval, RetrievalBasis, RetrievalMethods},
    terms::SearchTerms,
};

/// Finds passages in `scope`.
pub fn search_in(index: &Index, search: &SearchTerms, scope: &[String], limit: usize) -> Vec<Passage> {
    passages(index, find(index, search, scope).rank(true, limit))
}

/// Finds passages in `scope`, or in all collections if none of them contains the words of the question.
pub fn retrieve_from(index: &Index, search: &SearchTerms, scope: &[String], limit: usize) -> Retrieval {
    let found = find(index, search, scope);
    let in_scope = found.rank(true, limit);
    let ranked = if is_covered(&in_scope) { in_scope } else { found.rank(false, limit) };
    let basis = match ranked.as_slice() {
        [] => RetrievalBasis::Nothing,
        ranked if is_covered(ranked) => RetrievalBasis::Covered,
        _ => RetrievalBasis::Closest,
    };
    let methods = RetrievalMethods { words: Some(MethodOutcome::Used), ..RetrievalMethods::default() };
    Retrieval { passages: passages(index, ranked), basis, methods }
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
