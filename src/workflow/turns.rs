//! The turns of the whole server: those that run, and those that ended a short while ago.
//!
//! Every worker's workflow shares this table, so that a turn can be resumed and cancelled from any thread.

use crate::{
    domain::{ConversationId, TurnId, UserId},
    limits::{MAX_RETAINED_TURNS, OVERLOADED_RETRY_MS},
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
    /// The running turn of a conversation. The user is part of the key, because a turn is admitted before the store says
    /// whose the conversation is: a stranger who knows its id holds up nobody.
    by_conversation: HashMap<(UserId, ConversationId), TurnId>,
    ended: HashMap<TurnId, Arc<TurnLog>>,
    /// In the order in which they ended.
    ended_at: VecDeque<(Instant, TurnId)>,
    /// Since the start of the server.
    started: u64,
}

struct Running {
    log: Arc<TurnLog>,
    cancel: CancellationToken,
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
    /// `TURN_IN_PROGRESS` when the conversation has a running turn, `OVERLOADED` when all places are taken.
    pub fn admit(self: &Arc<Self>, log: &Arc<TurnLog>) -> Result<Admission, ApiError> {
        let mut table = self.lock();
        let subject = log.subject;
        let place = (subject.user_id, subject.conversation_id);
        if table.by_conversation.contains_key(&place) {
            let reason = "The last answer in this conversation is still being written.";
            return Err(ApiError::new(ErrorCode::TurnInProgress, reason));
        }
        if table.running.len() >= self.max_running {
            let reason = "The server is busy with other answers. Please try again in a moment.";
            return Err(ApiError::overloaded(reason, OVERLOADED_RETRY_MS));
        }
        let cancel = CancellationToken::new();
        table.by_conversation.insert(place, subject.turn_id);
        table.running.insert(subject.turn_id, Running { log: Arc::clone(log), cancel: cancel.clone() });
        table.started += 1;
        Ok(Admission { turns: Arc::clone(self), log: Arc::clone(log), cancel })
    }

    /// A turn that runs, or ended a short while ago.
    pub fn find(&self, id: TurnId) -> Option<Arc<TurnLog>> {
        let table = self.lock();
        table.running.get(&id).map(|running| &running.log).or_else(|| table.ended.get(&id)).map(Arc::clone)
    }

    /// The running turn of a user's conversation.
    pub fn running_in(&self, user: UserId, conversation: ConversationId) -> Option<Arc<TurnLog>> {
        let table = self.lock();
        table
            .by_conversation
            .get(&(user, conversation))
            .and_then(|id| table.running.get(id))
            .map(|run| Arc::clone(&run.log))
    }

    /// Asks a running turn to stop; `false` when there is none of this id.
    pub fn cancel(&self, id: TurnId) -> bool {
        self.lock().running.get(&id).map(|running| running.cancel.cancel()).is_some()
    }

    pub fn stats(&self) -> TurnsStats {
        let table = self.lock();
        TurnsStats {
            running_turns: table.running.len(),
            retained_turns: table.ended.len(),
            started_turns: table.started,
        }
    }

    /// Lets go of the ended turns of a conversation that is no more.
    pub fn forget_conversation(&self, conversation: ConversationId) {
        self.lock().ended.retain(|_, log| log.subject.conversation_id != conversation);
    }

    /// Lets go of what ended too long ago.
    pub fn sweep(&self) {
        self.lock().forget_old(self.retention);
    }

    /// Ends a turn and gives its place back, as one step: whoever sees the end can go on in the conversation.
    fn end(&self, log: &Arc<TurnLog>, end: TurnEnd) {
        let mut table = self.lock();
        log.end(end);
        table.remove(log);
        table.ended.insert(log.subject.turn_id, Arc::clone(log));
        table.ended_at.push_back((Instant::now(), log.subject.turn_id));
        table.forget_old(self.retention);
    }

    /// The table is whole between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, log: &TurnLog) {
        let subject = log.subject;
        self.running.remove(&subject.turn_id);
        // A turn that was rejected must not give back the place of the one that has it.
        let place = (subject.user_id, subject.conversation_id);
        if self.by_conversation.get(&place) == Some(&subject.turn_id) {
            self.by_conversation.remove(&place);
        }
    }

    fn forget_old(&mut self, retention: Duration) {
        while let Some((ended_at, id)) = self.ended_at.front()
            && (ended_at.elapsed() >= retention || self.ended_at.len() > MAX_RETAINED_TURNS)
        {
            self.ended.remove(id);
            self.ended_at.pop_front();
        }
    }
}

/// A turn's place among the running ones; dropping it gives the place back.
pub struct Admission {
    turns: Arc<Turns>,
    log: Arc<TurnLog>,
    cancel: CancellationToken,
}

impl Admission {
    /// Ready when somebody asks the turn to stop.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The turn did not begin: it leaves no trace.
    pub fn reject(self) {}

    /// The turn begins: from now on it ends in a terminal frame, whatever happens to its task.
    pub fn accept(self) -> Acceptance {
        Acceptance(self)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.log);
    }
}

/// A turn that was accepted. If its task is dropped before the turn has ended, it ends here.
pub struct Acceptance(Admission);

impl Acceptance {
    pub fn cancelled(&self) -> &CancellationToken {
        self.0.cancelled()
    }

    /// Ends the turn and gives its place back.
    pub fn end(self, end: TurnEnd) {
        self.0.turns.end(&self.0.log, end);
    }
}

impl Drop for Acceptance {
    fn drop(&mut self) {
        if !self.0.log.has_ended() {
            log::error!(turn_id:% = self.0.log.subject.turn_id; "a turn's task ended before the turn did");
            let reason = "The server stopped working on this answer.";
            let end = TurnEnd::Failed(ApiError::new(ErrorCode::TurnInterrupted, reason));
            self.0.turns.end(&self.0.log, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::TurnSubject;

    const LONG: Duration = Duration::from_secs(60);

    fn log_of(user_id: UserId, conversation_id: ConversationId) -> Arc<TurnLog> {
        TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id })
    }

    fn log(conversation_id: ConversationId) -> Arc<TurnLog> {
        log_of(UserId::new(), conversation_id)
    }

    fn refusal(turns: &Arc<Turns>, log: &Arc<TurnLog>) -> Option<ErrorCode> {
        turns.admit(log).err().map(|error| error.code)
    }

    #[test]
    fn a_conversation_has_one_running_turn() {
        let (turns, user, conversation) = (Turns::new(9, LONG), UserId::new(), ConversationId::new());
        let admission = turns.admit(&log_of(user, conversation)).unwrap();
        assert_eq!(refusal(&turns, &log_of(user, conversation)), Some(ErrorCode::TurnInProgress));
        assert_eq!(refusal(&turns, &log_of(user, conversation)), Some(ErrorCode::TurnInProgress));
        assert_eq!(refusal(&turns, &log(conversation)), None, "a stranger is held up, and holds up");
        drop(admission);
        assert_eq!(refusal(&turns, &log_of(user, conversation)), None);
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let turns = Turns::new(1, LONG);
        let admission = turns.admit(&log(ConversationId::new())).unwrap();
        assert_eq!(refusal(&turns, &log(ConversationId::new())), Some(ErrorCode::Overloaded));
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
    fn ended_turns_are_forgotten_in_time() {
        let turns = Turns::new(1, Duration::ZERO);
        let log = log(ConversationId::new());
        drop(turns.admit(&log).unwrap().accept());
        turns.sweep();
        assert!(turns.find(log.subject.turn_id).is_none());
    }
}
