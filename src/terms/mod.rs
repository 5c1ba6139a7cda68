//! Text analysis for the full-text index: terms of a text to index, and terms of a question to search for. Pure.
//!
//! Both sides are normalized in the same way, so that spelling does not matter: full or half width, accents, apostrophes,
//! hyphens and thousands separators ([`fold`]). A compound is indexed as a whole and in parts ([`words`]): `e-mail` as `e`,
//! `mail` and `email`. Words are reduced to their English stems. Text in scripts without spaces is split into overlapping
//! n-grams ([`script`]).
//!
//! A question becomes [`SearchTerm`]s: its words without stop words ([`stop_words`]), each with its alternative spellings.

mod fold;
mod script;
mod stop_words;
mod words;

use fold::fold_spelling;
use rust_stemmers::{Algorithm, Stemmer};
use std::collections::HashSet;
use stop_words::{COURTESIES, is_stop_word};
use words::{Part, Token, Word, tokens};

/// Version of the index. Must change whenever [`index_terms`] changes; an index of another version is rebuilt.
pub const INDEX_VERSION: i32 = 1;

/// Maximum number of words of a question to search for. Bounds the cost of a search.
pub const MAX_QUERY_WORDS: usize = 32;
/// Maximum number of n-grams of a question to search for.
pub const MAX_QUERY_GRAMS: usize = 96;
/// Weight of an n-gram with grammatical function.
const WEAK_WEIGHT: f64 = 0.25;

/// Term of a question, with alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchTerm {
    /// Alternatives, any of which matches: index terms, or phrases of several index terms separated by spaces.
    pub any_of: Vec<String>,
    /// Weight of the term, in addition to its rarity.
    pub weight: f64,
    /// Whether the term is an n-gram. About half of these span two words and occur in no other text.
    pub is_gram: bool,
}

/// Terms to search for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchTerms {
    pub terms: Vec<SearchTerm>,
    /// Whether the question contains only stop words. If there are several, the first term is the phrase of all of them.
    pub only_stop_words: bool,
}

impl SearchTerms {
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// Returns the terms of a text to index, in order, separated by spaces.
pub fn index_terms(text: &str) -> String {
    index_words(text).join(" ")
}

/// Returns the distinct terms of a question, at most [`MAX_QUERY_WORDS`] words and [`MAX_QUERY_GRAMS`] n-grams.
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
                        let weight = if gram.is_weak { WEAK_WEIGHT } else { 1.0 };
                        search.terms.push(SearchTerm { any_of: vec![gram.text], weight, is_gram: true });
                    }
                }
            }
        }
    }
    if search.is_empty() { stop_word_terms(question) } else { search }
}

/// Counts the significant words of a question; a run of n-grams counts as one.
pub fn count_significant_words(question: &str) -> usize {
    let count = |token: &Token| match token {
        Token::Word(word) => word_alternatives(word).len(),
        Token::Run(_) => 1,
    };
    tokens(&fold_spelling(question)).iter().map(count).sum()
}

/// Returns the stems of the significant words of a text, and its n-grams, in order, with repetitions.
pub fn stems(text: &str) -> Vec<String> {
    let mut stems = Vec::new();
    for token in tokens(&fold_spelling(text)) {
        match token {
            Token::Word(word) => stems.extend(significant_parts(&word).map(|part| stem(&part.whole))),
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

/// Returns the alternative spellings of each significant part of a word; for a word without any, such as `U.S.A.` or `AT&T`,
/// those of the whole word.
fn word_alternatives(word: &Word) -> Vec<Vec<String>> {
    let joined = word.joined().map(|joined| stem(&joined));
    let mut alternatives: Vec<Vec<String>> = significant_parts(word)
        .map(|part| {
            let separate = part.as_words().map(|words| phrase(words.into_iter().map(stem)));
            [stem(&part.whole)].into_iter().chain(separate).chain(joined.clone()).collect()
        })
        .collect();
    if alternatives.is_empty()
        && let Some(joined) = joined
    {
        let parts = word.stem_parts().iter().map(|part| stem(&part.whole));
        alternatives.push(vec![joined, phrase(parts)]);
    }
    alternatives
}

fn significant_parts(word: &Word) -> impl Iterator<Item = &Part> {
    word.stem_parts().iter().filter(|part| part.is_term() && !part.is_elided() && !is_stop_word(&part.whole))
}

/// Terms of a question that contains only stop words, such as "To be or not to be" or "The Who": their phrase and each of them.
fn stop_word_terms(question: &str) -> SearchTerms {
    let courtesies: HashSet<_> = COURTESIES.iter().map(|word| stem(word)).collect();
    let words: Vec<_> =
        index_words(question).into_iter().filter(|word| !courtesies.contains(word)).take(MAX_QUERY_WORDS).collect();
    let term = |text| SearchTerm { any_of: vec![text], weight: 1.0, is_gram: false };
    let mut terms = Vec::new();
    if words.len() > 1 {
        terms.push(term(phrase(words.iter().cloned())));
    }
    let mut seen = HashSet::new();
    terms.extend(words.into_iter().filter(|word| seen.insert(word.clone())).map(term));
    SearchTerms { terms, only_stop_words: true }
}

fn phrase(terms: impl Iterator<Item = String>) -> String {
    terms.collect::<Vec<_>>().join(" ")
}

/// Stems a word of ASCII letters; returns others unchanged.
fn stem(word: &str) -> String {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Stemmer::create(Algorithm::English).stem(word).into_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests;
