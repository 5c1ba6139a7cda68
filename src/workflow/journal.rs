//! Bookkeeping of checkpoints: which rows in the store running turns still need. Pure: rows are numbers, and `T` is the
//! caller's handle of a turn.
//!
//! A row holds new text of many turns. It is obsolete once each of them has ended or was written again, whole, to a later
//! row. A long turn would retain every row since its first one: when the rows are much larger than the text still needed,
//! the turns of the oldest row are rewritten so that it can be deleted.

use crate::domain::TurnId;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// The total size of rows below which no turn is rewritten, in bytes.
const MIN_BYTES: u64 = 64 * 1024 * 1024;
/// The ratio of all rows to the needed text at which turns are rewritten. It bounds how often each byte is written,
/// however long turns are.
const MAX_WASTE: u64 = 3;

pub struct Journal<T> {
    /// The rows in the store, oldest first, with their sizes in bytes.
    rows: VecDeque<(i64, u64)>,
    bytes: u64,
    turns: HashMap<TurnId, Needed<T>>,
    /// Turns by the oldest row that they need.
    first_rows: BTreeMap<i64, HashSet<TurnId>>,
    needed_bytes: u64,
    min_bytes: u64,
}

/// The share of one turn in a row.
pub struct Part<T> {
    pub id: TurnId,
    pub turn: T,
    /// Whether the part holds the turn from its start, so that older rows are not needed.
    pub is_whole: bool,
    pub bytes: u64,
}

struct Needed<T> {
    turn: T,
    first_row: i64,
    bytes: u64,
}

impl<T: Clone> Default for Journal<T> {
    fn default() -> Self {
        Self::with_min_bytes(MIN_BYTES)
    }
}

impl<T: Clone> Journal<T> {
    fn with_min_bytes(min_bytes: u64) -> Self {
        Self {
            rows: VecDeque::new(),
            bytes: 0,
            turns: HashMap::new(),
            first_rows: BTreeMap::new(),
            needed_bytes: 0,
            min_bytes,
        }
    }

    /// Records that a row with these parts was written.
    pub fn on_written(&mut self, row: i64, parts: impl IntoIterator<Item = Part<T>>, row_bytes: u64) {
        self.rows.push_back((row, row_bytes));
        self.bytes += row_bytes;
        for Part { id, turn, is_whole, bytes } in parts {
            if is_whole {
                self.forget(id);
            }
            self.needed_bytes += bytes;
            let needed = self.turns.entry(id).or_insert_with(|| {
                self.first_rows.entry(row).or_default().insert(id);
                Needed { turn, first_row: row, bytes: 0 }
            });
            needed.bytes += bytes;
        }
    }

    /// Records that a turn no longer needs its checkpoints.
    pub fn forget(&mut self, id: TurnId) {
        let Some(Needed { first_row, bytes, .. }) = self.turns.remove(&id) else { return };
        self.needed_bytes -= bytes;
        if let Some(turns) = self.first_rows.get_mut(&first_row) {
            turns.remove(&id);
            if turns.is_empty() {
                self.first_rows.remove(&first_row);
            }
        }
    }

    /// Returns turns to write again, whole. They need their old rows until that is done.
    pub fn turns_to_rewrite(&self) -> Vec<T> {
        if self.bytes < self.min_bytes + MAX_WASTE * self.needed_bytes {
            return Vec::new();
        }
        let oldest = self.first_rows.first_key_value().into_iter().flat_map(|(_, turns)| turns);
        oldest.filter_map(|id| self.turns.get(id)).map(|needed| needed.turn.clone()).collect()
    }

    /// Returns the oldest row that is needed, if there are rows before it.
    pub fn obsolete_before(&self) -> Option<i64> {
        let first = self.first_rows.first_key_value().map(|(row, _)| *row);
        let needed = first.or_else(|| self.rows.back().map(|(row, _)| row + 1))?;
        self.rows.front().is_some_and(|(row, _)| *row < needed).then_some(needed)
    }

    /// Records that the rows before this one were deleted.
    pub fn on_removed_before(&mut self, needed: i64) {
        while let Some((row, bytes)) = self.rows.front()
            && *row < needed
        {
            self.bytes -= bytes;
            self.rows.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<const N: usize>() -> [TurnId; N] {
        std::array::from_fn(|_| TurnId::new())
    }

    fn journal() -> Journal<TurnId> {
        Journal::with_min_bytes(1_000)
    }

    fn write(journal: &mut Journal<TurnId>, row: i64, turns: &[TurnId], is_whole: bool, bytes: u64) {
        let parts = turns.iter().map(|id| Part { id: *id, turn: *id, is_whole, bytes });
        journal.on_written(row, parts, bytes * turns.len() as u64);
    }

    #[test]
    fn row_is_obsolete_once_its_turns_have_ended() {
        let mut journal = journal();
        let [first, second] = ids();
        write(&mut journal, 1, &[first], true, 10);
        write(&mut journal, 2, &[first, second], false, 10);
        assert_eq!(journal.obsolete_before(), None);
        journal.forget(first);
        assert_eq!(journal.obsolete_before(), Some(2));
        journal.on_removed_before(2);
        assert_eq!(journal.obsolete_before(), None);
        journal.forget(second);
        assert_eq!(journal.obsolete_before(), Some(3));
        journal.on_removed_before(3);
        assert_eq!((journal.obsolete_before(), journal.bytes, journal.needed_bytes), (None, 0, 0));
    }

    #[test]
    fn long_turn_does_not_retain_rows_of_others() {
        let mut journal = journal();
        let [long] = ids();
        write(&mut journal, 1, &[long], true, 10);
        let mut row = 1;
        let again = loop {
            row += 1;
            let [short] = ids();
            write(&mut journal, row, &[short], true, 100);
            journal.forget(short);
            let again = journal.turns_to_rewrite();
            if !again.is_empty() {
                break again;
            }
            assert!(row < 100, "never rewritten");
        };
        assert_eq!(again, [long]);
        assert_eq!(journal.obsolete_before(), None, "it is not written yet");
        write(&mut journal, row + 1, &[long], true, 10);
        assert_eq!(journal.obsolete_before(), Some(row + 1));
        journal.on_removed_before(row + 1);
        assert_eq!((journal.bytes, journal.obsolete_before()), (10, None));
        assert!(journal.turns_to_rewrite().is_empty());
    }

    #[test]
    fn needed_text_is_not_rewritten_repeatedly() {
        let mut journal = journal();
        let turns: [TurnId; 50] = ids();
        for row in 1..200 {
            write(&mut journal, row, &turns, row == 1, 100);
            assert!(journal.turns_to_rewrite().is_empty());
        }
    }
}
