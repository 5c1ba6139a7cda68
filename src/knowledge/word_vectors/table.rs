//! Format of the table: all integers are little-endian.
//!
//! | bytes | content |
//! | --- | --- |
//! | 4 | `SWV1` |
//! | 4 | number of words *n* |
//! | 4 | dimensions *d*, equal to [`DIMENSIONS`] |
//! | 4 | length of the words in total |
//! | 4 × *n* | end of each word in the following text |
//! | … | words in byte order: folded English stems |
//! | *n* | rarity of each word: -10 × ln p |
//! | *n* × *d* / 2 | vectors: two components of -7 to 7 per byte, plus 8, the lower half first |
//!
//! It is used in place: nothing is decoded or copied at start.

use super::vector::{DIMENSIONS, WordVector};

const MAGIC: &[u8] = b"SWV1";
const HEADER_BYTES: usize = 16;
const VECTOR_BYTES: usize = DIMENSIONS / 2;

/// Table of words, their rarity and their vectors.
#[derive(Clone, Copy, Default)]
pub(super) struct Table<'a> {
    ends: &'a [[u8; 4]],
    words: &'a [u8],
    rarity: &'a [u8],
    vectors: &'a [[u8; VECTOR_BYTES]],
}

/// Position of a word in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(usize);

impl<'a> Table<'a> {
    /// Returns `None` if the bytes are no table of this version.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let field = |at: usize| header[at..at + 4].try_into().ok().map(|field| u32::from_le_bytes(field) as usize);
        if !header.starts_with(MAGIC) || field(8)? != DIMENSIONS {
            return None;
        }
        let count = field(4)?;
        let (ends, rest) = rest.split_at_checked(count.checked_mul(4)?)?;
        let (words, rest) = rest.split_at_checked(field(12)?)?;
        let (rarity, vectors) = rest.split_at_checked(count)?;
        let (ends, _) = ends.as_chunks();
        let (vectors, excess) = vectors.as_chunks();
        (vectors.len() == count && excess.is_empty()).then_some(Self { ends, words, rarity, vectors })
    }

    fn end(&self, entry: usize) -> usize {
        u32::from_le_bytes(self.ends[entry]) as usize
    }

    fn text(&self, entry: usize) -> &'a [u8] {
        let start = entry.checked_sub(1).map_or(0, |before| self.end(before));
        self.words.get(start..self.end(entry)).unwrap_or_default()
    }

    /// Finds a word by binary search.
    pub(super) fn find(&self, word: &str) -> Option<Entry> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.text(middle).cmp(word.as_bytes()) {
                std::cmp::Ordering::Equal => return Some(Entry(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Negative natural logarithm of the word's probability.
    pub(super) fn rarity(&self, entry: Entry) -> f32 {
        f32::from(self.rarity[entry.0]) / 10.0
    }

    pub(super) fn vector(&self, entry: Entry) -> WordVector {
        WordVector::from_nibbles(&self.vectors[entry.0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(words: &[&str]) -> Vec<u8> {
        let text = words.concat();
        let fields = [words.len(), DIMENSIONS, text.len()].map(|field| u32::try_from(field).unwrap().to_le_bytes());
        let ends = words.iter().scan(0, |end, word| {
            *end += u32::try_from(word.len()).unwrap();
            Some(end.to_le_bytes())
        });
        let vectors = (0..words.len()).flat_map(|word| {
            let mut vector = [0x88; VECTOR_BYTES];
            vector[word] = 0x8f;
            vector
        });
        let rarity = (0..words.len()).map(|word| 40 + 10 * u8::try_from(word).unwrap());
        [
            MAGIC.to_vec(),
            fields.concat(),
            ends.flatten().collect(),
            text.into_bytes(),
            rarity.collect(),
            vectors.collect(),
        ]
        .concat()
    }

    #[test]
    fn each_word_is_found_with_its_rarity_and_vector() {
        let bytes = table(&["garden", "gardens", "kitchen", "sea"]);
        let table = Table::parse(&bytes).unwrap();
        for (at, word) in ["garden", "gardens", "kitchen", "sea"].into_iter().enumerate() {
            let entry = table.find(word).unwrap();
            assert_eq!(entry, Entry(at));
            assert!((table.rarity(entry) - 4.0 - at as f32).abs() < 1e-6);
            for other in 0..4 {
                let cosine = table.vector(entry).cosine(&table.vector(Entry(other)));
                assert!((cosine - f32::from(u8::from(other == at))).abs() < 1e-6, "{word} {other} {cosine}");
            }
        }
        for absent in ["", "garde", "gardf", "a", "zebra"] {
            assert_eq!(table.find(absent), None, "{absent}");
        }
    }

    #[test]
    fn tables_of_another_version_or_length_are_refused() {
        let bytes = table(&["kitchen", "sea"]);
        assert!(Table::parse(&bytes).is_some());
        assert!(Table::parse(&bytes[..bytes.len() - 1]).is_none());
        assert!(Table::parse(&[&bytes[..], &[0]].concat()).is_none());
        assert!(Table::parse(&[b"SWV2", &bytes[4..]].concat()).is_none());
        assert!(Table::parse(&[&bytes[..8], &64_u32.to_le_bytes(), &bytes[12..]].concat()).is_none());
        assert!(Table::parse(b"").is_none());
    }
}
