//! Question, prepared for the search in its language.

use super::{index::QuestionLanguage, query::RetrievalQuery, word_vectors::WordVectors};
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

/// Question with its words, once for the search by words, once for that by vectors. Words of earlier questions have less weight.
pub struct Question<'a> {
    /// Without the function words of its language.
    pub words: SearchTerms,
    /// Without the function words of any language: their vectors are close to too many others.
    pub telling: SearchTerms,
    /// Whether it is in German.
    pub is_german: bool,
    /// Folded words that are names by their spelling.
    names: HashSet<String>,
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
    /// Prepares a question that stands on its own.
    pub fn new(text: &str, lexicon: &'a Lexicon) -> Self {
        Self::of(&RetrievalQuery::alone(text), lexicon)
    }

    /// Prepares a question and the earlier ones that it refers to. A text whose language is not recognised, such as "torque?", is
    /// in that of the question before it.
    pub fn of(query: &RetrievalQuery, lexicon: &'a Lexicon) -> Self {
        let code_of = |text: &str| lexicon.languages.detect(text).map(|language| language.code.as_str());
        let code = query.weighted().find_map(|(text, _)| code_of(text));
        let (mut words, mut telling) = (SearchTerms::default(), SearchTerms::default());
        for (text, weight) in query.weighted() {
            let code = code_of(text).or(code);
            // `terms` has a list of its own for English. It is shorter, since a word such as "like" or "many" that no passage
            // contains tells that the question is about something else. In a follow-up it tells nothing.
            let is_filtered = query.is_follow_up() || code != Some(&lexicon.languages.default_language().code);
            let listed = code.filter(|_| is_filtered);
            words.add(search_terms(text, |word| listed.is_some_and(|code| lexicon.is_stop_word(word, code))), weight);
            telling.add(search_terms(text, |word| lexicon.is_any_stop_word(word)), weight);
        }
        let is_german = code == Some(GERMAN);
        let names = query.weighted().filter(|_| !is_german).flat_map(|(text, _)| names(text)).collect();
        Self { words, telling, is_german, names, lexicon }
    }

    /// Calls `search` with what the index needs to know about the language of the question.
    pub fn with_language<T>(&self, search: impl FnOnce(&QuestionLanguage<'_>) -> T) -> T {
        let vectors = WordVectors::embedded();
        let is_known = |word: &str| self.lexicon.is_any_stop_word(word) || vectors.contains(word);
        let spellings = |word: &str| self.lexicon.languages.spellings(word).map(str::to_owned).collect();
        let (is_german, is_name) = (self.is_german, |word: &str| self.names.contains(word));
        search(&QuestionLanguage { is_german, is_name: &is_name, is_known: &is_known, spellings: &spellings })
    }
}

/// Returns the words with a capital letter that begin no sentence. German writes all nouns like that.
fn names(text: &str) -> HashSet<String> {
    let mut begins_sentence = true;
    let mut names = HashSet::new();
    for word in text.split_whitespace() {
        let letters = word.trim_matches(|c: char| !c.is_alphanumeric());
        if !begins_sentence && letters.starts_with(char::is_uppercase) {
            names.extend(fold(letters).split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
        }
        begins_sentence = word.ends_with(['.', '!', '?', ':', '\n']);
    }
    names
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
    fn words_of_a_follow_up_weigh_more_than_those_before_it() {
        let lexicon = Lexicon::default();
        let weights = |question: &str, previous: &str| {
            let question = Question::of(&RetrievalQuery::after(question, previous), &lexicon);
            let weights = question.words.terms.iter().map(|term| (term.word.clone(), term.weight)).collect::<Vec<_>>();
            (weights, question.is_german)
        };
        let words = |words: &[(&str, f64)]| {
            words.iter().map(|(word, weight)| ((*word).to_owned(), *weight)).collect::<Vec<_>>()
        };
        let english = (words(&[("torque", 1.0), ("engine", 0.5), ("power", 0.5)]), false);
        assert_eq!(weights("and the torque?", "What is the engine power?"), english);
        let german = (words(&[("drehmoment", 1.0), ("leistung", 0.5), ("motor", 0.5)]), true);
        assert_eq!(weights("und das Drehmoment?", "Welche Leistung hat der Motor?"), german);
        assert_eq!(weights("how often?", "oil change").0, words(&[("oil", 0.5), ("change", 0.5)]));
    }

    #[test]
    fn names_are_capital_words_within_a_sentence() {
        let lexicon = Lexicon::default();
        let names = |text: &str| {
            let mut names: Vec<_> = Question::new(text, &lexicon).names.into_iter().collect();
            names.sort();
            names
        };
        assert_eq!(names("Where is the Mercy-Hospital? Ask (Ann) or Zoë."), ["ann", "hospital", "mercy", "zoe"]);
        assert!(names("Wo ist die Bücherei der Schule?").is_empty());
    }

    #[test]
    fn spellings_of_the_language_files_are_known() {
        let lexicon = Lexicon::default();
        let question = Question::new("gray", &lexicon);
        assert_eq!(question.with_language(|language| (language.spellings)("gray")), ["grey"]);
    }
}
