//! How a server empties before it stops: sessions are told in batches, those without a running turn first, and turns may
//! end by themselves until the time is over.

use crate::{
    domain::ConnectionId,
    limits::{DRAIN_BATCH_CONNECTIONS, DRAIN_CLOSE_TIMEOUT, DRAIN_TICK, RECONNECT_AFTER_MIN_MS, RECONNECT_SPREAD_MS},
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// A drain that has begun. Somebody asks it every [`DRAIN_TICK`] what is to do.
pub struct Drain {
    /// Until then turns may end by themselves.
    deadline: Instant,
    /// Sessions that are told at once, at most.
    batch: usize,
    told: HashSet<ConnectionId>,
    interrupted: bool,
}

/// What is to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainOrders {
    /// These go away.
    pub close: Vec<GoAwayOrder>,
    /// The time of the turns is over: said once.
    pub interrupt_turns: bool,
    /// Nothing is left, or what is left will not go.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoAwayOrder {
    pub connection_id: ConnectionId,
    pub reconnect_after_ms: u64,
}

/// When a client comes back that is told to go. `random` is any number: each client gets a time of its own.
pub fn reconnect_after_ms(random: u32) -> u64 {
    RECONNECT_AFTER_MIN_MS + u64::from(random) % RECONNECT_SPREAD_MS
}

impl Drain {
    /// Begins a drain of so many sessions.
    pub fn new(now: Instant, timeout: Duration, sessions: usize) -> Self {
        // However many there are, those without a turn know after a third of the time.
        let ticks = (timeout.as_millis() / 3 / DRAIN_TICK.as_millis()).max(1);
        let ticks = usize::try_from(ticks).unwrap_or(usize::MAX);
        Self {
            deadline: now + timeout,
            batch: sessions.div_ceil(ticks).max(DRAIN_BATCH_CONNECTIONS),
            told: HashSet::new(),
            interrupted: false,
        }
    }

    /// Takes the sessions that are open, each with whether it has a running turn, how many turns run in all, and how many HTTP
    /// answers have yet to reach their readers.
    /// `random` gives any number; each client gets a time of its own to come back.
    pub fn next(
        &mut self,
        now: Instant,
        sessions: impl Iterator<Item = (ConnectionId, bool)>,
        running_turns: usize,
        unsent_answers: usize,
        mut random: impl FnMut() -> u32,
    ) -> DrainOrders {
        let (mut open, mut close) = (0, Vec::new());
        for (connection_id, is_busy) in sessions {
            open += 1;
            if !is_busy && close.len() < self.batch && self.told.insert(connection_id) {
                close.push(GoAwayOrder { connection_id, reconnect_after_ms: reconnect_after_ms(random()) });
            }
        }
        let interrupt_turns = !self.interrupted && self.deadline <= now && running_turns > 0;
        self.interrupted |= interrupt_turns;
        let done = open + running_turns + unsent_answers == 0 || self.deadline + DRAIN_CLOSE_TIMEOUT <= now;
        DrainOrders { close, interrupt_turns, done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn ids(count: usize) -> Vec<ConnectionId> {
        (0..count).map(|_| ConnectionId::new()).collect()
    }

    fn closed(orders: &DrainOrders) -> Vec<ConnectionId> {
        orders.close.iter().map(|order| order.connection_id).collect()
    }

    #[test]
    fn an_idle_server_is_done_at_once() {
        let now = Instant::now();
        let orders = Drain::new(now, TIMEOUT, 0).next(now, [].into_iter(), 0, 0, || 0);
        assert_eq!(orders, DrainOrders { done: true, ..DrainOrders::default() });
    }

    #[test]
    fn sessions_are_told_once_in_batches() {
        let (now, sessions) = (Instant::now(), ids(DRAIN_BATCH_CONNECTIONS + 1));
        let mut drain = Drain::new(now, TIMEOUT, sessions.len());
        let mut next = || drain.next(now, sessions.iter().map(|id| (*id, false)), 0, 0, || 0);
        let (first, second, third) = (next(), next(), next());
        assert_eq!((first.close.len(), second.close.len(), third.close.len()), (DRAIN_BATCH_CONNECTIONS, 1, 0));
        assert!(!closed(&first).contains(&closed(&second)[0]));
        assert!(!third.done, "they are still there");
    }

    #[test]
    fn very_many_sessions_are_told_within_a_third_of_the_time() {
        let (now, count) = (Instant::now(), 1_000_000);
        let drain = Drain::new(now, TIMEOUT, count);
        assert_eq!(drain.batch, 10_000);
        assert_eq!(Drain::new(now, Duration::ZERO, count).batch, count);
    }

    #[test]
    fn a_session_with_a_turn_goes_when_the_turn_has_ended() {
        let (now, sessions) = (Instant::now(), ids(2));
        let mut drain = Drain::new(now, TIMEOUT, 2);
        let first = drain.next(now, [(sessions[0], true), (sessions[1], false)].into_iter(), 1, 0, || 0);
        assert_eq!(closed(&first), [sessions[1]]);
        let second = drain.next(now, [(sessions[0], false)].into_iter(), 0, 0, || 0);
        assert_eq!(closed(&second), [sessions[0]]);
        assert!(drain.next(now, [].into_iter(), 0, 0, || 0).done);
    }

    #[test]
    fn turns_are_interrupted_once_when_the_time_is_over() {
        let (now, session) = (Instant::now(), ConnectionId::new());
        let mut drain = Drain::new(now, TIMEOUT, 1);
        let mut at = |after: Duration| {
            let orders = drain.next(now + after, [(session, true)].into_iter(), 1, 0, || 0);
            (orders.interrupt_turns, orders.done)
        };
        assert_eq!(at(TIMEOUT - DRAIN_TICK), (false, false));
        assert_eq!(at(TIMEOUT), (true, false));
        assert_eq!(at(TIMEOUT + DRAIN_TICK), (false, false));
        assert_eq!(at(TIMEOUT + DRAIN_CLOSE_TIMEOUT), (false, true));
    }

    #[test]
    fn readers_of_answers_are_waited_for_as_long_as_turns_and_their_last_call() {
        let now = Instant::now();
        let mut drain = Drain::new(now, TIMEOUT, 0);
        let mut is_done = |after: Duration, unsent| drain.next(now + after, [].into_iter(), 0, unsent, || 0).done;
        assert!(!is_done(Duration::ZERO, 2) && !is_done(TIMEOUT, 1));
        assert!(is_done(TIMEOUT, 0) && is_done(TIMEOUT + DRAIN_CLOSE_TIMEOUT, 1));
    }

    #[test]
    fn clients_come_back_at_different_times() {
        let (now, sessions) = (Instant::now(), ids(2));
        let mut numbers = [0, u32::MAX].into_iter();
        let mut drain = Drain::new(now, TIMEOUT, 2);
        let orders = drain.next(now, sessions.iter().map(|id| (*id, false)), 0, 0, || numbers.next().unwrap());
        let times: Vec<_> = orders.close.iter().map(|order| order.reconnect_after_ms).collect();
        let range = RECONNECT_AFTER_MIN_MS..RECONNECT_AFTER_MIN_MS + RECONNECT_SPREAD_MS;
        assert!(times[0] != times[1] && times.iter().all(|time| range.contains(time)), "{times:?}");
    }
}
