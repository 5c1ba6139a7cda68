//! Terms: what the full-text index holds of a text, and what is searched for, given a question. Pure.
//!
//! One function normalises both sides, so that a text is found by its own words however they are written: full width or
//! half width, with or without accents, with any apostrophe, hyphen or separator of thousands ([`fold`]). A word is in the
//! index whole and in parts ([`words`]): `e-mail` as `e`, `mail` and `email`. Words are reduced to their English stems. Text
//! of scripts without spaces is cut into overlapping n-grams ([`script`]).
//!
//! A question becomes [`SearchTerm`]s: its words without those that every question has ([`stop_words`]), each with the
//! other ways to write it.

mod fold;
mod script;
mod stop_words;
mod words;

use fold::fold_spelling;
use rust_stemmers::{Algorithm, Stemmer};
use std::collections::HashSet;
use stop_words::{COURTESIES, is_stop_word};
use words::{Part, Token, Word, tokens};

/// Changes whenever [`index_terms`] returns something else for any text: an index of another version is rebuilt.
pub const INDEX_VERSION: i32 = 1;

/// The words of a question that take part in a search; those after it do not. Bounds what one search costs.
pub const MAX_QUERY_WORDS: usize = 32;
/// The n-grams of a question that take part in a search.
pub const MAX_QUERY_GRAMS: usize = 96;
/// The weight of an n-gram that is grammar.
const WEAK: f64 = 0.25;

/// One thing that a passage on a question should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchTerm {
    /// Terms of the index, or several in a row with spaces between them; a passage that has any of these holds it.
    pub any_of: Vec<String>,
    /// Weight of the term, in addition to its rarity.
    pub weight: f64,
    /// Whether it is a piece of a run: half of these lie across the boundaries of words, where no other text has them.
    pub is_gram: bool,
}

/// Terms to search for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchTerms {
    pub terms: Vec<SearchTerm>,
    /// Whether there are nothing but stop words. Then the first term is all of them in a row.
    pub is_stop_words: bool,
}

impl SearchTerms {
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// The terms of a text as the index takes them: in order, separated by spaces.
pub fn index_terms(text: &str) -> String {
    index_words(text).join(" ")
}

/// Returns the terms to search for, given a question: at most [`MAX_QUERY_WORDS`] words and [`MAX_QUERY_GRAMS`] n-grams, each once.
pub fn search_terms(question: &str) -> SearchTerms {
    let mut search = SearchTerms::default();
    let mut seen = HashSet::new();
    let (mut words_left, mut grams_left) = (MAX_QUERY_WORDS, MAX_QUERY_GRAMS);
    for token in tokens(&fold_spelling(question)) {
        match token {
            Token::Word(word) => {
                for any_of in word_alternatives(&word) {
                    if words_left > 0 && seen.insert(any_of[0].clone()) {
                        words_left -= 1;
                        search.terms.push(SearchTerm { any_of, weight: 1.0, is_gram: false });
                    }
                }
            }
            Token::Run(run) => {
                for gram in run.question_grams() {
                    if grams_left > 0 && seen.insert(gram.text.clone()) {
                        grams_left -= 1;
                        let weight = if gram.is_weak { WEAK } else { 1.0 };
                        search.terms.push(SearchTerm { any_of: vec![gram.text], weight, is_gram: true });
                    }
                }
            }
        }
    }
    if search.is_empty() { stop_word_terms(question) } else { search }
}

/// Number of significant words of a question; a run counts as one.
pub fn telling_words(question: &str) -> usize {
    let count = |token: &Token| match token {
        Token::Word(word) => word_alternatives(word).len(),
        Token::Run(_) => 1,
    };
    tokens(&fold_spelling(question)).iter().map(count).sum()
}

/// The stems of the telling words of a text, and its n-grams, in order, with repetitions.
pub fn stems(text: &str) -> Vec<String> {
    let mut stems = Vec::new();
    for token in tokens(&fold_spelling(text)) {
        match token {
            Token::Word(word) => stems.extend(telling_parts(&word).map(|part| stem(&part.whole))),
            Token::Run(run) => stems.extend(run.question_grams().map(|gram| gram.text)),
        }
    }
    stems
}

fn index_words(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for token in tokens(&fold_spelling(text)) {
        match token {
            Token::Word(word) => {
                terms.extend(word.parts.iter().flat_map(Part::index_texts).map(stem));
                terms.extend(word.joined().map(|joined| stem(&joined)));
            }
            Token::Run(run) => terms.extend(run.index_grams()),
        }
    }
    terms
}

/// For each telling part of a word, the ways in which it can be written; for a word without any, such as `U.S.A.` or
/// `AT&T`, the word in one.
fn word_alternatives(word: &Word) -> Vec<Vec<String>> {
    let joined = word.joined().map(|joined| stem(&joined));
    let mut alternatives: Vec<Vec<String>> = telling_parts(word)
        .map(|part| {
            let in_a_row = part.as_words().map(|words| row(words.into_iter().map(stem)));
            [stem(&part.whole)].into_iter().chain(in_a_row).chain(joined.clone()).collect()
        })
        .collect();
    if alternatives.is_empty()
        && let Some(joined) = joined
    {
        let parts = word.stem_parts().iter().map(|part| stem(&part.whole));
        alternatives.push(vec![joined, row(parts)]);
    }
    alternatives
}

fn telling_parts(word: &Word) -> impl Iterator<Item = &Part> {
    word.stem_parts().iter().filter(|part| part.is_term() && !part.is_elided() && !is_stop_word(&part.whole))
}

/// A question of nothing but stop words, such as "To be or not to be" or "The Who": all of them in a row, and each.
fn stop_word_terms(question: &str) -> SearchTerms {
    let courtesies: HashSet<_> = COURTESIES.iter().map(|word| stem(word)).collect();
    let words: Vec<_> =
        index_words(question).into_iter().filter(|word| !courtesies.contains(word)).take(MAX_QUERY_WORDS).collect();
    let term = |text| SearchTerm { any_of: vec![text], weight: 1.0, is_gram: false };
    let mut terms = Vec::new();
    if words.len() > 1 {
        terms.push(term(row(words.iter().cloned())));
    }
    let mut seen = HashSet::new();
    terms.extend(words.into_iter().filter(|word| seen.insert(word.clone())).map(term));
    SearchTerms { terms, is_stop_words: true }
}

/// Terms that stand in a row.
fn row(terms: impl Iterator<Item = String>) -> String {
    terms.collect::<Vec<_>>().join(" ")
}

/// The stem of a word of plain letters; others stay as they are.
fn stem(word: &str) -> String {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Stemmer::create(Algorithm::English).stem(word).into_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests;
