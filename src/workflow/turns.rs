//! The turns of the whole server: those that run, and those that ended a short while ago.
//!
//! Every worker's workflow shares this table, so that a turn can be resumed and cancelled from any thread.

use super::watch::{Stop, StopReason};
use crate::{
    domain::{ConversationId, TurnId, UserId},
    limits::{DRAIN_RETRY_MS, MAX_RETAINED_TURNS, OVERLOADED_RETRY_MS},
    protocol::{ApiError, ErrorCode},
    turn::{TurnEnd, TurnLog, TurnSubject},
};
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub struct Turns {
    table: Mutex<Table>,
    max_running: usize,
    retention: Duration,
}

#[derive(Default)]
struct Table {
    running: HashMap<TurnId, Running>,
    /// The running turn of a conversation. The user is part of the key: whoever names a conversation of somebody else's
    /// takes nothing from its owner until the store has refused.
    by_conversation: HashMap<(UserId, ConversationId), TurnId>,
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
    /// Cancelled once the turn is accepted, or will never be.
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
        if table.by_conversation.contains_key(&place(&subject)) {
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
        table.by_conversation.insert(place(&subject), subject.turn_id);
        let decided = CancellationToken::new();
        let running = Running { log: Arc::clone(log), stop: stop.clone(), decided: decided.clone() };
        table.running.insert(subject.turn_id, running);
        table.started += 1;
        Ok(Admission { turns: Arc::clone(self), log: Arc::clone(log), stop, decided: decided.drop_guard() })
    }

    /// Takes no more turns. Those that run go on.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Whether the server takes new work.
    ///
    /// # Errors
    /// `OVERLOADED` when it stops.
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

    /// A turn that runs, or ended a short while ago. Of one that is about to begin the answer waits until it has: one
    /// that never does must not be followed, since it would never end.
    pub async fn find(&self, id: TurnId) -> Option<Arc<TurnLog>> {
        self.decided(|table| match table.running.get(&id) {
            Some(running) => Some(running.when_decided()),
            None => table.ended.get(&id).map(|log| Ok(Arc::clone(log))),
        })
        .await
    }

    /// The running turn of this user in a conversation.
    pub async fn running_in(&self, user: UserId, conversation: ConversationId) -> Option<Arc<TurnLog>> {
        self.decided(|table| {
            let id = table.by_conversation.get(&(user, conversation))?;
            table.running.get(id).map(Running::when_decided)
        })
        .await
    }

    async fn decided(
        &self,
        look: impl Fn(&Table) -> Option<Result<Arc<TurnLog>, CancellationToken>>,
    ) -> Option<Arc<TurnLog>> {
        loop {
            let found = look(&self.lock());
            match found? {
                Ok(log) => return Some(log),
                Err(decided) => decided.cancelled().await,
            }
        }
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

    /// Lets go of the ended turns of a conversation that is no more.
    pub fn forget_conversation(&self, conversation: ConversationId) {
        self.lock().ended.retain(|_, log| log.subject.conversation_id != conversation);
    }

    /// Lets go of what ended too long ago.
    pub fn sweep(&self) {
        self.lock().forget_old(self.retention);
    }

    /// Takes a turn out of the running ones, once. Its end is told under the table's lock: who goes on talking as soon as
    /// they see it finds the conversation free, on whatever thread.
    fn release(&self, log: &Arc<TurnLog>, end: Option<TurnEnd>) {
        let mut table = self.lock();
        let subject = log.subject;
        if table.running.remove(&subject.turn_id).is_some() {
            table.by_conversation.remove(&place(&subject));
            if let Some(end) = end {
                log.end(end);
            }
            if log.has_ended() {
                table.ended.insert(subject.turn_id, Arc::clone(log));
                table.ended_at.push_back((Instant::now(), subject.turn_id));
            }
        }
        table.forget_old(self.retention);
    }

    /// The table is whole between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Its log once it is accepted; until then, what to wait for.
    fn when_decided(&self) -> Result<Arc<TurnLog>, CancellationToken> {
        if self.decided.is_cancelled() { Ok(Arc::clone(&self.log)) } else { Err(self.decided.clone()) }
    }
}

fn place(subject: &TurnSubject) -> (UserId, ConversationId) {
    (subject.user_id, subject.conversation_id)
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
    /// Dropped with the admission, behind its release: who waited then finds nothing.
    decided: DropGuard,
}

impl Admission {
    /// The turn did not begin: it leaves no trace.
    pub fn reject(self) {}

    /// The turn begins: from now on it ends in a terminal frame, whatever happens to its task.
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

/// A turn that was accepted. If its task is dropped before the turn has ended, it ends here.
pub struct Acceptance(Admission);

impl Acceptance {
    pub fn stop(&self) -> &Stop {
        &self.0.stop
    }

