//! In-memory index of all passages: an inverted index for BM25, with the texts of the passages. Pure.
//!
//! It is rebuilt from the store at each start, so its terms may change with each version. A document becomes visible, and its old
//! version invisible, in one step ([`Index::publish`]); the passages themselves are added in small batches before, so that no
//! search waits for a large document.

mod embeddings;
mod expand;
mod score;
mod similar;
mod vocabulary;

use super::word_vectors::{TermVector, TermVectors, WordVector};
use crate::{
    domain::{Chunk, DocumentId, Passage},
    terms::index_terms,
};
use embeddings::PassageVectors;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use vocabulary::{TermId, Vocabulary};

pub use embeddings::{Nearest, Unembedded};
pub use expand::QuestionLanguage;
pub use score::{Found, GOOD_SCORE, MIN_SCORE};
pub use similar::Similar;

/// Weight of a term in a title, relative to one in the text.
const TITLE_WEIGHT: u8 = 4;
/// Weight of a term in any number of keywords, relative to one in the text.
const KEYWORD_WEIGHT: u8 = 4;
/// Maximum number of passages: what a [`Posting`] can name.
const MAX_SLOTS: usize = 1 << 24;
/// Separates the title from the text and keywords from each other, so that no phrase spans them.
const SEPARATOR: TermId = TermId::MAX;

/// Number of a passage in the index; reused after its removal.
pub type Slot = u32;

/// Index of the passages of all documents.
#[derive(Default)]
pub struct Index {
    vocabulary: Vocabulary,
    /// Passages that contain a term, by [`TermId`].
    postings: Vec<Vec<Posting>>,
    /// Vectors of the terms, by [`TermId`].
    vectors: TermVectors,
    slots: Vec<Option<IndexedPassage>>,
    /// Number of terms of the passage in each slot; 0 if it is invisible. Apart from the passages, since a search reads the
    /// lengths of all matches.
    lengths: Vec<u32>,
    /// Direction of the passage in each slot: what it is about as a whole.
    directions: Vec<WordVector>,
    /// Directions of the keywords of the passage in each slot.
    keyword_directions: Vec<Box<[WordVector]>>,
    /// Vectors of passages by an embedding model.
    embeddings: PassageVectors,
    free: Vec<Slot>,
    documents: HashMap<DocumentId, IndexedDocument>,
    /// Number of terms in all visible passages.
    length: u64,
    visible: usize,
}

/// Slot of a passage in the upper 24 bits; in the others, how often it contains the term, with occurrences in the title
/// weighted, up to 255.
#[derive(Clone, Copy)]
struct Posting(u32);

impl Posting {
    fn new(slot: Slot, weight: u8) -> Self {
        Self(slot << 8 | u32::from(weight))
    }

    const fn slot(self) -> Slot {
        self.0 >> 8
    }

    const fn weight(self) -> f32 {
        (self.0 & 0xff) as f32
    }
}

struct IndexedDocument {
    version: i64,
    slots: Vec<Slot>,
}

struct IndexedPassage {
    of: Arc<DocumentKey>,
    /// Number in its document, from 1.
    number: u32,
    title: Box<str>,
    text: Box<str>,
    /// Terms in order: those of the title, [`SEPARATOR`], those of the text.
    terms: Box<[TermId]>,
    /// Terms of the keywords, with a [`SEPARATOR`] after each keyword.
    keywords: Box<[TermId]>,
    /// Keywords as the author gave them, for the embedding model.
    keyword_texts: Box<[String]>,
}

/// Document, as its passages name it.
pub struct DocumentKey {
    pub id: DocumentId,
    pub source: String,
    pub collection: String,
}

/// Passage that has been split into terms, ready to be added.
pub struct AnalyzedPassage {
    number: u32,
    chunk: Chunk,
    title: Vec<String>,
    text: Vec<String>,
    keywords: Vec<Vec<String>>,
}

/// Vectors of the terms that are new to an index.
#[derive(Default)]
pub struct NewTerms(HashMap<String, TermVector>);

impl AnalyzedPassage {
    /// Splits the passage with the number `number` into terms.
    pub fn new(number: u32, chunk: Chunk) -> Self {
        let (title, text) = (index_terms(&chunk.title), index_terms(&chunk.text));
        let keywords = chunk.keywords.iter().map(|keyword| index_terms(keyword)).collect();
        Self { number, chunk, title, text, keywords }
    }

    fn terms(&self) -> impl Iterator<Item = &String> {
        self.title.iter().chain(&self.text).chain(self.keywords.iter().flatten())
    }
}

