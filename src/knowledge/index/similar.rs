//! Search by meaning: ranks passages by the vectors of their words ([`crate::knowledge::word_vectors`]).

use super::{Index, SEPARATOR, Slot, TITLE_WEIGHT, vocabulary::TermId};
use crate::{
    knowledge::word_vectors::{AskedWord, Similarity, WordVector, WordVectors},
    terms::{SearchTerms, english_stem},
};
use std::collections::{BTreeSet, HashMap};

/// Passages that are similar to a question, best first.
#[derive(Default)]
pub struct Similar {
    pub slots: Vec<Slot>,
    /// Closeness of the closest of them; comparable between questions, 0 if there is none.
    pub closeness: f32,
}

/// Influence of a question as a whole on the order of passages in the same language, relative to that of its words: paraphrases
/// share a subject rather than words.
const WHOLE_WEIGHT: f32 = 5.0;
/// The same between languages, where the closest words are translations.
const WHOLE_WEIGHT_ACROSS: f32 = 0.5;
/// Weight of a term in the title for the direction of a passage, relative to one in the text.
const TITLE_SHARE: f32 = 2.0;

impl Index {
    /// Ranks the passages in the collections of `scope` (empty: all) and in documents without a collection by the similarity of
    /// their words to those of the question, best first. Returns at most `limit`; none for a question without telling words.
    /// `is_foreign` says that the question is in another language than most documents.
    pub fn similar(&self, search: &SearchTerms, is_foreign: bool, scope: &[String], limit: usize) -> Similar {
        let words = search.terms.iter().filter(|term| !term.is_gram && !search.only_stop_words);
        let words = words.map(|term| AskedWord {
            word: &term.word,
            same: self.same_term(&term.word),
            weight: term.weight as f32,
        });
        let question = self.vectors.compare(words, |term| self.is_used(term));
        let scores = question.score(
            self.slots.len(),
            |term, visit| self.matches(term).for_each(|(slot, weight)| visit(slot, weight >= f32::from(TITLE_WEIGHT))),
            |slot, whole| {
                let keywords = self.keyword_directions[slot].iter().map(|keyword| whole.cosine(keyword));
                keywords.fold(whole.cosine(&self.directions[slot]), f32::max)
            },
            if is_foreign { WHOLE_WEIGHT_ACROSS } else { WHOLE_WEIGHT },
        );
        let mut ranked: Vec<(Slot, Similarity)> = (0..)
            .zip(scores)
            .filter(|(slot, score)| {
                let is_wanted =
                    |collection: &String| scope.is_empty() || collection.is_empty() || scope.contains(collection);
                score.rank > 0.0 && self.visible(*slot).is_some_and(|passage| is_wanted(&passage.of.collection))
            })
            .collect();
        let closeness = ranked.iter().map(|(_, score)| score.closeness).fold(0.0, f32::max);
        let order = |(a_slot, a): &(Slot, Similarity), (b_slot, b): &(Slot, Similarity)| {
            b.rank.total_cmp(&a.rank).then(a_slot.cmp(b_slot))
        };
        if ranked.len() > limit && limit > 0 {
            ranked.select_nth_unstable_by(limit - 1, order);
        }
        ranked.truncate(limit);
        ranked.sort_by(order);
        Similar { slots: ranked.into_iter().map(|(slot, _)| slot).collect(), closeness }
    }

    /// Returns the term of the index that is a word of a question, or that corrects its typing error.
    fn same_term(&self, word: &str) -> Option<TermId> {
        let stem = english_stem(word);
        self.used(&stem).or_else(|| {
            if WordVectors::embedded().contains(word) {
                return None;
            }
            let (_, similar) = self.vocabulary.similar(&stem, |term| self.is_used(term))?;
            similar.first().copied()
        })
    }

    /// Returns the direction of a passage with these terms. Repetitions in the text do not count.
    pub(super) fn direction(&self, weights: &HashMap<TermId, u8>) -> WordVector {
        let mut terms: Vec<_> = weights.iter().map(|(term, weight)| (*term, *weight)).collect();
        // The sum of floating-point numbers depends on their order.
        terms.sort_unstable();
        let share = |weight| if weight >= TITLE_WEIGHT { TITLE_SHARE } else { 1.0 };
        self.vectors.direction(terms.into_iter().map(|(term, weight)| (term, share(weight))))
    }

    /// Returns the direction of each keyword that has one.
    pub(super) fn keyword_directions(&self, keywords: &[TermId]) -> Box<[WordVector]> {
        let directions = keywords.split(|term| *term == SEPARATOR).map(|keyword| {
            let terms: BTreeSet<_> = keyword.iter().copied().collect();
            self.vectors.direction(terms.into_iter().map(|term| (term, 1.0)))
        });
        directions.filter(|direction| *direction != WordVector::default()).collect()
    }
}
