//! Text analysis for the search index: terms of a text to index, and terms of a question to search for. Pure.
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

use fold::{fold_case, fold_spelling};
use rust_stemmers::{Algorithm, Stemmer};
use std::collections::HashSet;
use stop_words::COURTESIES;
pub use stop_words::is_stop_word;
use words::{Part, Token, Word, tokens};

/// Maximum number of words of a question to search for. Bounds the cost of a search.
pub const MAX_QUERY_WORDS: usize = 32;
/// Maximum number of n-grams of a question to search for.
pub const MAX_QUERY_GRAMS: usize = 96;
/// Weight of an n-gram with grammatical function.
const WEAK_WEIGHT: f64 = 0.25;

/// Term of a question, with alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchTerm {
    /// Word of the question, folded, or n-gram.
    pub word: String,
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

    /// Adds the terms of another question, with their weights multiplied by `factor`, up to the limits of one question. The stop
    /// words of a question that has nothing else count only if the other one has nothing else either.
    pub fn add(&mut self, mut other: Self, factor: f64) {
        other.terms.iter_mut().for_each(|term| term.weight *= factor);
        if self.is_empty() || (self.only_stop_words && !other.is_empty() && !other.only_stop_words) {
            *self = other;
        } else if self.only_stop_words == other.only_stop_words {
            for term in other.terms {
                let limit = if term.is_gram { MAX_QUERY_GRAMS } else { MAX_QUERY_WORDS };
                let count = self.terms.iter().filter(|known| known.is_gram == term.is_gram).count();
                if count < limit && !self.terms.iter().any(|known| known.any_of[0] == term.any_of[0]) {
                    self.terms.push(term);
                }
            }
        }
    }
}

/// Returns the terms of a text to index, in order.
pub fn index_terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for token in tokens(&fold_spelling(text)) {
        match token {
            Token::Word(word) => {
                terms.extend(word.parts.iter().flat_map(Part::index_texts).map(english_stem));
                terms.extend(word.joined().map(|joined| english_stem(&joined)));
            }
            Token::Run(run) => terms.extend(run.index_grams()),
        }
    }
    terms
}

/// Returns the distinct terms of a question, at most [`MAX_QUERY_WORDS`] words and [`MAX_QUERY_GRAMS`] n-grams. Words that
/// satisfy `is_filler` are left out like stop words.
pub fn search_terms(question: &str, is_filler: impl Fn(&str) -> bool) -> SearchTerms {
    let mut search = SearchTerms::default();
    let mut seen = HashSet::new();
    let (mut words_left, mut grams_left) = (MAX_QUERY_WORDS, MAX_QUERY_GRAMS);
    for token in tokens(&fold_spelling(question)) {
        match token {
            Token::Word(word) => {
                for (word, any_of) in word_alternatives(&word) {
                    if words_left > 0 && !is_filler(&word) && seen.insert(any_of[0].clone()) {
                        words_left -= 1;
                        search.terms.push(SearchTerm { word, any_of, weight: 1.0, is_gram: false });
                    }
                }
            }
            Token::Run(run) => {
                for gram in run.question_grams() {
                    if grams_left > 0 && seen.insert(gram.text.clone()) {
                        grams_left -= 1;
                        let weight = if gram.is_weak { WEAK_WEIGHT } else { 1.0 };
                        search.terms.push(SearchTerm {
                            word: gram.text.clone(),
                            any_of: vec![gram.text],
                            weight,
                            is_gram: true,
                        });
                    }
                }
            }
        }
    }
    if search.is_empty() { stop_word_terms(question) } else { search }
}

/// Returns the stems of the significant words of a text, and its n-grams, in order, with repetitions.
pub fn stems(text: &str) -> Vec<String> {
    let mut stems = Vec::new();
    for token in tokens(&fold_spelling(text)) {
        match token {
            Token::Word(word) => stems.extend(significant_parts(&word).map(|part| english_stem(&part.whole))),
            Token::Run(run) => stems.extend(run.question_grams().map(|gram| gram.text)),
        }
    }
    stems
}

/// Returns each significant part of a word with its alternative spellings; for a word without any, such as `U.S.A.` or `AT&T`,
/// the whole word.
fn word_alternatives(word: &Word) -> Vec<(String, Vec<String>)> {
    let joined = word.joined().map(|joined| english_stem(&joined));
    let mut alternatives: Vec<(String, Vec<String>)> = significant_parts(word)
        .map(|part| {
            let separate = part.as_words().map(|words| phrase(words.into_iter().map(english_stem)));
            let any_of = [english_stem(&part.whole)].into_iter().chain(separate).chain(joined.clone());
            (part.whole.clone(), any_of.collect())
        })
        .collect();
    if alternatives.is_empty()
        && let Some(joined) = joined
    {
        let parts = word.stem_parts().iter().map(|part| english_stem(&part.whole));
        alternatives.push((joined.clone(), vec![joined, phrase(parts)]));
    }
    alternatives
}

fn significant_parts(word: &Word) -> impl Iterator<Item = &Part> {
    word.stem_parts().iter().filter(|part| part.is_term() && !part.is_elided() && !is_stop_word(&part.whole))
}

/// Terms of a question that contains only stop words, such as "To be or not to be" or "The Who": their phrase and each of them.
fn stop_word_terms(question: &str) -> SearchTerms {
    let courtesies: HashSet<_> = COURTESIES.iter().map(|word| english_stem(word)).collect();
    let words: Vec<_> =
        index_terms(question).into_iter().filter(|word| !courtesies.contains(word)).take(MAX_QUERY_WORDS).collect();
    let term = |text: String| SearchTerm { word: text.clone(), any_of: vec![text], weight: 1.0, is_gram: false };
    let mut terms = Vec::new();
    if words.len() > 1 {
        terms.push(term(phrase(words.iter().cloned())));
    }
    let mut seen = HashSet::new();
    terms.extend(words.into_iter().filter(|word| seen.insert(word.clone())).map(term));
    SearchTerms { terms, only_stop_words: true }
}

/// Returns a text in the spelling of terms: folded, in lower case.
pub fn fold(text: &str) -> String {
    fold_case(&fold_spelling(text))
}

fn phrase(terms: impl Iterator<Item = String>) -> String {
    terms.collect::<Vec<_>>().join(" ")
}

/// Returns the English stem of a folded word of ASCII letters; others unchanged.
pub fn english_stem(word: &str) -> String {
    stem(word, Algorithm::English)
}

/// Returns the German stem of a folded word of ASCII letters; others unchanged.
pub fn german_stem(word: &str) -> String {
    stem(word, Algorithm::German)
}

fn stem(word: &str, language: Algorithm) -> String {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Stemmer::create(language).stem(word).into_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests;
