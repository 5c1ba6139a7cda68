//! How well a passage fits a question, as a number from 0 to 1. Pure: the store has counted, this judges.
//!
//! Each term of the question weighs as much as it tells: its own weight times its inverse document frequency,
//! `idf = ln(1 + (N - n + 0.5) / (n + 0.5))` for `n` of `N` chunks that hold it. A term that no chunk holds weighs
//! most of all: that much of the question stays unanswered. An n-gram that no chunk holds weighs half of that: it may
//! lie across the boundary of two words.
//!
//! - *coverage* is the share of the question's weight that the passage holds;
//! - *rank* is its BM25 over that of the best passage found.
//!
//! `score = coverage × (0.6 + 0.4 × rank)`. So a question about something else scores low even where its best passage
//! is the best by far, and among passages that hold the same words the one that is more about them wins.
//!
//! For a question of nothing but stop words a passage is an answer only if it holds several of them in the same order.

use crate::{
    domain::Passage,
    store::{SearchHit, SearchHits},
    terms::SearchTerms,
};

/// A passage below this says nothing on the question.
pub const MIN_SCORE: f64 = 0.2;
/// From here on a passage can be taken for an answer; below, it shares a word or two with the question.
pub const GOOD_SCORE: f64 = 0.5;

/// The share of the score that BM25 decides.
const RANK_SHARE: f64 = 0.4;

/// The share of its weight that an n-gram keeps when no chunk holds it.
const ABSENT_GRAM_SHARE: f64 = 0.5;
/// Factor for the score of a passage that contains stop words, but not in the order of the question.
const SCATTERED_STOP_WORDS_SHARE: f64 = 0.9 * GOOD_SCORE;

/// The passages worth showing among the hits that `is_wanted`, best first, at most `limit`. `found` are the hits of
/// `search`.
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
            let share = if term.is_gram && frequency == 0 { ABSENT_GRAM_SHARE } else { 1.0 };
            term.weight * share * idf(found.chunks, frequency)
        })
        .collect();
    let whole: f64 = weights.iter().sum();
    let hits: Vec<&SearchHit> = found.hits.iter().filter(|hit| is_wanted(hit)).collect();
    let best = hits.iter().map(|hit| hit.bm25).fold(f64::MIN_POSITIVE, f64::max);
    let mut scored: Vec<(f64, &SearchHit)> = hits
        .into_iter()
        .map(|hit| {
            let held: f64 =
                weights.iter().zip(&hit.matched).filter(|(_, matched)| **matched).map(|(weight, _)| weight).sum();
            let coverage = if whole > 0.0 { held / whole } else { 0.0 };
            let rank = (hit.bm25 / best).clamp(0.0, 1.0);
            let is_in_a_row = search.terms.len() > 1 && hit.matched.first() == Some(&true);
            let share = if search.is_stop_words && !is_in_a_row { SCATTERED_STOP_WORDS_SHARE } else { 1.0 };
            (share * coverage * (1.0 - RANK_SHARE + RANK_SHARE * rank), hit)
        })
        .filter(|(score, _)| *score >= MIN_SCORE)
        .collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let passage = |(score, hit): (f64, &SearchHit)| Passage {
        document_id: hit.document_id,
        source: hit.source.clone(),
        title: hit.title.clone(),
        text: hit.text.clone(),
        score,
    };
    scored.into_iter().take(limit).map(passage).collect()
}

fn idf(chunks: u64, frequency: u64) -> f64 {
    let (all, holding) = (chunks as f64, frequency as f64);
    (1.0 + (all - holding + 0.5).max(0.5) / (holding + 0.5)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::DocumentId, terms::SearchTerm};

    fn search(terms: usize) -> SearchTerms {
        let term = SearchTerm { any_of: vec!["term".to_owned()], weight: 1.0, is_gram: false };
        SearchTerms { terms: vec![term; terms], is_stop_words: false }
    }

    fn hit(title: &str, bm25: f64, matched: &[bool]) -> SearchHit {
        SearchHit {
            document_id: DocumentId::new(),
            source: "a.md".to_owned(),
            title: title.to_owned(),
            text: "text".to_owned(),
            in_scope: true,
            bm25,
            matched: matched.to_vec(),
        }
    }

    #[test]
    fn a_passage_that_holds_all_and_ranks_best_scores_one() {
        let found = SearchHits { chunks: 50, frequencies: vec![10, 3], hits: vec![hit("best", 4.0, &[true, true])] };
        let passages = rank(&search(2), &found, |_| true, 4);
        assert!((passages[0].score - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_telling_word_counts_for_more_than_the_common_one() {
        let found = SearchHits {
            chunks: 50,
            frequencies: vec![40, 2],
            hits: vec![hit("common", 1.0, &[true, false]), hit("telling", 1.0, &[false, true])],
        };
        let passages = rank(&search(2), &found, |_| true, 4);
        assert_eq!(passages.iter().map(|p| p.title.as_str()).collect::<Vec<_>>(), ["telling"]);
    }

    #[test]
    fn words_that_nobody_wrote_of_pull_the_score_down() {
        let found = SearchHits {
            chunks: 50,
            frequencies: vec![12, 0, 0],
            hits: vec![hit("chance", 1.0, &[true, false, false])],
        };
        assert!(rank(&search(3), &found, |_| true, 4).iter().all(|passage| passage.score < GOOD_SCORE));
    }

    #[test]
    fn a_base_of_one_chunk_can_be_searched() {
        let found = SearchHits { chunks: 1, frequencies: vec![1], hits: vec![hit("only", 1e-6, &[true])] };
        assert_eq!(rank(&search(1), &found, |_| true, 4).len(), 1);
    }

    #[test]
    fn grams_that_nobody_wrote_count_for_less_than_words() {
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
    fn stop_words_answer_only_in_a_row() {
        let stop_words = SearchTerms { is_stop_words: true, ..search(3) };
        let hits = vec![hit("row", 4.0, &[true, true, true]), hit("scattered", 3.0, &[false, true, true])];
        let found = SearchHits { chunks: 3, frequencies: vec![1, 2, 2], hits };
        let passages = rank(&stop_words, &found, |_| true, 4);
        assert_eq!(passages[0].title, "row");
        assert!(passages[0].score >= GOOD_SCORE && passages[1..].iter().all(|passage| passage.score < GOOD_SCORE));
        let one = SearchTerms { is_stop_words: true, ..search(1) };
        let found = SearchHits { chunks: 3, frequencies: vec![1], hits: vec![hit("one", 4.0, &[true])] };
        let passages = rank(&one, &found, |_| true, 4);
        assert!(passages.len() == 1 && passages[0].score < GOOD_SCORE, "{passages:?}");
    }
}
