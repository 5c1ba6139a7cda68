//! Heartbeat of a connection: when to ping, the round-trip time of pongs, and the timeout of a silent peer. Pure.

use crate::pause;
use std::time::{Duration, Instant};

/// The length of a ping's payload, which is the age of the connection in microseconds.
pub const PING_BYTES: usize = size_of::<u64>();

/// The heartbeat of one connection.
pub struct Heartbeat {
    opened_at: Instant,
    last_received_at: Instant,
    /// One interval after the last ping, or after the connection opened.
    next_at: Instant,
    /// Whether the last ping is unanswered.
    awaits_pong: bool,
}

/// The action that a heartbeat requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatAction {
    Ping([u8; PING_BYTES]),
    /// The peer was silent for longer than the timeout.
    TimeOut,
}

impl Heartbeat {
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self { opened_at: now, last_received_at: now, next_at: now + interval, awaits_pong: false }
    }

    pub fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// When [`Heartbeat::poll`] may next return an action.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Records that the peer sent something.
    pub fn on_received(&mut self, now: Instant) {
        self.last_received_at = now;
    }

    /// Returns the action that is due, if any. After a pause of the process the peer is pinged instead of timed out: it may
    /// have had no ping to answer, and what it sent was not read.
    pub fn poll(&mut self, now: Instant, interval: Duration, timeout: Duration) -> Option<HeartbeatAction> {
        if now < self.next_at {
            return None;
        }
        let is_late = pause::lateness(self.next_at, now).is_some();
        if !is_late && now.duration_since(self.last_received_at) >= timeout {
            return Some(HeartbeatAction::TimeOut);
        }
        self.next_at = now + interval;
        self.awaits_pong = true;
        Some(HeartbeatAction::Ping(self.payload(now)))
    }

    /// Returns the round-trip time of the last ping if this is the first pong with its payload.
    pub fn on_pong(&mut self, payload: &[u8], now: Instant, interval: Duration) -> Option<Duration> {
        let pinged_at = self.next_at.checked_sub(interval)?;
        if !self.awaits_pong || payload != self.payload(pinged_at) {
            return None;
        }
        self.awaits_pong = false;
        Some(now.saturating_duration_since(pinged_at))
    }

    /// Returns a payload that is unique to each ping.
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
        match heartbeat.poll(now, INTERVAL, TIMEOUT) {
            Some(HeartbeatAction::Ping(payload)) => payload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pong_counts_once_and_only_for_the_last_ping() {
        let opened_at = Instant::now();
        let mut heartbeat = Heartbeat::new(opened_at, INTERVAL);
        assert_eq!(heartbeat.on_pong(&[0; PING_BYTES], opened_at, INTERVAL), None, "no ping was sent");
        assert_eq!(heartbeat.poll(opened_at + INTERVAL - Duration::from_millis(1), INTERVAL, TIMEOUT), None);
        let first_at = opened_at + INTERVAL;
        let first = ping(&mut heartbeat, first_at);
        let second_at = first_at + INTERVAL + Duration::from_millis(3);
        heartbeat.on_received(second_at);
        let second = ping(&mut heartbeat, second_at);
        let later = second_at + Duration::from_millis(7);
        assert_eq!(heartbeat.on_pong(&first, later, INTERVAL), None, "the pong of an earlier ping");
        assert_eq!(heartbeat.on_pong(b"", later, INTERVAL), None);
        assert_eq!(heartbeat.on_pong(&second, later, INTERVAL), Some(Duration::from_millis(7)));
        assert_eq!(heartbeat.on_pong(&second, later, INTERVAL), None, "a second pong");
    }

    #[test]
    fn peer_is_pinged_before_it_times_out_after_a_pause_of_the_process() {
        let opened_at = Instant::now();
        let pause = |heartbeat: &mut Heartbeat| {
            ping(heartbeat, opened_at + INTERVAL);
            let continued = opened_at + 100 * TIMEOUT;
            ping(heartbeat, continued);
            assert_eq!(heartbeat.poll(continued, INTERVAL, TIMEOUT), None);
            continued
        };
        let mut silent_peer = Heartbeat::new(opened_at, INTERVAL);
        let continued = pause(&mut silent_peer);
        assert_eq!(silent_peer.poll(continued + INTERVAL, INTERVAL, TIMEOUT), Some(HeartbeatAction::TimeOut));
        let mut live_peer = Heartbeat::new(opened_at, INTERVAL);
        let continued = pause(&mut live_peer);
        live_peer.on_received(continued + INTERVAL / 2);
        ping(&mut live_peer, continued + INTERVAL);
    }

    #[test]
    fn silent_peer_times_out() {
        let opened_at = Instant::now();
        let mut heartbeat = Heartbeat::new(opened_at, INTERVAL);
        ping(&mut heartbeat, opened_at + INTERVAL);
        ping(&mut heartbeat, opened_at + 2 * INTERVAL);
        assert_eq!(heartbeat.poll(opened_at + TIMEOUT, INTERVAL, TIMEOUT), Some(HeartbeatAction::TimeOut));
        heartbeat.on_received(opened_at + TIMEOUT);
        ping(&mut heartbeat, opened_at + TIMEOUT);
    }
}
