//! Vectors of passages by an embedding model, and the search for the nearest.

use super::{Index, Slot};
use crate::domain::{Chunk, DocumentId};

/// Passages whose vectors are allocated at once. One array for all would have to be copied when it grows.
const BLOCK_PASSAGES: usize = 1_024;
/// Sums that a dot product keeps apart, so that its additions do not wait for each other.
const LANES: usize = 16;

/// Vectors by the slot of their passage, all of the same length.
#[derive(Default)]
pub struct PassageVectors {
    length: usize,
    blocks: Vec<Box<[f32]>>,
    is_set: Vec<bool>,
    count: usize,
}

/// Passage without a vector.
pub struct Unembedded {
    slot: Slot,
    /// Document, its version, and the number of the passage in it.
    pub key: (DocumentId, i64, u32),
    pub chunk: Chunk,
}

impl Unembedded {
    /// Returns the text to embed. The keywords precede the text, since models cut off the end of a long input.
    pub fn text(&self) -> String {
        let Chunk { title, text, keywords } = &self.chunk;
        let keywords = if keywords.is_empty() { String::new() } else { format!("{}\n", keywords.join(", ")) };
        format!("{title}\n{keywords}{text}")
    }
}

/// Passages that are nearest to a question, best first.
#[derive(Default)]
pub struct Nearest {
    pub slots: Vec<Slot>,
    /// Cosine of the angle to the nearest; 0 if there is none.
    pub cosine: f32,
}

impl PassageVectors {
    /// Sets the vector of a passage. One of another length is not comparable with the others and is dropped, unless it is the first.
    fn set(&mut self, slot: Slot, vector: &[f32]) {
        if self.count == 0 && self.length != vector.len() {
            *self = Self { length: vector.len(), ..Self::default() };
        }
        if vector.len() != self.length || vector.is_empty() {
            return;
        }
        let slot = slot as usize;
        while self.blocks.len() * BLOCK_PASSAGES <= slot {
            self.blocks.push(vec![0.0; BLOCK_PASSAGES * self.length].into());
        }
        if self.is_set.len() <= slot {
            self.is_set.resize(slot + 1, false);
        }
        let start = slot % BLOCK_PASSAGES * self.length;
        self.blocks[slot / BLOCK_PASSAGES][start..start + self.length].copy_from_slice(vector);
        self.count += usize::from(!std::mem::replace(&mut self.is_set[slot], true));
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(is_set) = self.is_set.get_mut(slot as usize) {
            self.count -= usize::from(std::mem::take(is_set));
        }
    }

    fn get(&self, slot: Slot) -> Option<&[f32]> {
        let slot = slot as usize;
        let start = slot % BLOCK_PASSAGES * self.length;
        self.is_set.get(slot)?.then(|| &self.blocks[slot / BLOCK_PASSAGES][start..start + self.length])
    }
}

impl Index {
    /// Returns up to `limit` visible passages without a vector for which `is_skipped` is false.
    pub fn unembedded(&self, limit: usize, is_skipped: impl Fn((DocumentId, i64, u32)) -> bool) -> Vec<Unembedded> {
        let passages = self.slots.iter().zip(0..).filter_map(|(_, slot)| {
            let passage = self.visible(slot).filter(|_| self.embeddings.get(slot).is_none())?;
            let key = (passage.of.id, self.documents.get(&passage.of.id)?.version, passage.number);
            let chunk = || Chunk {
                title: passage.title.to_string(),
                text: passage.text.to_string(),
                keywords: passage.keyword_texts.to_vec(),
            };
            (!is_skipped(key)).then(|| Unembedded { slot, key, chunk: chunk() })
        });
        passages.take(limit).collect()
    }

    /// Sets the vector of a passage, if it has not changed since it was [`Self::unembedded`].
    pub fn set_vector(&mut self, of: &Unembedded, vector: &[f32]) {
        let is_same = self.visible(of.slot).is_some_and(|passage| {
            let is_same_text = *passage.title == *of.chunk.title && *passage.text == *of.chunk.text;
            let is_same_text = is_same_text && *passage.keyword_texts == *of.chunk.keywords;
            is_same_text && (passage.of.id, passage.number) == (of.key.0, of.key.2)
        });
        if is_same {
            self.embeddings.set(of.slot, vector);
        }
    }

