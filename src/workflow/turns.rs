//! The turns of the whole server: those that run, and those that ended a short while ago.
//!
//! Every worker's workflow shares this table, so that a turn can be resumed and cancelled from any thread.

use super::{
    error::TurnError,
    watch::{Stop, StopReason},
};
use crate::{
    config::WorkflowConfig,
    domain::{ConversationId, TurnId, UserId},
    limiter::{Limit, Limiter},
    limits::{DRAIN_RETRY_MS, MAX_RETAINED_TURNS, OVERLOADED_RETRY_MS},
    turn::{TurnEnd, TurnFailure, TurnLog, TurnSubject},
};
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

pub struct Turns {
    table: Mutex<Table>,
    /// Whoever waits for a place gets it in the order in which they came.
    permits: Arc<Semaphore>,
    max_waiting: usize,
    admission_wait: Duration,
    retention: Duration,
    limiter: Arc<Limiter>,
}

#[derive(Default)]
struct Table {
    /// Those that wait for a place are among them.
    running: HashMap<TurnId, Running>,
    /// Number of turns of each user, without those of exempt addresses.
    by_user: HashMap<UserId, usize>,
    /// How many wait for a place.
    waiting: usize,
    /// The running turn of a conversation. The user is part of the key: whoever names a conversation of somebody else's
    /// takes nothing from its owner until the store has refused.
    by_conversation: HashMap<(UserId, ConversationId), TurnId>,
    ended: HashMap<TurnId, Arc<TurnLog>>,
    /// In the order in which they ended.
    ended_at: VecDeque<(Instant, TurnId)>,
    /// Since the start of the server.
    started: u64,
    /// Turns that may run at once.
    max_running: usize,
    /// Of these, turns of one user; 0 is no limit.
    max_per_user: usize,
    /// Places that are gone when the turns that have them end.
    excess: usize,
    /// The server stops: it takes no more turns.
    draining: bool,
}

struct Running {
    log: Arc<TurnLog>,
    /// Whether it is one of its user's in `by_user`.
    counts_for_user: bool,
    stop: Stop,
    /// Given back under the table's lock, together with the conversation.
    place: Option<OwnedSemaphorePermit>,
    /// Cancelled once the turn is accepted, or will never be.
    decided: CancellationToken,
}

/// The turns in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TurnsStats {
    /// Turns that run now.
    pub running_turns: usize,
    /// Turns that may run at once.
    pub max_running_turns: usize,
    /// Turns that wait for a free place.
    pub waiting_turns: usize,
    /// Turns that ended a short while ago, still in memory.
    pub retained_turns: usize,
    /// Since the start of the server.
    pub started_turns: u64,
}

