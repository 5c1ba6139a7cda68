//! Ends of turns that the store could not take yet. `T` is the caller's handle of a turn.

use crate::{limits::MAX_UNSTORED_BYTES, store::EndedTurn};
use std::collections::VecDeque;

/// A bounded queue of ends, oldest first.
pub(super) struct Unstored<T> {
    ends: VecDeque<(EndedTurn, T)>,
    bytes: usize,
}

impl<T> Default for Unstored<T> {
    fn default() -> Self {
        Self { ends: VecDeque::new(), bytes: 0 }
    }
}

impl<T: Clone> Unstored<T> {
    /// Adds an end; returns `false` if that would exceed [`MAX_UNSTORED_BYTES`].
    pub fn push(&mut self, end: EndedTurn, turn: &T) -> bool {
        let bytes = size_of_end(&end);
        let fits = self.bytes + bytes <= MAX_UNSTORED_BYTES;
        if fits {
            self.bytes += bytes;
            self.ends.push_back((end, turn.clone()));
        }
        fits
    }

    pub fn first(&self) -> Option<(EndedTurn, T)> {
        self.ends.front().cloned()
    }

    pub fn pop_first(&mut self) {
        if let Some((end, _)) = self.ends.pop_front() {
            self.bytes -= size_of_end(&end);
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

/// The approximate size of an end in memory, in bytes.
fn size_of_end(end: &EndedTurn) -> usize {
    let items = end.answer.items.as_ref().map_or(0, String::len);
    let reasoning = end.answer.reasoning.as_ref().map_or(0, String::len);
    end.answer.text.len() + 4 * end.answer.token_ends.len() + items + reasoning + 1_024
}
