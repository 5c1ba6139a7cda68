//! The table of all turns of the server: waiting, running and recently ended, with their permits.
//!
//! The workflows of all worker threads share it, so that a turn can be resumed and cancelled from any thread.

mod admission;

pub use admission::{Acceptance, Admission, Reservation};

use super::{
    error::TurnError,
    watchdog::{StopReason, StopSignal},
};
use crate::{
    config::WorkflowConfig,
    domain::{ConversationId, TurnId, UserId},
    limiter::{Limit, Limiter},
    limits::{DRAIN_RETRY_MS, MAX_RETAINED_TURNS, OVERLOADED_RETRY_MS},
    turn::{TurnEnd, TurnLog},
};
use admission::Waiting;
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub struct Turns {
    table: Mutex<Table>,
    /// Grants permits in FIFO order.
    permits: Arc<Semaphore>,
    max_waiting: usize,
    admission_wait: Duration,
    retention: Duration,
    limiter: Arc<Limiter>,
}

#[derive(Default)]
struct Table {
    /// Includes the turns that wait for a permit.
    running: HashMap<TurnId, Running>,
    /// The number of turns of each user, without those from exempt addresses.
    by_user: HashMap<UserId, usize>,
    /// The number of turns that wait for a permit.
    waiting: usize,
    /// The running turn of each conversation.
    by_conversation: HashMap<ConversationId, TurnId>,
    ended: HashMap<TurnId, Arc<TurnLog>>,
    /// Ended turns that were read from the store, as long as a connection reads them.
    restored: HashMap<TurnId, Weak<TurnLog>>,
    /// Ended turns, oldest first.
    ended_at: VecDeque<(Instant, TurnId)>,
    /// The number of turns since the start of the server.
    started: u64,
    /// The limit on running turns.
    max_running: usize,
    /// The limit on running turns of one user; 0 is no limit.
    max_per_user: usize,
    /// Permits in use beyond a lowered limit. They are discarded as their turns end.
    excess: usize,
    /// Whether the server refuses new turns because it is about to stop.
    draining: bool,
}

struct Running {
    log: Arc<TurnLog>,
    /// Whether the turn is counted in `by_user`.
    counts_for_user: bool,
    stop: StopSignal,
    /// Released under the table's lock, together with the conversation.
    permit: Option<OwnedSemaphorePermit>,
    /// Cancelled when the turn is accepted or rejected.
    decided: CancellationToken,
}

