//! The joined tokens of one turn, and their verification against the `complete` frame. Pure.

use super::Frame;
use sha2::{Digest, Sha256};
use std::{fmt::Write, ops::Range};

/// A mismatch between the received tokens and the server's answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("expected token {expected}, received {got}")]
    Gap { expected: u32, got: u32 },
    #[error("received {received} of {expected} tokens")]
    Count { expected: i64, received: u32 },
    #[error("the joined tokens differ from the response")]
    Text,
    #[error("the SHA-256 does not match")]
    Hash,
}

/// The tokens of a turn received so far.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    text: String,
    next_seq: u32,
    pieces: Vec<Piece>,
}

/// Start of one frame's text.
#[derive(Clone, Copy, Debug)]
struct Piece {
    first_seq: u32,
    at: usize,
}

/// Tokens and text that a frame added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub seqs: Range<u32>,
    /// Byte offset of the new text.
    pub from: usize,
}

impl Transcript {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the sequence number of the next token, which is also the number of tokens received.
    pub fn next_seq(&self) -> u32 {
        self.next_seq
    }

    /// Appends a `token` frame. Returns `None` for a repetition.
    ///
    /// # Errors
    /// When tokens are missing before it; a `resume` from [`Self::next_seq`] repairs that.
    pub(super) fn push(&mut self, frame: &Frame<'_>) -> Result<Option<Added>, Violation> {
        let seq = |seq: Option<i64>| seq.and_then(|seq| u32::try_from(seq).ok()).unwrap_or(u32::MAX - 1);
        let last = seq(frame.seq);
        let first = frame.first_seq.map_or(last, |first| seq(Some(first)));
        if last < self.next_seq {
            return Ok(None);
        }
        if first != self.next_seq {
            return Err(Violation::Gap { expected: self.next_seq, got: first });
        }
        let from = self.text.len();
        self.pieces.push(Piece { first_seq: first, at: from });
        self.text.push_str(frame.token.as_deref().unwrap_or_default());
        self.next_seq = last + 1;
        Ok(Some(Added { seqs: first..self.next_seq, from }))
    }

    /// Removes the tokens from `seq` on, which the server has lost. Frames are removed whole, because the tokens of one frame
    /// cannot be separated. Returns whether tokens before `seq` are missing now; a `resume` restores them.
    pub(super) fn drop_from(&mut self, seq: u32) -> bool {
        while let Some(piece) = self.pieces.pop_if(|_| self.next_seq > seq) {
            self.text.truncate(piece.at);
            self.next_seq = piece.first_seq;
        }
        self.next_seq < seq
    }

    /// Compares with a `complete` frame: the number of tokens, the text byte for byte, and its SHA-256.
    ///
    /// # Errors
    /// The first mismatch.
    pub fn verify(&self, complete: &Frame<'_>) -> Result<(), Violation> {
        let expected = complete.seq.map_or(-1, |seq| seq + 1);
        if expected != i64::from(self.next_seq) {
            return Err(Violation::Count { expected, received: self.next_seq });
        }
        if complete.response.as_deref() != Some(self.text.as_str()) {
            return Err(Violation::Text);
        }
        let mut hash = String::with_capacity(64);
        for byte in Sha256::digest(self.text.as_bytes()) {
            write!(hash, "{byte:02x}").expect("writing to a string does not fail");
        }
        if complete.sha256.as_deref() != Some(hash.as_str()) {
            return Err(Violation::Hash);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn push(
        transcript: &mut Transcript,
        token: &str,
        first: Option<u32>,
        last: u32,
    ) -> Result<Option<Added>, Violation> {
        let first = first.map(|first| format!(r#","first_seq":{first}"#)).unwrap_or_default();
        let text = format!(r#"{{"type":"token","token":"{token}","seq":{last}{first}}}"#);
        transcript.push(&Frame::parse(&text).unwrap())
    }

    fn verify(transcript: &Transcript, response: &str, seq: i64, sha256: &str) -> Result<(), Violation> {
        let text = format!(r#"{{"type":"complete","response":"{response}","seq":{seq},"sha256":"{sha256}"}}"#);
        transcript.verify(&Frame::parse(&text).unwrap())
    }

    #[test]
    fn tokens_join_and_verify() {
        let mut transcript = Transcript::default();
        assert_eq!(push(&mut transcript, "a", None, 0), Ok(Some(Added { seqs: 0..1, from: 0 })));
        assert_eq!(push(&mut transcript, "bc", Some(1), 2), Ok(Some(Added { seqs: 1..3, from: 1 })));
        assert_eq!(push(&mut transcript, "bc", Some(1), 2), Ok(None), "a repetition adds nothing");
        assert_eq!(transcript.text(), "abc");
        assert_eq!(verify(&transcript, "abc", 2, HASH_OF_ABC), Ok(()));
    }

    #[test]
    fn lost_tokens_are_removed_by_whole_frames() {
        let mut transcript = Transcript::default();
        push(&mut transcript, "a", None, 0).unwrap();
        push(&mut transcript, "bcd", Some(1), 3).unwrap();
        push(&mut transcript, "e", None, 4).unwrap();
        assert!(!transcript.drop_from(5), "nothing was lost");
        assert_eq!((transcript.text(), transcript.next_seq()), ("abcde", 5));
        assert!(!transcript.drop_from(4));
        assert_eq!((transcript.text(), transcript.next_seq()), ("abcd", 4));
        assert!(transcript.drop_from(2), "`b` was in one frame with `cd`, and is missing now");
        assert_eq!((transcript.text(), transcript.next_seq()), ("a", 1));
        assert!(!transcript.drop_from(0));
        assert_eq!((transcript.text(), transcript.next_seq()), ("", 0));
    }

    #[test]
    fn every_mismatch_is_reported() {
        let mut transcript = Transcript::default();
        push(&mut transcript, "abc", None, 0).unwrap();
        assert_eq!(push(&mut transcript, "e", None, 2), Err(Violation::Gap { expected: 1, got: 2 }));
        assert_eq!(verify(&transcript, "abc", 1, HASH_OF_ABC), Err(Violation::Count { expected: 2, received: 1 }));
        assert_eq!(verify(&transcript, "abd", 0, HASH_OF_ABC), Err(Violation::Text));
        assert_eq!(verify(&transcript, "abc", 0, "00"), Err(Violation::Hash));
    }
}