    /// Ends the turn, and gives its place back.
    pub fn end(&self, end: TurnEnd) {
        self.0.turns.release(&self.0.log, Some(end));
    }
}

impl Drop for Acceptance {
    fn drop(&mut self) {
        if !self.0.log.has_ended() {
            log::error!(turn_id:% = self.0.log.subject.turn_id; "a turn's task ended before the turn did");
            let reason = "The server stopped working on this answer.";
            self.end(TurnEnd::Failed(ApiError::new(ErrorCode::TurnInterrupted, reason)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{Mailbox, TurnEvent, TurnSink};
    use futures_util::FutureExt;

    const LONG: Duration = Duration::from_secs(60);

    fn log(conversation_id: ConversationId) -> Arc<TurnLog> {
        TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id: UserId::new() })
    }

    /// Another turn of the same user in the same conversation.
    fn next(log: &TurnLog) -> Arc<TurnLog> {
        TurnLog::new(TurnSubject { turn_id: TurnId::new(), ..log.subject })
    }

    fn refusal(turns: &Arc<Turns>, log: &Arc<TurnLog>) -> Option<ErrorCode> {
        turns.admit(log).err().map(|error| error.code)
    }

    fn interrupted() -> TurnEnd {
        TurnEnd::Failed(ApiError::new(ErrorCode::TurnInterrupted, "gone"))
    }

    #[test]
    fn a_conversation_has_one_running_turn() {
        let (turns, log) = (Turns::new(9, LONG), log(ConversationId::new()));
        let admission = turns.admit(&log).unwrap();
        assert_eq!(refusal(&turns, &next(&log)), Some(ErrorCode::TurnInProgress));
        drop(admission);
        assert_eq!(refusal(&turns, &next(&log)), None);
    }

    #[test]
    fn a_stranger_who_names_a_conversation_takes_nothing_from_its_owner() {
        let (turns, conversation) = (Turns::new(9, LONG), ConversationId::new());
        let (own, strange) = (log(conversation), log(conversation));
        let _attempt = turns.admit(&strange).unwrap().accept();
        let found = |log: &TurnLog| turns.running_in(log.subject.user_id, conversation).now_or_never().unwrap();
        assert!(found(&own).is_none());
        let _acceptance = turns.admit(&own).unwrap().accept();
        assert!(Arc::ptr_eq(&found(&own).unwrap(), &own));
    }

    #[tokio::test]
    async fn a_turn_that_has_yet_to_begin_is_waited_for() {
        let turns = Turns::new(9, LONG);
        for accepted in [true, false] {
            let log = log(ConversationId::new());
            let TurnSubject { turn_id, conversation_id, user_id } = log.subject;
            let admission = turns.admit(&log).unwrap();
            let mut by_id = Box::pin(turns.find(turn_id));
            let mut latest = Box::pin(turns.running_in(user_id, conversation_id));
            assert!((&mut by_id).now_or_never().is_none() && (&mut latest).now_or_never().is_none());
            let _acceptance = if accepted {
                Some(admission.accept())
            } else {
                admission.reject();
                None
            };
            assert_eq!((by_id.await.is_some(), latest.await.is_some()), (accepted, accepted));
        }
    }

    #[test]
    fn who_sees_the_end_may_go_on_at_once() {
        struct NextTurn(Arc<Turns>, Mutex<Option<std::thread::JoinHandle<Option<ErrorCode>>>>);

        /// Sends the next message from another thread, as soon as the end is told.
        impl TurnSink for Arc<NextTurn> {
            fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent> {
                let turns = Arc::clone(&self.0);
                let attempt = std::thread::spawn(move || refusal(&turns, &next(&event.turn)));
                // Long enough for the attempt, were nothing in its way.
                std::thread::sleep(Duration::from_millis(20));
                *self.1.lock().unwrap() = Some(attempt);
                Ok(())
            }
        }

        let turns = Turns::new(9, LONG);
        let log = log(ConversationId::new());
        let acceptance = turns.admit(&log).unwrap().accept();
        let reader = Arc::new(NextTurn(Arc::clone(&turns), Mutex::default()));
        log.follow(&crate::turn::Cursor::default(), &Mailbox::new(Arc::clone(&reader)).follower(), |_| true);
        acceptance.end(interrupted());
        let attempt = reader.1.lock().unwrap().take().unwrap();
        assert_eq!(attempt.join().unwrap(), None);
        drop(acceptance);
        assert_eq!((turns.stats().running_turns, turns.stats().retained_turns), (0, 1));
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
        assert!(turns.find(log.subject.turn_id).now_or_never().unwrap().is_some());
        assert_eq!(turns.stats().running_turns, 0);
    }

    #[test]
    fn a_server_that_stops_takes_no_more_turns() {
        let (turns, log) = (Turns::new(9, LONG), log(ConversationId::new()));
        let running = turns.admit(&log).unwrap().accept();
        turns.drain();
        assert_eq!(refusal(&turns, &self::log(ConversationId::new())), Some(ErrorCode::Overloaded));
        assert_eq!(turns.check_open().unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(running.stop().reason(), None);
        assert_eq!(turns.interrupt_all(), 1);
        assert_eq!(running.stop().reason(), Some(StopReason::ServerStops));
    }

    #[test]
    fn ended_turns_are_forgotten_in_time() {
        let turns = Turns::new(1, Duration::ZERO);
        let log = log(ConversationId::new());
        drop(turns.admit(&log).unwrap().accept());
        turns.sweep();
        assert!(turns.find(log.subject.turn_id).now_or_never().unwrap().is_none());
    }
}
