//! The position of a subscriber in a turn's log.

/// A position in a log: everything before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The seq of the next token.
    pub next_seq: u32,
    /// The number of entries read that are neither tokens nor the end.
    pub items: u32,
    /// Whether the end was read.
    pub ended: bool,
}

impl Cursor {
    /// Returns the index of the next entry, which is the number of entries read.
    pub const fn index(self) -> u32 {
        self.next_seq + self.items + self.ended as u32
    }
}
