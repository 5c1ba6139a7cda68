//! The turns of the whole server: those that run, and those that ended a short while ago.
//!
//! Every worker's workflow shares this table, so that a turn can be resumed and cancelled from any thread.

use super::watch::{Stop, StopReason};
use crate::{
    domain::{ConversationId, TurnId},
    limits::{DRAIN_RETRY_MS, MAX_RETAINED_TURNS, OVERLOADED_RETRY_MS},
    protocol::{ApiError, ErrorCode},
    turn::{TurnEnd, TurnLog},
};
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

pub struct Turns {
    table: Mutex<Table>,
    max_running: usize,
    retention: Duration,
}

#[derive(Default)]
struct Table {
    running: HashMap<TurnId, Running>,
    /// The running turn of a conversation.
    by_conversation: HashMap<ConversationId, TurnId>,
    ended: HashMap<TurnId, Arc<TurnLog>>,
    /// In the order in which they ended.
    ended_at: VecDeque<(Instant, TurnId)>,
    /// Since the start of the server.
    started: u64,
    /// The server stops: it takes no more turns.
    draining: bool,
}

struct Running {
    log: Arc<TurnLog>,
    stop: Stop,
    accepted: bool,
    /// Cancelled once the turn is accepted or rejected.
    decided: CancellationToken,
}

/// The turns in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TurnsStats {
    /// Turns that run now.
    pub running_turns: usize,
    /// Turns that ended a short while ago, still in memory.
    pub retained_turns: usize,
    /// Since the start of the server.
    pub started_turns: u64,
}

impl Turns {
    pub fn new(max_running: usize, retention: Duration) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), max_running, retention })
    }

    /// Takes a place for a turn, and its conversation for itself.
    ///
    /// # Errors
    /// `TURN_IN_PROGRESS` when the conversation has a running turn, `OVERLOADED` when all places are taken, or when the
    /// server stops.
    pub fn admit(self: &Arc<Self>, log: &Arc<TurnLog>) -> Result<Admission, ApiError> {
        let mut table = self.lock();
        let subject = log.subject;
        if table.by_conversation.contains_key(&subject.conversation_id) {
            let reason = "The last answer in this conversation is still being written.";
            return Err(ApiError::new(ErrorCode::TurnInProgress, reason));
        }
        if table.draining {
            return Err(going_away());
        }
        if table.running.len() >= self.max_running {
            let reason = "The server is busy with other answers. Please try again in a moment.";
            return Err(ApiError::overloaded(reason, OVERLOADED_RETRY_MS));
        }
        let stop = Stop::default();
        table.by_conversation.insert(subject.conversation_id, subject.turn_id);
        table.running.insert(
            subject.turn_id,
            Running { log: Arc::clone(log), stop: stop.clone(), accepted: false, decided: CancellationToken::new() },
        );
        table.started += 1;
        Ok(Admission { turns: Arc::clone(self), log: Arc::clone(log), stop })
    }

    /// Takes no more turns. Those that run go on.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Whether the server stops.
    ///
    /// # Errors
    /// `OVERLOADED`, for new work.
    pub fn check_open(&self) -> Result<(), ApiError> {
        if self.lock().draining { Err(going_away()) } else { Ok(()) }
    }

    /// Ends all running turns as `TURN_INTERRUPTED`, with what there is of their answers; returns how many there are.
    pub fn interrupt_all(&self) -> usize {
        let table = self.lock();
        for running in table.running.values() {
            running.stop.because(StopReason::ServerStops);
        }
        table.running.len()
    }

    /// Ready when a turn that asked for admission, by its own id or by its conversation's, was accepted or rejected: before
    /// that it is no turn that one could follow.
    pub async fn decided(&self, id: Option<TurnId>, conversation: Option<ConversationId>) {
        while let Some(decided) = self.undecided(id, conversation) {
            decided.cancelled().await;
        }
    }

    fn undecided(&self, id: Option<TurnId>, conversation: Option<ConversationId>) -> Option<CancellationToken> {
        let table = self.lock();
        let id = id.or_else(|| table.by_conversation.get(&conversation?).copied())?;
        let running = table.running.get(&id).filter(|running| !running.accepted)?;
        Some(running.decided.clone())
    }

    /// A turn that runs, or ended a short while ago.
    pub fn find(&self, id: TurnId) -> Option<Arc<TurnLog>> {
        let table = self.lock();
        table.running.get(&id).map(|running| &running.log).or_else(|| table.ended.get(&id)).map(Arc::clone)
    }

    pub fn running_in(&self, conversation: ConversationId) -> Option<Arc<TurnLog>> {
        let table = self.lock();
        table.by_conversation.get(&conversation).and_then(|id| table.running.get(id)).map(|run| Arc::clone(&run.log))
    }

    /// Asks a running turn to stop; `false` when there is none of this id.
    pub fn cancel(&self, id: TurnId) -> bool {
        self.lock().running.get(&id).map(|running| running.stop.because(StopReason::Cancelled)).is_some()
    }

    pub fn stats(&self) -> TurnsStats {
        let table = self.lock();
        TurnsStats {
            running_turns: table.running.len(),
            retained_turns: table.ended.len(),
            started_turns: table.started,
        }
    }

    /// Lets go of what ended too long ago.
    pub fn sweep(&self) {
        self.lock().forget_old(self.retention);
    }

    fn release(&self, log: &Arc<TurnLog>) {
        let mut table = self.lock();
        let subject = log.subject;
        if let Some(running) = table.running.remove(&subject.turn_id) {
            running.decided.cancel();
        }
        table.by_conversation.remove(&subject.conversation_id);
        if log.has_ended() {
            table.ended.insert(subject.turn_id, Arc::clone(log));
            table.ended_at.push_back((Instant::now(), subject.turn_id));
        }
        table.forget_old(self.retention);
    }

    /// The table is whole between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_old(&mut self, retention: Duration) {
        while let Some((ended_at, id)) = self.ended_at.front()
            && (ended_at.elapsed() >= retention || self.ended_at.len() > MAX_RETAINED_TURNS)
        {
            self.ended.remove(id);
            self.ended_at.pop_front();
        }
    }
}