impl Index {
    /// Returns the number of visible passages.
    pub fn len(&self) -> usize {
        self.visible
    }

    /// Returns the version of each document.
    pub fn versions(&self) -> HashMap<DocumentId, i64> {
        self.documents.iter().map(|(id, document)| (*id, document.version)).collect()
    }

    /// Returns the terms of passages that this index does not have, without their vectors.
    pub fn new_terms(&self, passages: &[AnalyzedPassage]) -> HashSet<String> {
        let terms = passages.iter().flat_map(AnalyzedPassage::terms);
        terms.filter(|term| self.vocabulary.get(term).is_none()).cloned().collect()
    }

    /// Adds passages of a document, which stay invisible until [`Self::publish`]. `new` has the vectors of the terms that the
    /// index does not have.
    /// Returns fewer slots than passages if the index is full.
    pub fn add(&mut self, of: &Arc<DocumentKey>, passages: Vec<AnalyzedPassage>, mut new: NewTerms) -> Vec<Slot> {
        passages.into_iter().map_while(|passage| self.add_passage(of, passage, &mut new)).collect()
    }

    fn add_passage(&mut self, of: &Arc<DocumentKey>, passage: AnalyzedPassage, new: &mut NewTerms) -> Option<Slot> {
        let slot = self.free.pop().or_else(|| {
            let slot = Slot::try_from(self.slots.len()).ok().filter(|_| self.slots.len() < MAX_SLOTS)?;
            self.slots.push(None);
            self.lengths.push(0);
            self.directions.push(WordVector::default());
            self.keyword_directions.push(Box::default());
            Some(slot)
        })?;
        let mut terms = Vec::with_capacity(passage.title.len() + 1 + passage.text.len());
        terms.extend(passage.title.iter().map(|term| self.vocabulary.add(term)));
        terms.push(SEPARATOR);
        terms.extend(passage.text.iter().map(|term| self.vocabulary.add(term)));
        let mut keywords = Vec::new();
        for keyword in &passage.keywords {
            keywords.extend(keyword.iter().map(|term| self.vocabulary.add(term)));
            keywords.push(SEPARATOR);
        }
        self.postings.resize_with(self.vocabulary.len(), Vec::new);
        self.vectors.extend(self.vocabulary.texts_from(self.vectors.len()).map(|term| new.take(term)));
        let mut weights: HashMap<TermId, u8> = HashMap::new();
        let mut weight = TITLE_WEIGHT;
        for term in &terms {
            match *term {
                SEPARATOR => weight = 1,
                term => {
                    let sum = weights.entry(term).or_default();
                    *sum = sum.saturating_add(weight);
                }
            }
        }
        self.directions[slot as usize] = self.direction(&weights);
        self.keyword_directions[slot as usize] = self.keyword_directions(&keywords);
        let in_keywords: HashSet<TermId> = keywords.iter().copied().filter(|term| *term != SEPARATOR).collect();
        for term in in_keywords {
            let sum = weights.entry(term).or_default();
            *sum = sum.saturating_add(KEYWORD_WEIGHT);
        }
        for (term, weight) in weights {
            self.postings[term as usize].push(Posting::new(slot, weight));
        }
        self.slots[slot as usize] = Some(IndexedPassage {
            of: Arc::clone(of),
            number: passage.number,
            title: passage.chunk.title.into(),
            text: passage.chunk.text.into(),
            terms: terms.into(),
            keywords: keywords.into(),
            keyword_texts: passage.chunk.keywords.into(),
        });
        Some(slot)
    }

    /// Replaces the visible passages of a document by `slots`. Returns those that are invisible now and can be removed.
    pub fn publish(&mut self, id: DocumentId, version: i64, slots: Vec<Slot>) -> Vec<Slot> {
        let old = self.hide(id);
        for slot in &slots {
            if let Some(passage) = &self.slots[*slot as usize] {
                self.lengths[*slot as usize] = passage.length();
                self.length += u64::from(passage.length());
                self.visible += 1;
            }
        }
        self.documents.insert(id, IndexedDocument { version, slots });
        old
    }

    /// Makes a document invisible. Returns its passages, which can be removed.
    pub fn hide(&mut self, id: DocumentId) -> Vec<Slot> {
        let slots = self.documents.remove(&id).map(|document| document.slots).unwrap_or_default();
        for slot in &slots {
            self.length -= u64::from(std::mem::take(&mut self.lengths[*slot as usize]));
            self.visible -= 1;
        }
        slots
    }

