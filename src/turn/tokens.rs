//! The text of an answer, and where its tokens end.

use sha2::{Digest, Sha256};
use std::ops::Range;

/// The smallest growth of a text's capacity, in bytes.
const MIN_GROWTH: usize = 256;

/// The text of an answer and its token boundaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    text: String,
    /// The byte offset at which each token ends.
    ends: Vec<u32>,
}

impl Tokens {
    /// Rebuilds tokens from the store; `None` if the ends do not fit the text.
    pub fn restore(text: String, ends: Vec<u32>) -> Option<Self> {
        let in_order = ends.is_sorted() && ends.last().map_or(text.is_empty(), |end| *end as usize == text.len());
        let on_characters = ends.iter().all(|end| text.is_char_boundary(*end as usize));
        (in_order && on_characters).then_some(Self { text, ends })
    }

    pub(super) fn push(&mut self, token: &str) -> u32 {
        // Grows by a quarter instead of doubling: thousands of answers are in memory at once.
        if self.text.capacity() - self.text.len() < token.len() {
            self.text.reserve_exact((self.text.len() / 4).max(token.len()).max(MIN_GROWTH));
        }
        if self.ends.capacity() == self.ends.len() {
            self.ends.reserve_exact((self.ends.len() / 4).max(MIN_GROWTH / 8));
        }
        self.text.push_str(token);
        self.ends.push(u32::try_from(self.text.len()).expect("an answer is far below 4 GiB"));
        self.count() - 1
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The number of tokens, which is the seq of the next one.
    pub fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("there are no more tokens than bytes")
    }

    /// Returns the text before token `seq`, which may be one past the last.
    pub fn text_before(&self, seq: u32) -> &str {
        match seq {
            0 => "",
            _ => &self.text[..self.ends[seq as usize - 1] as usize],
        }
    }

    /// Returns the text of a range of tokens, joined.
    pub fn joined(&self, seqs: Range<u32>) -> &str {
        &self.text_before(seqs.end)[self.text_before(seqs.start).len()..]
    }

    /// Returns the end of an entry that joins the first of `seqs`: at least one token, then as many as `max_bytes` allows.
    pub(super) fn end_of_joined(&self, seqs: Range<u32>, max_bytes: usize) -> u32 {
        let ends = &self.ends[seqs.start as usize..seqs.end as usize];
        let limit = self.text_before(seqs.start).len() + max_bytes;
        let fitting = ends.partition_point(|end| *end as usize <= limit).max(1);
        seqs.start + u32::try_from(fitting).expect("bounded by the number of tokens")
    }

    /// Returns the SHA-256 of the text in hex, by which clients verify their transcript.
    pub fn sha256(&self) -> String {
        use std::fmt::Write;
        Sha256::digest(self.text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string does not fail");
            hex
        })
    }
}
