//! Question, prepared for the search in its language.

use super::{index::QuestionLanguage, word_vectors::WordVectors};
use crate::{
    language::Languages,
    terms::{SearchTerms, fold, search_terms},
};
use std::{collections::HashSet, sync::Arc};

const GERMAN: &str = "de";

/// Languages of questions, with their function words as `terms` spells them.
pub struct Lexicon {
    languages: Arc<Languages>,
    /// Function words of each language, by its code.
    stop_words: Vec<(String, HashSet<String>)>,
}

/// Question with its words, once for the search by words, once for that by vectors.
pub struct Question<'a> {
    /// Without the function words of its language.
    pub words: SearchTerms,
    /// Without the function words of any language: their vectors are close to too many others.
    pub telling: SearchTerms,
    /// Whether it is in German.
    pub is_german: bool,
    lexicon: &'a Lexicon,
}

impl Lexicon {
    pub fn new(languages: Arc<Languages>) -> Self {
        let spelled = |word: &String| fold(&word.replace('\'', ""));
        let stop_words = languages.all().iter();
        let stop_words =
            stop_words.map(|language| (language.code.clone(), language.stop_words.iter().map(spelled).collect()));
        Self { stop_words: stop_words.collect(), languages }
    }

    fn is_stop_word(&self, word: &str, code: &str) -> bool {
        self.stop_words.iter().any(|(language, words)| language == code && words.contains(word))
    }

    fn is_any_stop_word(&self, word: &str) -> bool {
        self.stop_words.iter().any(|(_, words)| words.contains(word))
    }
}

impl Default for Lexicon {
    /// Returns the built-in languages.
    fn default() -> Self {
        Self::new(Arc::new(Languages::built_in()))
    }
}

impl<'a> Question<'a> {
    pub fn new(text: &str, lexicon: &'a Lexicon) -> Self {
        let code = lexicon.languages.detect(text).map(|language| language.code.as_str());
        // `terms` has a list of its own for English. It is shorter, since a word such as "like" or "many" that no passage
        // contains tells that the question is about something else.
        let foreign = code.filter(|code| *code != lexicon.languages.default_language().code);
        Self {
            words: search_terms(text, |word| foreign.is_some_and(|code| lexicon.is_stop_word(word, code))),
            telling: search_terms(text, |word| lexicon.is_any_stop_word(word)),
            is_german: code == Some(GERMAN),
            lexicon,
        }
    }

    /// Calls `search` with what the index needs to know about the language of the question.
    pub fn with_language<T>(&self, search: impl FnOnce(&QuestionLanguage<'_>) -> T) -> T {
        let vectors = WordVectors::embedded();
        let is_known = |word: &str| self.lexicon.is_any_stop_word(word) || vectors.contains(word);
        let spellings = |word: &str| self.lexicon.languages.spellings(word).map(str::to_owned).collect();
        search(&QuestionLanguage { is_german: self.is_german, is_known: &is_known, spellings: &spellings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(terms: &SearchTerms) -> Vec<&str> {
        terms.terms.iter().map(|term| term.word.as_str()).collect()
    }

    #[test]
    fn function_words_of_the_language_are_left_out() {
        let lexicon = Lexicon::default();
        let german = Question::new("Wie viel kostet eine Kopie für Kinder in der Bücherei?", &lexicon);
        assert!(german.is_german);
        assert_eq!(words(&german.words), ["kostet", "kopie", "kinder", "bucherei"]);
        let english = Question::new("What does a copy cost in the library?", &lexicon);
        assert!(!english.is_german);
        assert_eq!(words(&english.words), ["copy", "cost", "library"]);
    }

    #[test]
    fn spellings_of_the_language_files_are_known() {
        let lexicon = Lexicon::default();
        let question = Question::new("gray", &lexicon);
        assert_eq!(question.with_language(|language| (language.spellings)("gray")), ["grey"]);
    }
}