    /// Sets stored vectors of a document by the numbers of its passages, if it is of this version.
    pub fn set_stored_vectors(&mut self, id: DocumentId, version: i64, vectors: &[(u32, Vec<f32>)]) {
        let Some(document) = self.documents.get(&id).filter(|document| document.version == version) else { return };
        for (number, vector) in vectors {
            let slot = (*number as usize).checked_sub(1).and_then(|at| document.slots.get(at));
            slot.into_iter().for_each(|slot| self.embeddings.set(*slot, vector));
        }
    }

    /// Whether all vectors have this length.
    pub fn has_vectors_of_length(&self, length: usize) -> bool {
        self.embeddings.count == 0 || self.embeddings.length == length
    }

    pub fn drop_vectors(&mut self) {
        self.embeddings = PassageVectors::default();
    }

    /// Returns the number of visible passages with a vector.
    pub fn embedded(&self) -> usize {
        (0..).zip(&self.lengths).filter(|(slot, length)| **length > 0 && self.embeddings.get(*slot).is_some()).count()
    }

    /// Returns the passages in the collections of `scope` (empty: all) and in documents without a collection whose vectors have the
    /// greatest cosine with that of the question; at most `limit`. All vectors have length 1.
    pub fn nearest(&self, question: &[f32], scope: &[String], limit: usize) -> Nearest {
        if question.len() != self.embeddings.length {
            return Nearest::default();
        }
        let is_wanted = |collection: &String| scope.is_empty() || collection.is_empty() || scope.contains(collection);
        let cosines = (0..self.slots.len() as Slot).filter_map(|slot| {
            let vector = self.embeddings.get(slot)?;
            let passage = self.visible(slot).filter(|passage| is_wanted(&passage.of.collection));
            passage.map(|_| (slot, dot(question, vector)))
        });
        let mut ranked: Vec<(Slot, f32)> = cosines.collect();
        let order = |(a_slot, a): &(Slot, f32), (b_slot, b): &(Slot, f32)| b.total_cmp(a).then(a_slot.cmp(b_slot));
        if ranked.len() > limit && limit > 0 {
            ranked.select_nth_unstable_by(limit - 1, order);
        }
        ranked.truncate(limit);
        ranked.sort_by(order);
        let cosine = ranked.first().map_or(0.0, |(_, cosine)| *cosine);
        Nearest { slots: ranked.into_iter().map(|(slot, _)| slot).collect(), cosine }
    }
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    let ((one, one_rest), (other, other_rest)) = (one.as_chunks::<LANES>(), other.as_chunks::<LANES>());
    let mut sums = [0.0_f32; LANES];
    for (one, other) in one.iter().zip(other) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_vector_leaves_its_slot_to_another_passage() {
        let mut vectors = PassageVectors::default();
        vectors.set(2, &[1.0, 0.0]);
        vectors.set(BLOCK_PASSAGES as Slot, &[0.0, 1.0]);
        assert_eq!((vectors.get(0), vectors.get(2), vectors.count), (None, Some(&[1.0, 0.0][..]), 2));
        vectors.remove(2);
        vectors.remove(2);
        assert_eq!(
            (vectors.get(2), vectors.get(BLOCK_PASSAGES as Slot), vectors.count),
            (None, Some(&[0.0, 1.0][..]), 1)
        );
    }

    #[test]
    fn vectors_of_two_lengths_never_mix() {
        let mut vectors = PassageVectors::default();
        vectors.set(0, &[1.0, 0.0]);
        vectors.set(1, &[1.0, 0.0, 0.0]);
        assert_eq!((vectors.get(1), vectors.count), (None, 1));
        vectors.remove(0);
        vectors.set(1, &[1.0, 0.0, 0.0]);
        assert_eq!(vectors.get(1), Some(&[1.0, 0.0, 0.0][..]));
    }

    #[test]
    fn the_dot_product_takes_all_numbers() {
        let ones = [1.0; 2 * LANES + 3];
        assert!((dot(&ones, &ones) - 35.0).abs() < f32::EPSILON);
    }
}
