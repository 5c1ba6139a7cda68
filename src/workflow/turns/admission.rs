//! Guards of a turn's lifetime: its reservation, its wait for a permit, its admission, and its acceptance.

use super::Turns;
use crate::{
    limiter::Limit,
    turn::{TurnEnd, TurnFailure, TurnLog},
    workflow::{error::TurnError, watchdog::StopSignal},
};
use std::sync::Arc;
use tokio_util::sync::DropGuard;

/// A turn that waits for a permit. Dropping it leaves the queue.
pub(super) struct Waiting<'a>(&'a Turns);

impl<'a> Waiting<'a> {
    pub(super) fn begin(turns: &'a Turns) -> Result<Self, TurnError> {
        let mut table = turns.lock();
        if table.waiting >= turns.max_waiting {
            drop(table);
            return Err(turns.busy(Limit::WaitingTurns));
        }
        table.waiting += 1;
        Ok(Self(turns))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// A conversation reserved for a turn that has yet to be admitted. Dropping it releases the conversation.
pub struct Reservation(pub(super) Admission);

impl Reservation {
    /// Acquires a permit, waiting up to `workflow.admission_wait_ms`.
    ///
    /// # Errors
    /// `Busy` if no permit became free in time.
    pub async fn admit(self) -> Result<Admission, TurnError> {
        let Self(admission) = self;
        let permit = admission.turns.acquire_permit().await?;
        let mut table = admission.turns.lock();
        table.started += 1;
        if let Some(running) = table.running.get_mut(&admission.log.subject.turn_id) {
            running.permit = Some(permit);
        }
        drop(table);
        Ok(admission)
    }
}

/// An admitted turn that has yet to be accepted. Dropping it releases its permit and its conversation.
pub struct Admission {
    pub(super) turns: Arc<Turns>,
    pub(super) log: Arc<TurnLog>,
    pub(super) stop: StopSignal,
    /// Dropped after the release, so that a lookup that waited finds no turn.
    pub(super) decided: DropGuard,
}

impl Admission {
    /// Discards the turn without a trace.
    pub fn reject(self) {}

    /// Accepts the turn: from now on it ends with a terminal frame, whatever happens to its task.
    pub fn accept(self) -> Acceptance {
        self.decided.token().cancel();
        Acceptance(self)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.turns.release(&self.log, None);
    }
}

/// An accepted turn. Dropping it before the turn has ended ends it as failed.
pub struct Acceptance(Admission);

impl Acceptance {
    pub fn stop_signal(&self) -> &StopSignal {
        &self.0.stop
    }

    /// Ends the turn, and releases its permit and its conversation.
    pub fn end(&self, end: TurnEnd) {
        self.0.turns.release(&self.0.log, Some(end));
    }
}

impl Drop for Acceptance {
    fn drop(&mut self) {
        if !self.0.log.has_ended() {
            log::error!(turn_id:% = self.0.log.subject.turn_id; "task ended before its turn; ending the turn as failed");
            self.end(TurnEnd::Failed(TurnFailure::TaskLost));
        }
    }
}
