//! Vocabulary of the index: numbers for terms, and the terms that are close to a word which is not among them.

use crate::terms::{english_stem, german_stem};
use std::{collections::HashMap, sync::Arc};

/// Number of a term.
pub type TermId = u32;

/// Shortest word that may differ from a term by one error, in characters; shorter ones are too similar to other words.
const MIN_CHARS_FOR_ONE_ERROR: usize = 4;
/// Shortest word that may have a wrong or an additional letter; in shorter ones, a letter is missing or two are swapped.
const MIN_CHARS_FOR_ANY_ERROR: usize = 5;
/// Shortest word that may differ by two letters.
const MIN_CHARS_FOR_TWO_ERRORS: usize = 8;
/// Shortest part of a word that is split.
const MIN_PART_CHARS: usize = 3;
/// Letters that German compounds insert between their parts.
const LINKS: &[&str] = &["", "s", "es", "n", "en", "er", "e"];

/// Terms of the index, numbered in the order of their first use.
#[derive(Default)]
pub struct Vocabulary {
    ids: HashMap<Arc<str>, TermId>,
    terms: Vec<Term>,
    /// Terms by their German stem, if it differs from the term.
    by_german_stem: HashMap<Box<str>, Vec<TermId>>,
}

struct Term {
    text: Arc<str>,
    chars: u8,
    letters: Letters,
}

/// Set of the letters and digits of a word; others share a bit. An edit changes at most two bits.
#[derive(Clone, Copy)]
struct Letters(u64);

impl Letters {
    fn of(word: &str) -> Self {
        Self(word.chars().fold(0, |set, c| {
            let bit = match c {
                'a'..='z' => c as u32 - 'a' as u32,
                '0'..='9' => c as u32 - '0' as u32 + 26,
                c => 36 + c as u32 % 28,
            };
            set | 1 << bit
        }))
    }

    fn may_be_within(self, other: Self, edits: usize) -> bool {
        (self.0 ^ other.0).count_ones() as usize <= 2 * edits
    }
}

impl Vocabulary {
    /// Returns the number of a term, and adds it if it is new.
    pub fn add(&mut self, text: &str) -> TermId {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = TermId::try_from(self.terms.len()).unwrap_or(TermId::MAX);
        let text: Arc<str> = text.into();
        let stem = german_stem(&text);
        if *stem != *text {
            self.by_german_stem.entry(stem.into()).or_default().push(id);
        }
        let chars = u8::try_from(text.chars().count()).unwrap_or(u8::MAX);
        self.terms.push(Term { text: Arc::clone(&text), chars, letters: Letters::of(&text) });
        self.ids.insert(text, id);
        id
    }

    pub fn get(&self, term: &str) -> Option<TermId> {
        self.ids.get(term).copied()
    }

    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Returns the terms with the number `first` and higher.
    pub fn texts_from(&self, first: usize) -> impl Iterator<Item = &str> {
        self.terms.get(first..).unwrap_or_default().iter().map(|term| &*term.text)
    }

    /// Returns the terms with the same German stem as a word.
    pub fn german_forms(&self, word: &str) -> Vec<TermId> {
        let stem = german_stem(word);
        let forms = self.by_german_stem.get(&*stem).map_or(&[][..], Vec::as_slice);
        self.get(&stem).into_iter().chain(forms.iter().copied()).collect()
    }

    /// Returns the terms that satisfy `is_used` and differ from `term` by the fewest typing errors, and their number of errors;
    /// none if that is too many for the length of the word.
    pub fn similar(&self, term: &str, is_used: impl Fn(TermId) -> bool) -> Option<(usize, Vec<TermId>)> {
        let chars = term.chars().count();
        let most = match chars {
            MIN_CHARS_FOR_TWO_ERRORS.. => 2,
            MIN_CHARS_FOR_ONE_ERROR.. => 1,
            _ => return None,
        };
        if term.chars().any(|c| c.is_ascii_digit()) {
            return None;
        }
        let letters = Letters::of(term);
        let (mut fewest, mut found) = (most, Vec::new());
        for (id, other) in (0..).zip(&self.terms) {
            let may_match = usize::from(other.chars).abs_diff(chars) <= fewest
                && letters.may_be_within(other.letters, fewest)
                && usize::from(other.chars) >= MIN_CHARS_FOR_ONE_ERROR
                && (chars >= MIN_CHARS_FOR_ANY_ERROR
                    || usize::from(other.chars) > chars
                    || letters.may_be_within(other.letters, 0))
                && !other.text.chars().any(|c| c.is_ascii_digit());
            if !may_match || !is_used(id) {
                continue;
            }
            let errors = strsim::osa_distance(term, &other.text);
            if errors < fewest {
                (fewest, found) = (errors, Vec::new());
            }
            if errors == fewest {
                found.push(id);
            }
        }
        // People rarely mistype the first letter.
        let first = term.chars().next();
        let is_alike = |id: &TermId| self.terms[*id as usize].text.chars().next() == first;
        if found.iter().any(is_alike) {
            found.retain(is_alike);
        }
        (!found.is_empty()).then_some((fewest, found))
    }

    /// Splits a word into two terms that satisfy `is_used`, such as a compound or words without the space between them.
    pub fn split(&self, word: &str, is_used: impl Fn(TermId) -> bool) -> Option<Vec<TermId>> {
        let used = |part: &str| {
            let term = self.get(&english_stem(part)).filter(|id| is_used(*id));
            term.or_else(|| self.german_forms(part).into_iter().find(|id| is_used(*id)))
        };
        let boundaries: Vec<usize> = word.char_indices().map(|(at, _)| at).collect();
        let ends = boundaries.len().checked_sub(MIN_PART_CHARS)?;
        // The longest second part first: the head of a compound says what it is.
        (MIN_PART_CHARS..=ends).find_map(|middle| {
            let (first, second) = word.split_at(boundaries[middle]);
            let second = used(second)?;
            let first = LINKS.iter().find_map(|link| {
                let first = first.strip_suffix(link)?;
                (first.chars().count() >= MIN_PART_CHARS).then(|| used(first)).flatten()
            })?;
            Some(vec![first, second])
        })
    }
}
