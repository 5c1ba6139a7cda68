//! A position in a turn's log.

/// The position of a subscriber in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Number of progress entries that it has seen.
    pub progress: usize,
    /// `seq` of the next token.
    pub next_seq: u32,
    /// Whether it has seen the end of the turn.
    pub ended: bool,
}
