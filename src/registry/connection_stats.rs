//! Connection statistics, readable without messaging the session, which cannot reply while stalled.

use super::{ConnectionKind, Tap};
use crate::{
    auth::Identity,
    domain::{ConnectionId, UnixMillis, UserId},
    turn::{SubscribedTurn, TurnLog},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use switchboard_protocol::Dialect;

/// Statistics and state of one connection. The session actor writes, any thread reads.
pub struct ConnectionStats {
    pub connection_id: ConnectionId,
    pub kind: ConnectionKind,
    /// `None` for operators' connections, which have a protocol of their own.
    pub dialect: Option<Dialect>,
    /// IP address of the client.
    pub address: String,
    pub user_agent: String,
    pub opened_at: UnixMillis,
    /// Shared with the session.
    identity: Mutex<Option<Arc<Identity>>>,
    turns: Mutex<Vec<SubscribedTurn>>,
    last_received_ms: AtomicI64,
    last_sent_ms: AtomicI64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    tokens_sent: AtomicU64,
    asks: AtomicU64,
    tap: Tap,
    waits_for_credit: AtomicBool,
    violations: AtomicU32,
    /// Round-trip time of the last ping in microseconds; 0 before the first.
    round_trip_us: AtomicU32,
}

/// Frames and bytes in one direction. Bytes count payloads, without WebSocket framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub frames: u64,
    pub bytes: u64,
    pub last_at: UnixMillis,
}

impl ConnectionStats {
    /// Creates the statistics of a chat connection.
    pub fn new(connection_id: ConnectionId, dialect: Dialect, address: String, user_agent: String) -> Arc<Self> {
        Self::of_kind(ConnectionKind::Chat, connection_id, Some(dialect), address, user_agent)
    }

    /// Creates the statistics of a connection of any kind.
    pub fn of_kind(
        kind: ConnectionKind,
        connection_id: ConnectionId,
        dialect: Option<Dialect>,
        address: String,
        user_agent: String,
    ) -> Arc<Self> {
        let now = UnixMillis::now();
        Arc::new(Self {
            connection_id,
            kind,
            dialect,
            address,
            user_agent,
            opened_at: now,
            identity: Mutex::default(),
            turns: Mutex::default(),
            last_received_ms: AtomicI64::new(now.0),
            last_sent_ms: AtomicI64::new(now.0),
            frames_received: AtomicU64::default(),
            bytes_received: AtomicU64::default(),
            frames_sent: AtomicU64::default(),
            bytes_sent: AtomicU64::default(),
            tokens_sent: AtomicU64::default(),
            asks: AtomicU64::default(),
            tap: Tap::default(),
            waits_for_credit: AtomicBool::default(),
            violations: AtomicU32::default(),
            round_trip_us: AtomicU32::default(),
        })
    }

    pub fn received_frame(&self, bytes: usize) {
        self.last_received_ms.store(UnixMillis::now().0, Relaxed);
        self.frames_received.fetch_add(1, Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub fn sent_frame(&self, at: UnixMillis, bytes: usize, tokens: u32) {
        self.last_sent_ms.store(at.0, Relaxed);
        self.frames_sent.fetch_add(1, Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
        self.tokens_sent.fetch_add(u64::from(tokens), Relaxed);
    }

    /// The tap through which operators watch the shapes of frames.
    pub const fn tap(&self) -> &Tap {
        &self.tap
    }

    pub fn set_identity(&self, identity: Arc<Identity>) {
        *lock(&self.identity) = Some(identity);
    }

    pub fn identity(&self) -> Option<Arc<Identity>> {
        lock(&self.identity).clone()
    }

    pub fn user(&self) -> Option<UserId> {
        lock(&self.identity).as_ref().map(|identity| identity.user_id)
    }

    /// Counts a frame that a limit refused.
    pub fn violated(&self) {
        self.violations.fetch_add(1, Relaxed);
    }

    /// Number of frames that a limit refused.
    pub fn violations(&self) -> u32 {
        self.violations.load(Relaxed)
    }

    /// Records the round-trip time of a ping.
    pub fn set_round_trip(&self, took: Duration) {
        self.round_trip_us.store(u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1), Relaxed);
    }

    /// Round-trip time of the last ping.
    pub fn round_trip(&self) -> Option<Duration> {
        let took_us = self.round_trip_us.load(Relaxed);
        (took_us > 0).then(|| Duration::from_micros(took_us.into()))
    }

    pub fn add_turn(&self, subscribed: SubscribedTurn) {
        let mut turns = lock(&self.turns);
        turns.reserve_exact(1);
        turns.push(subscribed);
    }

    pub fn remove_turn(&self, turn: &Arc<TurnLog>) {
        lock(&self.turns).retain(|known| !Arc::ptr_eq(&known.turn, turn));
    }

    pub fn turns(&self) -> Vec<SubscribedTurn> {
        lock(&self.turns).clone()
    }

    /// Number of turns that the connection is subscribed to.
    pub fn turn_count(&self) -> usize {
        lock(&self.turns).len()
    }

    /// Whether the connection has yet to send the end of a turn.
    pub fn has_turns(&self) -> bool {
        !lock(&self.turns).is_empty()
    }

    /// Counts a poll of the response body, which happens only when the connection has sent everything before.
    pub fn asked_for_more(&self) {
        self.asks.fetch_add(1, Relaxed);
    }

    /// Number of polls of the response body; it stands still while the client does not read.
    pub fn asks(&self) -> u64 {
        self.asks.load(Relaxed)
    }

    pub fn set_waits_for_credit(&self, waits_for_credit: bool) {
        self.waits_for_credit.store(waits_for_credit, Relaxed);
    }

    /// Whether the session has used up its credit and waits for the connection to poll.
    pub fn waits_for_credit(&self) -> bool {
        self.waits_for_credit.load(Relaxed)
    }

    /// Whether there is a backlog to write.
    pub fn is_lagging(&self) -> bool {
        self.waits_for_credit() || lock(&self.turns).iter().any(|subscribed| subscribed.subscriber.is_lagging())
    }

    /// Size of the backlog, in bytes of text.
    pub fn bytes_waiting(&self) -> u64 {
        lock(&self.turns)
            .iter()
            .map(|subscribed| subscribed.turn.bytes_waiting_for(&subscribed.subscriber) as u64)
            .sum()
    }

    /// Ends the subscriptions to turns on behalf of a session that cannot do so itself.
    pub fn leave_turns(&self) {
        for subscribed in lock(&self.turns).drain(..) {
            subscribed.turn.unsubscribe(&subscribed.subscriber);
        }
    }

    pub fn received(&self) -> Traffic {
        Traffic {
            frames: self.frames_received.load(Relaxed),
            bytes: self.bytes_received.load(Relaxed),
            last_at: UnixMillis(self.last_received_ms.load(Relaxed)),
        }
    }

    pub fn sent(&self) -> Traffic {
        Traffic {
            frames: self.frames_sent.load(Relaxed),
            bytes: self.bytes_sent.load(Relaxed),
            last_at: UnixMillis(self.last_sent_ms.load(Relaxed)),
        }
    }

    pub fn tokens_sent(&self) -> u64 {
        self.tokens_sent.load(Relaxed)
    }
}

/// The guarded values are consistent between any two statements, so a poisoned lock is usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
