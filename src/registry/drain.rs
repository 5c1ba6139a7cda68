//! The drain of a server: idle connections are closed first, in batches; turns may finish until the deadline.

use crate::{
    domain::ConnectionId,
    limits::{DRAIN_BATCH_CONNECTIONS, DRAIN_CLOSE_TIMEOUT, DRAIN_TICK, RECONNECT_AFTER_MIN_MS, RECONNECT_SPREAD_MS},
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// A drain in progress; [`Drain::next`] is called every [`DRAIN_TICK`].
pub struct Drain {
    /// Turns that still run then are interrupted.
    deadline: Instant,
    /// Most connections to close in one tick.
    batch: usize,
    /// Connections that were told to go away.
    told: HashSet<ConnectionId>,
    interrupted: bool,
}

/// Instructions for one tick of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainOrders {
    /// Connections to close.
    pub close: Vec<GoAwayOrder>,
    /// Whether to interrupt the running turns: `true` once, when the deadline passes.
    pub interrupt_turns: bool,
    /// Whether everything is closed, or the last wait is over.
    pub done: bool,
}

/// Instruction to close one connection with `going_away`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoAwayOrder {
    pub connection_id: ConnectionId,
    pub reconnect_after_ms: u64,
}

/// Time after which a client should reconnect, in milliseconds. `random` spreads the clients, so that they do not all return at once.
pub fn reconnect_after_ms(random: u32) -> u64 {
    RECONNECT_AFTER_MIN_MS + u64::from(random) % RECONNECT_SPREAD_MS
}

impl Drain {
    /// Starts a drain of `connections` connections.
    pub fn new(now: Instant, timeout: Duration, connections: usize) -> Self {
        // The batch grows with the number of connections: all idle ones are told within a third of the timeout.
        let ticks = (timeout.as_millis() / 3 / DRAIN_TICK.as_millis()).max(1);
        let ticks = usize::try_from(ticks).unwrap_or(usize::MAX);
        Self {
            deadline: now + timeout,
            batch: connections.div_ceil(ticks).max(DRAIN_BATCH_CONNECTIONS),
            told: HashSet::new(),
            interrupted: false,
        }
    }

    /// Returns the instructions for this tick.
    ///
    /// `connections` are the open ones, each with whether it has a running turn; `running_turns` and `unsent_answers` (HTTP
    /// responses with unsent bytes) count the whole server; `random` supplies numbers for [`reconnect_after_ms`].
    pub fn next(
        &mut self,
        now: Instant,
        connections: impl Iterator<Item = (ConnectionId, bool)>,
        running_turns: usize,
        unsent_answers: usize,
        mut random: impl FnMut() -> u32,
    ) -> DrainOrders {
        let (mut open, mut close) = (0, Vec::new());
        for (connection_id, is_busy) in connections {
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
    fn connections_are_closed_once_in_batches() {
        let (now, connections) = (Instant::now(), ids(DRAIN_BATCH_CONNECTIONS + 1));
        let mut drain = Drain::new(now, TIMEOUT, connections.len());
        let mut next = || drain.next(now, connections.iter().map(|id| (*id, false)), 0, 0, || 0);
        let (first, second, third) = (next(), next(), next());
        assert_eq!((first.close.len(), second.close.len(), third.close.len()), (DRAIN_BATCH_CONNECTIONS, 1, 0));
        assert!(!closed(&first).contains(&closed(&second)[0]));
        assert!(!third.done, "the connections are still open");
    }

    #[test]
    fn idle_connections_are_closed_within_a_third_of_the_timeout() {
        let (now, count) = (Instant::now(), 1_000_000);
        let drain = Drain::new(now, TIMEOUT, count);
        assert_eq!(drain.batch, 10_000);
        assert_eq!(Drain::new(now, Duration::ZERO, count).batch, count);
    }

    #[test]
    fn a_connection_with_a_turn_is_closed_after_the_turn() {
        let (now, connections) = (Instant::now(), ids(2));
        let mut drain = Drain::new(now, TIMEOUT, 2);
        let first = drain.next(now, [(connections[0], true), (connections[1], false)].into_iter(), 1, 0, || 0);
        assert_eq!(closed(&first), [connections[1]]);
        let second = drain.next(now, [(connections[0], false)].into_iter(), 0, 0, || 0);
        assert_eq!(closed(&second), [connections[0]]);
        assert!(drain.next(now, [].into_iter(), 0, 0, || 0).done);
    }

    #[test]
    fn turns_are_interrupted_once_at_the_deadline() {
        let (now, connection) = (Instant::now(), ConnectionId::new());
        let mut drain = Drain::new(now, TIMEOUT, 1);
        let mut at = |after: Duration| {
            let orders = drain.next(now + after, [(connection, true)].into_iter(), 1, 0, || 0);
            (orders.interrupt_turns, orders.done)
        };
        assert_eq!(at(TIMEOUT - DRAIN_TICK), (false, false));
        assert_eq!(at(TIMEOUT), (true, false));
        assert_eq!(at(TIMEOUT + DRAIN_TICK), (false, false));
        assert_eq!(at(TIMEOUT + DRAIN_CLOSE_TIMEOUT), (false, true));
    }

    #[test]
    fn unsent_answers_delay_the_end_until_the_last_call() {
        let now = Instant::now();
        let mut drain = Drain::new(now, TIMEOUT, 0);
        let mut is_done = |after: Duration, unsent| drain.next(now + after, [].into_iter(), 0, unsent, || 0).done;
        assert!(!is_done(Duration::ZERO, 2) && !is_done(TIMEOUT, 1));
        assert!(is_done(TIMEOUT, 0) && is_done(TIMEOUT + DRAIN_CLOSE_TIMEOUT, 1));
    }

    #[test]
    fn clients_reconnect_at_different_times() {
        let (now, connections) = (Instant::now(), ids(2));
        let mut numbers = [0, u32::MAX].into_iter();
        let mut drain = Drain::new(now, TIMEOUT, 2);
        let orders = drain.next(now, connections.iter().map(|id| (*id, false)), 0, 0, || numbers.next().unwrap());
        let times: Vec<_> = orders.close.iter().map(|order| order.reconnect_after_ms).collect();
        let range = RECONNECT_AFTER_MIN_MS..RECONNECT_AFTER_MIN_MS + RECONNECT_SPREAD_MS;
        assert!(times[0] != times[1] && times.iter().all(|time| range.contains(time)), "{times:?}");
    }
}
