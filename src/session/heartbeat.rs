//! Signs of life: when a peer is pinged, how long its pong takes, when it counts as gone. Pure.

use crate::pause;
use std::time::{Duration, Instant};

/// The payload of a ping: when it was sent, as the session counts.
pub const PING_BYTES: usize = size_of::<u64>();

/// Of one session.
pub struct Heartbeat {
    opened_at: Instant,
    last_received_at: Instant,
    /// One interval behind the last ping, or behind the opening.
    next_at: Instant,
    /// Whether the last ping has yet to be answered.
    awaits_pong: bool,
}

/// What is to do when the time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    Ping([u8; PING_BYTES]),
    /// Nothing has come for too long.
    Gone,
}

impl Heartbeat {
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self { opened_at: now, last_received_at: now, next_at: now + interval, awaits_pong: false }
    }

    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// When [`Heartbeat::beat`] has something to do.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// The peer gave a sign of life.
    pub fn on_received(&mut self, now: Instant) {
        self.last_received_at = now;
    }

    /// Returns the action that is due, if any. After a pause of the process a peer is pinged first, as its signs of life could not be
    /// heard meanwhile, and it may have had no ping to answer.
    pub fn beat(&mut self, now: Instant, interval: Duration, timeout: Duration) -> Option<Beat> {
        if now < self.next_at {
            return None;
        }
        let is_late = pause::lateness(self.next_at, now).is_some();
        if !is_late && now.duration_since(self.last_received_at) >= timeout {
            return Some(Beat::Gone);
        }
        self.next_at = now + interval;
        self.awaits_pong = true;
        Some(Beat::Ping(self.payload(now)))
    }

    /// How long the last ping took, when this is its pong and the first one.
    pub fn on_pong(&mut self, payload: &[u8], now: Instant, interval: Duration) -> Option<Duration> {
        let pinged_at = self.next_at.checked_sub(interval)?;
        if !self.awaits_pong || payload != self.payload(pinged_at) {
            return None;
        }
        self.awaits_pong = false;
        Some(now.saturating_duration_since(pinged_at))
    }

    /// Another one for each ping.
    fn payload(&self, at: Instant) -> [u8; PING_BYTES] {
        let age = at.saturating_duration_since(self.opened_at);
        u64::try_from(age.as_micros()).unwrap_or(u64::MAX).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(20);
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn ping(heartbeat: &mut Heartbeat, now: Instant) -> [u8; PING_BYTES] {
        match heartbeat.beat(now, INTERVAL, TIMEOUT) {
            Some(Beat::Ping(payload)) => payload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pong_counts_once_and_only_for_its_ping() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began, INTERVAL);
        assert_eq!(heartbeat.on_pong(&[0; PING_BYTES], began, INTERVAL), None, "nobody asked");
        assert_eq!(heartbeat.beat(began + INTERVAL - Duration::from_millis(1), INTERVAL, TIMEOUT), None);
        let first_at = began + INTERVAL;
        let first = ping(&mut heartbeat, first_at);
        let second_at = first_at + INTERVAL + Duration::from_millis(3);
        heartbeat.on_received(second_at);
        let second = ping(&mut heartbeat, second_at);
        let later = second_at + Duration::from_millis(7);
        assert_eq!(heartbeat.on_pong(&first, later, INTERVAL), None, "it is late");
        assert_eq!(heartbeat.on_pong(b"", later, INTERVAL), None);
        assert_eq!(heartbeat.on_pong(&second, later, INTERVAL), Some(Duration::from_millis(7)));
        assert_eq!(heartbeat.on_pong(&second, later, INTERVAL), None, "it came before");
    }

    #[test]
    fn after_a_pause_of_the_process_a_peer_is_pinged_and_has_an_interval_to_answer() {
        let began = Instant::now();
        let silent = |heartbeat: &mut Heartbeat| {
            ping(heartbeat, began + INTERVAL);
            let continued = began + 100 * TIMEOUT;
            ping(heartbeat, continued);
            assert_eq!(heartbeat.beat(continued, INTERVAL, TIMEOUT), None);
            continued
        };
        let mut gone = Heartbeat::new(began, INTERVAL);
        let continued = silent(&mut gone);
        assert_eq!(gone.beat(continued + INTERVAL, INTERVAL, TIMEOUT), Some(Beat::Gone));
        let mut there = Heartbeat::new(began, INTERVAL);
        let continued = silent(&mut there);
        there.on_received(continued + INTERVAL / 2);
        ping(&mut there, continued + INTERVAL);
    }

    #[test]
    fn who_says_nothing_for_too_long_is_gone() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began, INTERVAL);
        ping(&mut heartbeat, began + INTERVAL);
        ping(&mut heartbeat, began + 2 * INTERVAL);
        assert_eq!(heartbeat.beat(began + TIMEOUT, INTERVAL, TIMEOUT), Some(Beat::Gone));
        heartbeat.on_received(began + TIMEOUT);
        ping(&mut heartbeat, began + TIMEOUT);
    }
}
