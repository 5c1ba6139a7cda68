//! The position of a subscriber in a turn's log.

/// A position in a log: everything before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The number of progress entries read.
    pub progress: usize,
    /// The seq of the next token.
    pub next_seq: u32,
    /// Whether the end was read.
    pub ended: bool,
}
