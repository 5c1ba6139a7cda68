//! Terms of the index that stand for a word of a question: the word itself, other spellings, and, for a word that no passage
//! contains, inflected forms, its parts and corrections of typing errors.

use super::{Index, vocabulary::TermId};
use crate::terms::{SearchTerm, english_stem, is_stop_word};

/// Factor for another spelling or the same words joined or split.
const SPELLING: f64 = 0.95;
/// Factor for another inflected form.
const FORM: f64 = 0.9;
/// Factor for a word with one typing error.
const ONE_ERROR: f64 = 0.85;
/// Factor for a word with two typing errors.
const TWO_ERRORS: f64 = 0.7;
/// Endings of British spellings, and the American ones.
const SPELLINGS: &[(&str, &str)] = &[
    ("our", "or"),
    ("ours", "ors"),
    ("oured", "ored"),
    ("ouring", "oring"),
    ("re", "er"),
    ("res", "ers"),
    ("ise", "ize"),
    ("ised", "ized"),
    ("ises", "izes"),
    ("ising", "izing"),
    ("isation", "ization"),
    ("isations", "izations"),
    ("yse", "yze"),
    ("ysed", "yzed"),
    ("ysing", "yzing"),
    ("ogue", "og"),
    ("ogues", "ogs"),
    ("ence", "ense"),
    ("ences", "enses"),
    ("ller", "ler"),
    ("lling", "ling"),
    ("lled", "led"),
    ("lment", "llment"),
    ("gramme", "gram"),
    ("grammes", "grams"),
];
/// Parts of endings of contractions, when written without the apostrophe.
const CONTRACTIONS: &[&str] = &["t", "s", "d", "m", "re", "ve", "ll"];

/// Way in which passages can contain a word of a question.
pub(super) struct Alternative {
    /// One term, or several that a passage must all contain.
    pub terms: Vec<TermId>,
    /// Whether several terms must follow each other.
    pub is_phrase: bool,
    /// Worth of a match, up to 1.
    pub factor: f64,
}

impl Alternative {
    fn one(term: TermId, factor: f64) -> Self {
        Self { terms: vec![term], is_phrase: false, factor }
    }
}

/// Facts about the language of a question.
pub struct QuestionLanguage<'a> {
    pub is_german: bool,
    /// Whether a folded word is a name in this question.
    pub is_name: &'a dyn Fn(&str) -> bool,
    /// Whether a folded word exists; such a word is not taken for a typing error.
    pub is_known: &'a dyn Fn(&str) -> bool,
    /// Returns other spellings of a folded word.
    pub spellings: &'a dyn Fn(&str) -> Vec<String>,
}

impl Index {
    /// Returns the alternatives of each term, in order; none for a term that no passage contains in any form, and `None` for a
    /// word that turns out to be a misspelt stop word.
    pub(super) fn expand(
        &self,
        terms: &[SearchTerm],
        language: &QuestionLanguage<'_>,
    ) -> Vec<Option<Vec<Alternative>>> {
        let mut expanded: Vec<Option<Vec<Alternative>>> =
            terms.iter().map(|term| Some(self.as_written(term, language))).collect();
        self.join_neighbours(terms, &mut expanded);
        for (term, found) in terms.iter().zip(&mut expanded) {
            if !term.is_gram && found.as_ref().is_some_and(Vec::is_empty) {
                *found = self.as_meant(&term.word, language);
            }
        }
        expanded
    }

    pub(super) fn is_used(&self, term: TermId) -> bool {
        self.postings.get(term as usize).is_some_and(|postings| !postings.is_empty())
    }

    pub(super) fn used(&self, term: &str) -> Option<TermId> {
        self.vocabulary.get(term).filter(|id| self.is_used(*id))
    }

    /// Returns the word in the spellings of [`SearchTerm::any_of`], and those that are right elsewhere.
    fn as_written(&self, term: &SearchTerm, language: &QuestionLanguage<'_>) -> Vec<Alternative> {
        let written = term.any_of.iter().filter_map(|words| {
            let terms = words.split(' ').map(|word| self.used(word)).collect::<Option<Vec<_>>>()?;
            Some(Alternative { is_phrase: terms.len() > 1, terms, factor: 1.0 })
        });
        let mut found: Vec<_> = written.collect();
        if term.is_gram {
            return found;
        }
        let others = other_spellings(&term.word).chain((language.spellings)(&term.word));
        let mut more: Vec<_> = others
            .filter_map(|word| self.used(&english_stem(&word)))
            .map(|id| Alternative::one(id, SPELLING))
            .collect();
        if language.is_german {
            more.extend(self.german_forms(&term.word));
        }
        for other in more {
            if !found.iter().any(|alternative| alternative.terms == other.terms) {
                found.push(other);
            }
        }
        found
    }

    fn german_forms(&self, word: &str) -> impl Iterator<Item = Alternative> {
        let forms = self.vocabulary.german_forms(word);
        forms.into_iter().filter(|id| self.is_used(*id)).map(|id| Alternative::one(id, FORM))
    }

    /// Adds words of the index that two neighbouring words make together, such as "wind screen".
    fn join_neighbours(&self, terms: &[SearchTerm], expanded: &mut [Option<Vec<Alternative>>]) {
        for at in 1..terms.len() {
            if terms[at - 1].is_gram || terms[at].is_gram {
                continue;
            }
            let joined = english_stem(&format!("{}{}", terms[at - 1].word, terms[at].word));
            let Some(joined) = self.used(&joined) else { continue };
            for found in expanded[at - 1..=at].iter_mut().flatten() {
                found.push(Alternative::one(joined, SPELLING));
            }
        }
    }

    /// Returns what a word that no passage contains may mean; `None` for a stop word with a typing error.
    fn as_meant(&self, word: &str, language: &QuestionLanguage<'_>) -> Option<Vec<Alternative>> {
        let bases = CONTRACTIONS.iter().filter_map(|ending| word.strip_suffix(ending));
        if bases.into_iter().any(|base| base.len() > 1 && is_stop_word(base)) {
            return None;
        }
        let found: Vec<_> = self.german_forms(word).collect();
        if !found.is_empty() {
            return Some(found);
        }
        let used = |id| self.is_used(id);
        if let Some(terms) = self.vocabulary.split(word, used) {
            return Some(vec![Alternative { terms, is_phrase: false, factor: SPELLING }]);
        }
        if (language.is_known)(word) {
            return Some(Vec::new());
        }
        let corrected = self.vocabulary.similar(&english_stem(word), used);
        let Some((errors, terms)) = corrected else { return Some(Vec::new()) };
        let factor = if errors < 2 { ONE_ERROR } else { TWO_ERRORS };
        Some(terms.into_iter().map(|id| Alternative::one(id, factor)).collect())
    }
}

/// Returns American for British spellings and the reverse, and umlauts written as one letter for two, by general rules: some
/// results are no words, and are not found.
fn other_spellings(word: &str) -> impl Iterator<Item = String> {
    let replaced =
        |from: &str, to: &str| word.strip_suffix(from).filter(|base| base.len() > 1).map(|base| format!("{base}{to}"));
    let endings = SPELLINGS
        .iter()
        .flat_map(move |(british, american)| [replaced(british, american), replaced(american, british)]);
    let umlauts = [("ae", "a"), ("oe", "o"), ("ue", "u")].into_iter().filter(|(two, _)| word.contains(two));
    let umlauts = umlauts.map(|(two, one)| word.replace(two, one));
    endings.flatten().chain(umlauts).collect::<Vec<_>>().into_iter()
}