    /// Removes invisible passages.
    pub fn remove(&mut self, slots: &[Slot]) {
        let gone: HashSet<Slot> = slots.iter().copied().collect();
        let mut terms = HashSet::new();
        for slot in slots {
            if let Some(passage) = self.slots[*slot as usize].take() {
                let all = passage.terms.iter().chain(&passage.keywords).copied();
                terms.extend(all.filter(|term| *term != SEPARATOR));
                self.directions[*slot as usize] = WordVector::default();
                self.keyword_directions[*slot as usize] = Box::default();
                self.embeddings.remove(*slot);
                self.free.push(*slot);
            }
        }
        for term in terms {
            self.postings[term as usize].retain(|posting| !gone.contains(&posting.slot()));
        }
    }

    fn visible(&self, slot: Slot) -> Option<&IndexedPassage> {
        self.slots[slot as usize].as_ref().filter(|_| self.lengths[slot as usize] > 0)
    }

    pub fn passage(&self, slot: Slot, score: f64) -> Option<Passage> {
        let passage = self.visible(slot)?;
        Some(Passage {
            document_id: passage.of.id,
            source: passage.of.source.clone(),
            title: passage.title.to_string(),
            passage: passage.number,
            text: passage.text.to_string(),
            score,
        })
    }

    /// Returns the titles of up to `limit` passages around the one with the number `number` in a document: nearest first, and
    /// later ones before earlier ones.
    pub fn titles_around(&self, id: DocumentId, number: u32, limit: usize) -> Vec<String> {
        let slots = self.documents.get(&id).map_or(&[][..], |document| &document.slots);
        // In the order of their numbers, which begin with 1.
        let Some(at) = (number as usize).checked_sub(1) else { return Vec::new() };
        let around = (1..slots.len()).flat_map(|distance| [at.checked_add(distance), at.checked_sub(distance)]);
        let passages = around.flatten().filter_map(|at| self.visible(*slots.get(at)?));
        passages.map(|passage| passage.title.to_string()).take(limit).collect()
    }

    /// Returns the collection of a passage's document; empty for none.
    pub fn collection(&self, slot: Slot) -> Option<&str> {
        Some(&self.visible(slot)?.of.collection)
    }

    /// Returns the visible passages that contain a term, with its weight in each.
    fn matches(&self, term: TermId) -> impl Iterator<Item = (Slot, f32)> + '_ {
        let postings = self.postings.get(term as usize).map_or(&[][..], Vec::as_slice);
        let matches = postings.iter().map(|posting| (posting.slot(), posting.weight()));
        matches.filter(|(slot, _)| self.lengths[*slot as usize] > 0)
    }
}

impl IndexedPassage {
    /// Number of terms of title and text, and one for the separator, hence never 0. Keywords make a passage no longer.
    fn length(&self) -> u32 {
        u32::try_from(self.terms.len()).unwrap_or(u32::MAX)
    }

    /// Whether it contains `phrase` in this order.
    fn contains(&self, phrase: &[TermId]) -> bool {
        [&self.terms, &self.keywords].iter().any(|terms| terms.windows(phrase.len()).any(|window| window == phrase))
    }

    fn title_and_text(&self) -> (&[TermId], &[TermId]) {
        let end = self.terms.iter().position(|term| *term == SEPARATOR).unwrap_or(self.terms.len());
        (&self.terms[..end], &self.terms[end..])
    }

    /// Returns the number of terms of the longest keyword that has only terms of `terms`; 0 if there is none.
    fn longest_keyword(&self, terms: &HashSet<TermId>) -> usize {
        let keywords = self.keywords.split(|term| *term == SEPARATOR);
        let whole = keywords.filter(|keyword| keyword.iter().all(|term| terms.contains(term)));
        whole.map(<[TermId]>::len).max().unwrap_or(0)
    }

    fn has(&self, term: TermId) -> bool {
        self.terms.contains(&term) || self.keywords.contains(&term)
    }
}

impl NewTerms {
    /// Finds the vectors of terms. Takes microseconds for each, so no lock should be held.
    pub fn find(terms: HashSet<String>) -> Self {
        let vector = |term: String| {
            let vector = TermVector::of(&term);
            (term, vector)
        };
        Self(terms.into_iter().map(vector).collect())
    }

    fn take(&mut self, term: &str) -> TermVector {
        self.0.remove(term).unwrap_or_else(|| TermVector::of(term))
    }
}

#[cfg(test)]
mod tests;