/// Counts of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TurnsStats {
    /// Turns that are running.
    pub running_turns: usize,
    /// The limit on running turns.
    pub max_running_turns: usize,
    /// Turns that wait for a permit.
    pub waiting_turns: usize,
    /// Recently ended turns that are still in memory.
    pub retained_turns: usize,
    /// Turns since the start of the server.
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

    /// Reserves the conversation for a turn requested from `address`. The turn counts as one of its user's from now on. The caller
    /// has checked that the user may write to the conversation: a reservation blocks the other members.
    ///
    /// # Errors
    /// `InProgress` if the conversation has a turn, `TooManyOfUser`, `Draining`.
    pub fn reserve(self: &Arc<Self>, log: &Arc<TurnLog>, address: IpAddr) -> Result<Reservation, TurnError> {
        let counts_for_user = !self.limiter.is_exempt(address);
        let mut table = self.lock();
        let subject = log.subject;
        if table.by_conversation.contains_key(&subject.conversation_id) {
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
        let (stop, decided) = (StopSignal::default(), CancellationToken::new());
        table.by_conversation.insert(subject.conversation_id, subject.turn_id);
        if counts_for_user {
            table.by_user.insert(subject.user_id, of_user + 1);
        }
        let running = Running {
            log: Arc::clone(log),
            counts_for_user,
            stop: stop.clone(),
            permit: None,
            decided: decided.clone(),
        };
        table.running.insert(subject.turn_id, running);
        Ok(Reservation(Admission {
            turns: Arc::clone(self),
            log: Arc::clone(log),
            stop,
            decided: decided.drop_guard(),
        }))
    }

    /// Returns the number of running and waiting turns of each of these users.
    pub fn count_of(&self, users: &[UserId]) -> Vec<usize> {
        let table = self.lock();
        users.iter().map(|user| table.by_user.get(user).copied().unwrap_or_default()).collect()
    }

    /// Refuses new turns. Running ones go on.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Admits turns again.
    pub fn reopen(&self) {
        self.lock().draining = false;
    }

    /// Changes the limits. Running turns go on, even beyond a lowered limit.
    pub fn change_limits(&self, max_running: usize, max_per_user: usize) {
        let mut table = self.lock();
        table.max_per_user = max_per_user;
        let (more, fewer) =
            (max_running.saturating_sub(table.max_running), table.max_running.saturating_sub(max_running));
        table.max_running = max_running;
        // First keeps permits that were to be discarded.
        let kept = more.min(table.excess);
        table.excess -= kept;
        self.permits.add_permits(more - kept);
        table.excess += fewer - self.permits.forget_permits(fewer);
    }

    /// Checks that the server accepts new work.
    ///
    /// # Errors
    /// `Draining`.
    pub fn check_open(&self) -> Result<(), TurnError> {
        if self.lock().draining { Err(DRAINING) } else { Ok(()) }
    }

    /// Stops all running turns, which end as `TURN_INTERRUPTED` with the answer so far; returns their number.
    pub fn interrupt_all(&self) -> usize {
        let table = self.lock();
        for running in table.running.values() {
            running.stop.request(StopReason::ServerStopping);
        }
        table.running.len()
    }

    async fn acquire_permit(&self) -> Result<OwnedSemaphorePermit, TurnError> {
        // Does not overtake: a freed permit goes to the first waiter and is never available here.
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::begin(self)?;
        match tokio::time::timeout(self.admission_wait, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(TurnError::Internal(closed.to_string())),
            Err(_) => Err(self.busy(Limit::Turns)),
        }
    }

    fn busy(&self, limit: Limit) -> TurnError {
        self.limiter.hit(limit);
        TurnError::Busy { retry_after_ms: OVERLOADED_RETRY_MS }
    }

    /// Finds a running turn, or an ended one that is in memory. For a turn that is being admitted, it waits for the outcome: a rejected
    /// turn never ends, so nobody may subscribe to it.
    pub async fn find(&self, id: TurnId) -> Option<Arc<TurnLog>> {
        self.decided(|table| match table.running.get(&id) {
            Some(running) => Some(running.when_decided()),
            None => table.ended(id).map(Ok),
        })
        .await
    }

    /// Shares the log of an ended turn that was read from the store: returns the log of the same turn that other connections read
    /// already, or this one. A turn is in memory once, however many connections read it.
    pub fn share(&self, restored: Arc<TurnLog>) -> Arc<TurnLog> {
        let mut table = self.lock();
        let id = restored.subject.turn_id;
        if let Some(shared) = table.ended(id) {
            return shared;
        }
        table.restored.insert(id, Arc::downgrade(&restored));
        restored
    }

    /// Finds the running turn of a conversation.
    pub async fn running_in(&self, conversation: ConversationId) -> Option<Arc<TurnLog>> {
        self.decided(|table| {
            let id = table.by_conversation.get(&conversation)?;
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

    /// Asks a running turn to stop; returns `false` if no turn with this id is running.
    pub fn cancel(&self, id: TurnId) -> bool {
        self.lock().running.get(&id).map(|running| running.stop.request(StopReason::Cancelled)).is_some()
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

    /// Drops the ended turns of a deleted conversation.
    pub fn forget_conversation(&self, conversation: ConversationId) {
        let mut table = self.lock();
        table.ended.retain(|_, log| log.subject.conversation_id != conversation);
        let is_other = |log: Arc<TurnLog>| log.subject.conversation_id != conversation;
        table.restored.retain(|_, log| log.upgrade().is_some_and(is_other));
    }

    /// Drops turns that ended longer ago than `workflow.turn_retention_s`.
    pub fn sweep(&self) {
        let mut table = self.lock();
        table.forget_old(self.retention);
        table.restored.retain(|_, log| log.strong_count() > 0);
        table.restored.shrink_to_fit();
    }

    /// Removes a turn from the running ones; repeated calls have no effect. The end is published under the table's lock, so
    /// that a client that sends its next message on seeing it finds the conversation free.
    fn release(&self, log: &Arc<TurnLog>, end: Option<TurnEnd>) {
        let mut table = self.lock();
        let subject = log.subject;
        if let Some(mut running) = table.running.remove(&subject.turn_id) {
            if table.excess > 0
                && let Some(permit) = running.permit.take()
            {
                permit.forget();
                table.excess -= 1;
            }
            table.by_conversation.remove(&subject.conversation_id);
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

    /// Ignores poisoning: the table is consistent between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Returns the log of an accepted turn, or the token to wait for if it is being admitted.
    fn when_decided(&self) -> Result<Arc<TurnLog>, CancellationToken> {
        if self.decided.is_cancelled() { Ok(Arc::clone(&self.log)) } else { Err(self.decided.clone()) }
    }
}

impl Table {
    fn ended(&self, id: TurnId) -> Option<Arc<TurnLog>> {
        self.ended.get(&id).cloned().or_else(|| self.restored.get(&id)?.upgrade())
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

const DRAINING: TurnError = TurnError::Draining { retry_after_ms: DRAIN_RETRY_MS };

#[cfg(test)]
mod tests;