impl Turns {
    pub fn new(config: &WorkflowConfig, limiter: Arc<Limiter>) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                max_running: config.max_running_turns,
                max_per_user: config.max_running_turns_per_user,
                ..Table::default()
            }),
            permits: Arc::new(Semaphore::new(config.max_running_turns)),
            max_waiting: config.max_waiting_turns,
            admission_wait: Duration::from_millis(config.admission_wait_ms),
            retention: Duration::from_secs(config.turn_retention_s),
            limiter,
        })
    }

    /// Takes the conversation for a turn that a client at `address` asks for, and a permit to run, for which it waits a
    /// while when there is none.
    ///
    /// # Errors
    /// `InProgress` when the conversation has a turn, `TooManyOfUser`, `Busy` when no permit became free in time, `Draining`.
    pub async fn admit(self: &Arc<Self>, log: &Arc<TurnLog>, address: IpAddr) -> Result<Admission, TurnError> {
        let admission = self.reserve(log, !self.limiter.is_exempt(address))?;
        let place = self.place().await?;
        let mut table = self.lock();
        table.started += 1;
        if let Some(running) = table.running.get_mut(&log.subject.turn_id) {
            running.place = Some(place);
        }
        drop(table);
        Ok(admission)
    }

    fn reserve(self: &Arc<Self>, log: &Arc<TurnLog>, counts_for_user: bool) -> Result<Admission, TurnError> {
        let mut table = self.lock();
        let subject = log.subject;
        if table.by_conversation.contains_key(&place(&subject)) {
            return Err(TurnError::InProgress);
        }
        if table.draining {
            return Err(DRAINING);
        }
        let of_user = table.by_user.get(&subject.user_id).copied().unwrap_or_default();
        if counts_for_user && table.max_per_user > 0 && of_user >= table.max_per_user {
            self.limiter.hit(Limit::TurnsPerUser);
            return Err(TurnError::TooManyOfUser { retry_after_ms: OVERLOADED_RETRY_MS });
        }
        let (stop, decided) = (Stop::default(), CancellationToken::new());
        table.by_conversation.insert(place(&subject), subject.turn_id);
        if counts_for_user {
            table.by_user.insert(subject.user_id, of_user + 1);
        }
        let running = Running {
            log: Arc::clone(log),
            counts_for_user,
            stop: stop.clone(),
            place: None,
            decided: decided.clone(),
        };
        table.running.insert(subject.turn_id, running);
        Ok(Admission { turns: Arc::clone(self), log: Arc::clone(log), stop, decided: decided.drop_guard() })
    }

    /// Number of turns of each of these users that run or wait for a permit.
    pub fn count_of(&self, users: &[UserId]) -> Vec<usize> {
        let table = self.lock();
        users.iter().map(|user| table.by_user.get(user).copied().unwrap_or_default()).collect()
    }

    /// Takes no more turns. Those that run go on.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Takes turns again.
    pub fn reopen(&self) {
        self.lock().draining = false;
    }

    /// Other limits from now on. Turns that run go on, also when there are more than may be.
    pub fn change_limits(&self, max_running: usize, max_per_user: usize) {
        let mut table = self.lock();
        table.max_per_user = max_per_user;
        let (more, fewer) =
            (max_running.saturating_sub(table.max_running), table.max_running.saturating_sub(max_running));
        table.max_running = max_running;
        // Places that were to go stay first.
        let stay = more.min(table.excess);
        table.excess -= stay;
        self.permits.add_permits(more - stay);
        table.excess += fewer - self.permits.forget_permits(fewer);
    }

    /// Whether the server takes new work.
    ///
    /// # Errors
    /// `Draining`.
    pub fn check_open(&self) -> Result<(), TurnError> {
        if self.lock().draining { Err(DRAINING) } else { Ok(()) }
    }

    /// Ends all running turns as `TURN_INTERRUPTED`, with what there is of their answers; returns how many there are.
    pub fn interrupt_all(&self) -> usize {
        let table = self.lock();
        for running in table.running.values() {
            running.stop.because(StopReason::ServerStops);
        }
        table.running.len()
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, TurnError> {
        // With somebody waiting there is no free place: it would be theirs.
        if let Ok(place) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::begin(self)?;
        match tokio::time::timeout(self.admission_wait, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(closed)) => Err(TurnError::Internal(closed.to_string())),
            Err(_) => Err(self.busy(Limit::Turns)),
        }
    }

    fn busy(&self, limit: Limit) -> TurnError {
        self.limiter.hit(limit);
        TurnError::Busy { retry_after_ms: OVERLOADED_RETRY_MS }
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
            running_turns: table.running.len() - table.waiting,
            max_running_turns: table.max_running,
            waiting_turns: table.waiting,
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
        if let Some(mut running) = table.running.remove(&subject.turn_id) {
            if table.excess > 0
                && let Some(place) = running.place.take()
            {
                place.forget();
                table.excess -= 1;
            }
            table.by_conversation.remove(&place(&subject));
            if running.counts_for_user
                && let Some(of_user) = table.by_user.get_mut(&subject.user_id)
            {
                *of_user -= 1;
                if *of_user == 0 {
                    table.by_user.remove(&subject.user_id);
                }
            }
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

const DRAINING: TurnError = TurnError::Draining { retry_after_ms: DRAIN_RETRY_MS };

/// A turn counted as waiting.
struct Waiting<'a>(&'a Turns);

impl<'a> Waiting<'a> {
    fn begin(turns: &'a Turns) -> Result<Self, TurnError> {
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
            self.end(TurnEnd::Failed(TurnFailure::TaskLost));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::LimitsConfig,
        turn::{Mailbox, TurnEvent, TurnSink},
    };
    use futures_util::FutureExt;
    use std::net::Ipv4Addr;

    /// No exempt one.
    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn turns(change: impl FnOnce(&mut WorkflowConfig)) -> Arc<Turns> {
        let mut config = WorkflowConfig { max_running_turns: 9, ..WorkflowConfig::default() };
        change(&mut config);
        Turns::new(&config, Arc::new(Limiter::new(&LimitsConfig::default())))
    }

    fn log(conversation_id: ConversationId) -> Arc<TurnLog> {
        TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id: UserId::new() })
    }

    /// Another turn of the same user in the same conversation.
    fn next(log: &TurnLog) -> Arc<TurnLog> {
        TurnLog::new(TurnSubject { turn_id: TurnId::new(), ..log.subject })
    }

    const BUSY: TurnError = TurnError::Busy { retry_after_ms: OVERLOADED_RETRY_MS };
    const TOO_MANY_OF_USER: TurnError = TurnError::TooManyOfUser { retry_after_ms: OVERLOADED_RETRY_MS };

    fn refusal(turns: &Arc<Turns>, log: &Arc<TurnLog>) -> Option<TurnError> {
        admit(turns, log).err()
    }

    /// Takes a place, when there is one without waiting.
    fn admit(turns: &Arc<Turns>, log: &Arc<TurnLog>) -> Result<Admission, TurnError> {
        turns.admit(log, ADDRESS).now_or_never().expect("it waits")
    }

    fn interrupted() -> TurnEnd {
        TurnEnd::Failed(TurnFailure::TaskLost)
    }

    #[test]
    fn a_conversation_has_one_running_turn() {
        let (turns, log) = (turns(|_| {}), log(ConversationId::new()));
        let admission = admit(&turns, &log).unwrap();
        assert_eq!(refusal(&turns, &next(&log)), Some(TurnError::InProgress));
        drop(admission);
        assert_eq!(refusal(&turns, &next(&log)), None);
    }

    #[test]
    fn a_stranger_who_names_a_conversation_takes_nothing_from_its_owner() {
        let (turns, conversation) = (turns(|_| {}), ConversationId::new());
        let (own, strange) = (log(conversation), log(conversation));
        let _attempt = admit(&turns, &strange).unwrap().accept();
        let found = |log: &TurnLog| turns.running_in(log.subject.user_id, conversation).now_or_never().unwrap();
        assert!(found(&own).is_none());
        let _acceptance = admit(&turns, &own).unwrap().accept();
        assert!(Arc::ptr_eq(&found(&own).unwrap(), &own));
    }

    #[tokio::test]
    async fn a_turn_that_has_yet_to_begin_is_waited_for() {
        let turns = turns(|_| {});
        for accepted in [true, false] {
            let log = log(ConversationId::new());
            let TurnSubject { turn_id, conversation_id, user_id } = log.subject;
            let admission = admit(&turns, &log).unwrap();
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
        struct NextTurn(Arc<Turns>, Mutex<Option<std::thread::JoinHandle<Option<TurnError>>>>);

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

        let turns = turns(|config| config.max_running_turns = 1);
        let log = log(ConversationId::new());
        let acceptance = admit(&turns, &log).unwrap().accept();
        let reader = Arc::new(NextTurn(Arc::clone(&turns), Mutex::default()));
        log.subscribe(&crate::turn::Cursor::default(), &Mailbox::new(Arc::clone(&reader)).subscriber(), |_| true);
        acceptance.end(interrupted());
        let attempt = reader.1.lock().unwrap().take().unwrap();
        assert_eq!(attempt.join().unwrap(), None);
        drop(acceptance);
        assert_eq!((turns.stats().running_turns, turns.stats().retained_turns), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_limited_and_given_back() {
        let turns = turns(|config| config.max_running_turns = 1);
        let admission = admit(&turns, &log(ConversationId::new())).unwrap();
        let (waiting, began) = (log(ConversationId::new()), tokio::time::Instant::now());
        assert_eq!(turns.admit(&waiting, ADDRESS).await.err(), Some(BUSY));
        assert_eq!(began.elapsed().as_secs(), 2, "it waits for a place");
        assert_eq!((turns.limiter.hits().turns, turns.stats().waiting_turns), (1, 0));
        admission.reject();
        assert_eq!(refusal(&turns, &waiting), None);
        assert_eq!((turns.stats().running_turns, turns.stats().retained_turns), (0, 0));
        let table = turns.lock();
        assert!(table.by_user.is_empty() && table.by_conversation.is_empty());
    }

    #[test]
    fn places_go_to_those_who_wait_in_their_order() {
        let turns = turns(|config| (config.max_running_turns, config.max_waiting_turns) = (1, 2));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let logs: [_; 4] = std::array::from_fn(|_| log(ConversationId::new()));
        let running = admit(&turns, &log(ConversationId::new())).unwrap();
        let mut first = Box::pin(turns.admit(&logs[0], ADDRESS));
        let mut second = Box::pin(turns.admit(&logs[1], ADDRESS));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        let stats = turns.stats();
        assert_eq!((stats.running_turns, stats.waiting_turns), (1, 2));
        // A third finds the queue full, and is told at once.
        assert_eq!(refusal(&turns, &logs[2]), Some(BUSY));
        assert_eq!(turns.limiter.hits().waiting_turns, 1);

        drop(running);
        assert!((&mut second).now_or_never().is_none(), "it is not its turn");
        let admitted = (&mut first).now_or_never().unwrap().unwrap();
        // One who comes just now does not overtake, and leaves nothing when it goes.
        assert!(turns.admit(&logs[3], ADDRESS).now_or_never().is_none());
        assert_eq!(turns.stats().waiting_turns, 1);
        drop(admitted);
        assert!(second.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn a_user_has_so_many_turns_at_once() {
        let turns = turns(|config| config.max_running_turns_per_user = 2);
        let user_id = UserId::new();
        let of_user =
            || TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id });
        let admissions = [admit(&turns, &of_user()), admit(&turns, &of_user())];
        assert!(admissions.iter().all(Result::is_ok));
        assert_eq!(refusal(&turns, &of_user()), Some(TOO_MANY_OF_USER));
        assert_eq!(refusal(&turns, &log(ConversationId::new())), None);
        drop(admissions);
        assert_eq!(refusal(&turns, &of_user()), None);
        assert_eq!(turns.limiter.hits().turns_per_user, 1);
    }

    #[test]
    fn turns_from_exempt_addresses_neither_reach_nor_use_up_the_limit_of_their_user() {
        let config =
            WorkflowConfig { max_running_turns: 9, max_running_turns_per_user: 1, ..WorkflowConfig::default() };
        let limits = LimitsConfig { exempt_addresses: vec!["198.51.100.0/24".to_owned()], ..LimitsConfig::default() };
        let turns = Turns::new(&config, Arc::new(Limiter::new(&limits)));
        let user_id = UserId::new();
        let admit_from = |address: IpAddr| {
            let subject = TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id };
            turns.admit(&TurnLog::new(subject), address).now_or_never().expect("it waits")
        };
        let exempt = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
        let from_exempt: Vec<_> = (0..5).map(|_| admit_from(exempt)).collect();
        assert!(from_exempt.iter().all(Result::is_ok));
        let limited = admit_from(ADDRESS).unwrap();
        assert_eq!(admit_from(ADDRESS).err(), Some(TOO_MANY_OF_USER));
        // Turns that were not counted are not subtracted either.
        drop(from_exempt);
        assert_eq!(admit_from(ADDRESS).err(), Some(TOO_MANY_OF_USER));
        drop(limited);
        assert!(admit_from(ADDRESS).is_ok() && turns.lock().by_user.is_empty());
    }

    #[test]
    fn places_change_while_turns_run() {
        let turns = turns(|config| config.max_running_turns = 3);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let take =
            || turns.admit(&log(ConversationId::new()), ADDRESS).now_or_never().map(|admitted| admitted.ok().unwrap());
        let mut held: Vec<_> = (0..3).map(|_| take().unwrap()).collect();
        turns.change_limits(1, 0);
        for left in [2, 1] {
            drop(held.pop());
            assert!(take().is_none(), "{left} run, and one may");
        }
        drop(held.pop());
        held.push(take().unwrap());
        assert!(take().is_none());
        // Down and up again while they run.
        turns.change_limits(4, 0);
        held.extend((0..3).map(|_| take().unwrap()));
        assert!(take().is_none());
        turns.change_limits(1, 0);
        turns.change_limits(3, 0);
        drop(held.pop());
        assert!(take().is_none(), "three run");
        drop(held.pop());
        held.push(take().unwrap());
        assert!(take().is_none());
        held.clear();
        assert_eq!((0..9).map_while(|_| take().map(|admission| held.push(admission))).count(), 3);
        assert_eq!(turns.lock().excess, 0);
    }

    #[test]
    fn a_user_may_have_more_or_fewer() {
        let turns = turns(|config| config.max_running_turns_per_user = 1);
        let user_id = UserId::new();
        let of_user =
            || TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id });
        let _first = admit(&turns, &of_user()).unwrap();
        assert_eq!(refusal(&turns, &of_user()), Some(TOO_MANY_OF_USER));
        turns.change_limits(9, 2);
        let _second = admit(&turns, &of_user()).unwrap();
        assert_eq!(refusal(&turns, &of_user()), Some(TOO_MANY_OF_USER));
    }

    #[test]
    fn a_task_that_vanishes_ends_its_turn() {
        let turns = turns(|config| config.max_running_turns = 1);
        let log = log(ConversationId::new());
        drop(admit(&turns, &log).unwrap().accept());
        assert!(log.has_ended());
        assert!(turns.find(log.subject.turn_id).now_or_never().unwrap().is_some());
        assert_eq!(turns.stats().running_turns, 0);
    }

    #[test]
    fn a_server_that_stops_takes_no_more_turns() {
        let (turns, log) = (turns(|_| {}), log(ConversationId::new()));
        let running = admit(&turns, &log).unwrap().accept();
        turns.drain();
        assert_eq!(refusal(&turns, &self::log(ConversationId::new())), Some(DRAINING));
        assert_eq!(turns.check_open(), Err(DRAINING));
        turns.reopen();
        assert!(turns.check_open().is_ok() && refusal(&turns, &self::log(ConversationId::new())).is_none());
        turns.drain();
        assert_eq!(running.stop().reason(), None);
        assert_eq!(turns.interrupt_all(), 1);
        assert_eq!(running.stop().reason(), Some(StopReason::ServerStops));
    }

    #[test]
    fn ended_turns_are_forgotten_in_time() {
        let turns = turns(|config| config.turn_retention_s = 0);
        let log = log(ConversationId::new());
        drop(admit(&turns, &log).unwrap().accept());
        turns.sweep();
        assert!(turns.find(log.subject.turn_id).now_or_never().unwrap().is_none());
    }
}
