//! The recorder as one turn uses it.

use super::{
    budgets::{self, Spending},
    recorded_turn::RecordedTurn,
    recorder::Recorder,
};
use crate::{
    domain::{AnswerMetadata, Part, UnixMillis},
    limits::CHECKPOINT_TOKENS,
    store::{Charge, EndedTurn, StoreError},
    turn::{TurnFailure, TurnLog},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Records one turn. If dropped before [`Recording::end`], it stores the turn as interrupted.
pub struct Recording {
    recorder: Arc<Recorder>,
    turn: Arc<RecordedTurn>,
    has_ended: AtomicBool,
}

impl Recording {
    /// Starts recording a turn whose question is stored.
    pub fn begin(recorder: &Arc<Recorder>, log: &Arc<TurnLog>, epoch: i64, spending: Spending) -> Self {
        let turn = Arc::new(RecordedTurn::new(Arc::clone(log), epoch, spending));
        Self { recorder: Arc::clone(recorder), turn, has_ended: AtomicBool::new(false) }
    }

    /// Appends a token to the log and schedules its checkpoint. Returns its seq.
    pub fn append(&self, token: &str) -> u32 {
        let seq = self.turn.log.append(token);
        self.recorder.mark_changed(&self.turn);
        let unsaved = self.turn.unsaved_tokens(seq + 1);
        if unsaved > 0 && unsaved.is_multiple_of(CHECKPOINT_TOKENS) {
            self.recorder.write_soon(&self.turn);
        }
        seq
    }

    /// Epoch under which the turn writes.
    pub fn epoch(&self) -> i64 {
        self.turn.epoch
    }

    /// Appends a part to the log and schedules its checkpoint.
    pub fn append_part(&self, part: Part) {
        self.turn.log.append_part(part);
        self.recorder.mark_changed(&self.turn);
    }

    /// Saves the metadata known so far, in case the turn never ends.
    pub fn describe(&self, metadata: AnswerMetadata) {
        self.turn.describe(metadata);
        self.recorder.mark_changed(&self.turn);
    }

    /// Returns the charge of a turn that ends at `at`.
    pub fn charge(&self, at: UnixMillis) -> Option<Charge> {
        self.turn.spending.charge(at)
    }

    /// Stores the end of the turn; returns `false` if the store could not take it now.
    pub async fn end(&self, end: EndedTurn) -> bool {
        // While others wait for a retry, an attempt would fail as well and only delay the client.
        if self.recorder.unstored() > 0 {
            self.has_ended.store(true, Ordering::SeqCst);
            self.recorder.keep_unstored(end, &self.turn);
            return false;
        }
        let charge = end.charge;
        let stored = self.recorder.store.end_turn(end.clone()).await;
        self.has_ended.store(true, Ordering::SeqCst);
        match stored {
            Ok(events) => {
                self.recorder.bus.publish(events);
                self.recorder.release_checkpoints(&self.turn);
                true
            }
            Err(error) => {
                log::error!("answer could not be stored: {error}");
                if matches!(error, StoreError::Unavailable(_)) {
                    self.recorder.keep_unstored(end, &self.turn);
                } else {
                    self.recorder.release_checkpoints(&self.turn);
                    budgets::charge_apart(self.recorder.store.as_ref(), charge).await;
                }
                false
            }
        }
    }
}

/// Stores the turn as interrupted if its task was dropped, by a panic or with its thread. The turn's `Acceptance` ends the log.
impl Drop for Recording {
    fn drop(&mut self) {
        if !self.has_ended.load(Ordering::SeqCst) {
            let error = self.recorder.stored_error(&TurnFailure::TaskLost);
            self.recorder.keep_unstored(self.turn.interrupted(error), &self.turn);
        }
    }
}
