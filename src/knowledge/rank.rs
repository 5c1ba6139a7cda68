//! Scoring of search hits from 0 to 1, from the frequencies that the store has counted. Pure.
//!
//! The weight of a term is its own weight times its inverse document frequency, `idf = ln(1 + (N - n + 0.5) / (n + 0.5))` if
//! `n` of `N` chunks contain it. A term that no chunk contains has the highest weight: that part of the question has no
//! answer. An n-gram that no chunk contains has half that weight, since it may span two words.
//!
//! - *coverage* is the weight of the terms that the passage contains, divided by that of all terms of the question;
//! - *rank* is the passage's BM25 score, divided by that of the best hit.
//!
//! `score = coverage × (0.6 + 0.4 × rank)`. Coverage keeps the score low if no passage answers the question, which BM25 alone
//! cannot tell; rank orders passages that contain the same words.
//!
//! For a question of stop words alone, a passage scores as an answer only if it contains them in the same order.

use crate::{
    domain::Passage,
    store::{SearchHit, SearchHits},
    terms::SearchTerms,
};

/// Minimum score of a passage to be returned at all.
pub const MIN_SCORE: f64 = 0.2;
/// Minimum score of a passage to be used as an answer. Below, it merely shares a word or two with the question.
pub const GOOD_SCORE: f64 = 0.5;

/// Influence of BM25 on the score.
const RANK_SHARE: f64 = 0.4;
/// Factor for the weight of an n-gram that no chunk contains.
const ABSENT_GRAM_FACTOR: f64 = 0.5;
/// Factor for the score of a passage that contains stop words, but not in the order of the question.
const SCATTERED_STOP_WORDS_FACTOR: f64 = 0.9 * GOOD_SCORE;

/// Scores the hits of `search` that satisfy `is_wanted`. Returns at most `limit` passages with at least [`MIN_SCORE`], best
/// first.
pub fn rank(
    search: &SearchTerms,
    found: &SearchHits,
    is_wanted: impl Fn(&SearchHit) -> bool,
    limit: usize,
) -> Vec<Passage> {
    let weights: Vec<f64> = search
        .terms
        .iter()
        .zip(&found.frequencies)
        .map(|(term, &frequency)| {
            let factor = if term.is_gram && frequency == 0 { ABSENT_GRAM_FACTOR } else { 1.0 };
            term.weight * factor * idf(found.chunks, frequency)
        })
        .collect();
    let total: f64 = weights.iter().sum();
    let hits: Vec<&SearchHit> = found.hits.iter().filter(|hit| is_wanted(hit)).collect();
    let best = hits.iter().map(|hit| hit.bm25).fold(f64::MIN_POSITIVE, f64::max);
    let mut scored: Vec<(f64, &SearchHit)> = hits
        .into_iter()
        .map(|hit| {
            let matched: f64 =
                weights.iter().zip(&hit.matched).filter(|(_, matched)| **matched).map(|(weight, _)| weight).sum();
            let coverage = if total > 0.0 { matched / total } else { 0.0 };
            let rank = (hit.bm25 / best).clamp(0.0, 1.0);
            let has_phrase = search.terms.len() > 1 && hit.matched.first() == Some(&true);
            let factor = if search.only_stop_words && !has_phrase { SCATTERED_STOP_WORDS_FACTOR } else { 1.0 };
            (factor * coverage * (1.0 - RANK_SHARE + RANK_SHARE * rank), hit)
        })
        .filter(|(score, _)| *score >= MIN_SCORE)
        .collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let passage = |(score, hit): (f64, &SearchHit)| Passage {
        document_id: hit.document_id,
        source: hit.source.clone(),
        title: hit.title.clone(),
        passage: hit.passage,
        text: hit.text.clone(),
        score,
    };
    scored.into_iter().take(limit).map(passage).collect()
}