fn going_away() -> ApiError {
    ApiError::overloaded("The server is going away. Please try again in a moment.", DRAIN_RETRY_MS)
}

/// A turn's place among the running ones; dropping it gives the place back.
pub struct Admission {
    turns: Arc<Turns>,
    log: Arc<TurnLog>,
    stop: Stop,
}

impl Admission {
    /// The turn did not begin: it leaves no trace.
    pub fn reject(self) {}

    /// The turn begins: from now on it ends in a terminal frame, whatever happens to its task.
    pub fn accept(self) -> Acceptance {
        if let Some(running) = self.turns.lock().running.get_mut(&self.log.subject.turn_id) {
            running.accepted = true;
            running.decided.cancel();
        }
        Acceptance(self)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.turns.release(&self.log);
    }
}

/// A turn that was accepted. If its task is dropped before the turn has ended, it ends here.
pub struct Acceptance(Admission);

impl Acceptance {
    pub fn stop(&self) -> &Stop {
        &self.0.stop
    }
}

impl Drop for Acceptance {
    fn drop(&mut self) {
        if !self.0.log.has_ended() {
            log::error!(turn_id:% = self.0.log.subject.turn_id; "a turn's task ended before the turn did");
            let reason = "The server stopped working on this answer.";
            self.0.log.end(TurnEnd::Failed(ApiError::new(ErrorCode::TurnInterrupted, reason)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::UserId, turn::TurnSubject};

    const LONG: Duration = Duration::from_secs(60);

    fn log(conversation_id: ConversationId) -> Arc<TurnLog> {
        TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id: UserId::new() })
    }

    fn refusal(turns: &Arc<Turns>, conversation: ConversationId) -> Option<ErrorCode> {
        turns.admit(&log(conversation)).err().map(|error| error.code)
    }

    #[test]
    fn a_conversation_has_one_running_turn() {
        let (turns, conversation) = (Turns::new(9, LONG), ConversationId::new());
        let admission = turns.admit(&log(conversation)).unwrap();
        assert_eq!(refusal(&turns, conversation), Some(ErrorCode::TurnInProgress));
        drop(admission);
        assert_eq!(refusal(&turns, conversation), None);
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let turns = Turns::new(1, LONG);
        let admission = turns.admit(&log(ConversationId::new())).unwrap();
        assert_eq!(refusal(&turns, ConversationId::new()), Some(ErrorCode::Overloaded));
        admission.reject();
        assert_eq!(turns.stats().running_turns, 0);
        assert_eq!(turns.stats().retained_turns, 0);
    }

    #[test]
    fn a_task_that_vanishes_ends_its_turn() {
        let turns = Turns::new(1, LONG);
        let log = log(ConversationId::new());
        drop(turns.admit(&log).unwrap().accept());
        assert!(log.has_ended());
        assert!(turns.find(log.subject.turn_id).is_some());
        assert_eq!(turns.stats().running_turns, 0);
    }

    #[test]
    fn a_server_that_stops_takes_no_more_turns() {
        let (turns, log) = (Turns::new(9, LONG), log(ConversationId::new()));
        let running = turns.admit(&log).unwrap().accept();
        turns.drain();
        assert_eq!(refusal(&turns, ConversationId::new()), Some(ErrorCode::Overloaded));
        assert_eq!(turns.check_open().unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(running.stop().reason(), None);
        assert_eq!(turns.interrupt_all(), 1);
        assert_eq!(running.stop().reason(), Some(StopReason::ServerStops));
    }

    #[tokio::test]
    async fn who_asks_for_a_turn_too_early_waits_until_it_is_one() {
        use futures_util::FutureExt;
        let (turns, log) = (Turns::new(9, LONG), log(ConversationId::new()));
        let conversation = Some(log.subject.conversation_id);
        let admission = turns.admit(&log).unwrap();
        assert!(turns.decided(None, conversation).now_or_never().is_none());
        let _running = admission.accept();
        assert!(turns.decided(None, conversation).now_or_never().is_some());
        assert!(turns.decided(Some(log.subject.turn_id), None).now_or_never().is_some());
        let rejected = self::log(ConversationId::new());
        let admission = turns.admit(&rejected).unwrap();
        let waiting = turns.decided(Some(rejected.subject.turn_id), None);
        admission.reject();
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn ended_turns_are_forgotten_in_time() {
        let turns = Turns::new(1, Duration::ZERO);
        let log = log(ConversationId::new());
        drop(turns.admit(&log).unwrap().accept());
        turns.sweep();
        assert!(turns.find(log.subject.turn_id).is_none());
    }
}