fn idf(chunks: u64, frequency: u64) -> f64 {
    let (all, matching) = (chunks as f64, frequency as f64);
    (1.0 + (all - matching + 0.5).max(0.5) / (matching + 0.5)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::DocumentId, terms::SearchTerm};

    fn search(terms: usize) -> SearchTerms {
        let term = SearchTerm { any_of: vec!["term".to_owned()], weight: 1.0, is_gram: false };
        SearchTerms { terms: vec![term; terms], only_stop_words: false }
    }

    fn hit(title: &str, bm25: f64, matched: &[bool]) -> SearchHit {
        SearchHit {
            document_id: DocumentId::new(),
            source: "a.md".to_owned(),
            title: title.to_owned(),
            passage: 1,
            text: "text".to_owned(),
            in_scope: true,
            bm25,
            matched: matched.to_vec(),
        }
    }

    #[test]
    fn the_best_hit_with_all_terms_scores_one() {
        let found = SearchHits { chunks: 50, frequencies: vec![10, 3], hits: vec![hit("best", 4.0, &[true, true])] };
        let passages = rank(&search(2), &found, |_| true, 4);
        assert!((passages[0].score - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_rare_term_outweighs_a_common_one() {
        let found = SearchHits {
            chunks: 50,
            frequencies: vec![40, 2],
            hits: vec![hit("common", 1.0, &[true, false]), hit("rare", 1.0, &[false, true])],
        };
        let passages = rank(&search(2), &found, |_| true, 4);
        assert_eq!(passages.iter().map(|p| p.title.as_str()).collect::<Vec<_>>(), ["rare"]);
    }

    #[test]
    fn terms_that_no_chunk_contains_lower_the_score() {
        let found = SearchHits {
            chunks: 50,
            frequencies: vec![12, 0, 0],
            hits: vec![hit("chance", 1.0, &[true, false, false])],
        };
        assert!(rank(&search(3), &found, |_| true, 4).iter().all(|passage| passage.score < GOOD_SCORE));
    }

    #[test]
    fn a_knowledge_base_of_one_chunk_can_be_searched() {
        let found = SearchHits { chunks: 1, frequencies: vec![1], hits: vec![hit("only", 1e-6, &[true])] };
        assert_eq!(rank(&search(1), &found, |_| true, 4).len(), 1);
    }

    #[test]
    fn absent_grams_lower_the_score_less_than_absent_words() {
        let mut grams = search(2);
        let found = SearchHits { chunks: 50, frequencies: vec![1, 0], hits: vec![hit("half", 1.0, &[true, false])] };
        let of_words = rank(&grams, &found, |_| true, 4)[0].score;
        grams.terms.iter_mut().for_each(|term| term.is_gram = true);
        let of_grams = rank(&grams, &found, |_| true, 4)[0].score;
        assert!(of_words < GOOD_SCORE && GOOD_SCORE < of_grams, "{of_words} {of_grams}");
        grams.terms[1].weight = 4.0;
        assert!(rank(&grams, &found, |_| true, 4)[0].score < GOOD_SCORE);
    }

    #[test]
    fn stop_words_alone_score_well_only_as_a_phrase() {
        let stop_words = SearchTerms { only_stop_words: true, ..search(3) };
        let hits = vec![hit("phrase", 4.0, &[true, true, true]), hit("scattered", 3.0, &[false, true, true])];
        let found = SearchHits { chunks: 3, frequencies: vec![1, 2, 2], hits };
        let passages = rank(&stop_words, &found, |_| true, 4);
        assert_eq!(passages[0].title, "phrase");
        assert!(passages[0].score >= GOOD_SCORE && passages[1..].iter().all(|passage| passage.score < GOOD_SCORE));
        let one = SearchTerms { only_stop_words: true, ..search(1) };
        let found = SearchHits { chunks: 3, frequencies: vec![1], hits: vec![hit("one", 4.0, &[true])] };
        let passages = rank(&one, &found, |_| true, 4);
        assert!(passages.len() == 1 && passages[0].score < GOOD_SCORE, "{passages:?}");
    }
}
