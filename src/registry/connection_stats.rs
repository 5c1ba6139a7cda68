//! What is known of a live session from outside, without asking it: a session whose reader has stopped answers nothing.

use super::Tap;
use crate::{
    auth::Identity,
    domain::{ConnectionId, UnixMillis, UserId},
    protocol::Dialect,
    turn::{SubscribedTurn, TurnLog},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A session's signs of life. The session writes, anyone reads.
pub struct ConnectionStats {
    pub connection_id: ConnectionId,
    pub dialect: Dialect,
    /// The peer's IP address.
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
    /// How long the last ping took, in microseconds; 0 before the first.
    round_trip_us: AtomicU32,
}

/// Frames and bytes that went one way. Bytes are those of payloads, without WebSocket framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub frames: u64,
    pub bytes: u64,
    pub last_at: UnixMillis,
}

impl ConnectionStats {
    pub fn new(connection_id: ConnectionId, dialect: Dialect, address: String, user_agent: String) -> Arc<Self> {
        let now = UnixMillis::now();
        Arc::new(Self {
            connection_id,
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

    /// Where the shapes of its frames can be watched.
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

    /// A limit said no to what the peer sent.
    pub fn violated(&self) {
        self.violations.fetch_add(1, Relaxed);
    }

    /// How often a limit said no.
    pub fn violations(&self) -> u32 {
        self.violations.load(Relaxed)
    }

    /// A ping was answered after this time.
    pub fn set_round_trip(&self, took: Duration) {
        self.round_trip_us.store(u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1), Relaxed);
    }

    /// How long the last ping took.
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

    /// How many it follows.
    pub fn turn_count(&self) -> usize {
        lock(&self.turns).len()
    }

    /// Whether it follows a turn that is not at its end for it.
    pub fn has_turns(&self) -> bool {
        !lock(&self.turns).is_empty()
    }

    /// The connection asked for more to send, which it does only when nothing waits there.
    pub fn asked_for_more(&self) {
        self.asks.fetch_add(1, Relaxed);
    }

    /// How often the connection has asked: a number that stands still belongs to a peer that does not read.
    pub fn asks(&self) -> u64 {
        self.asks.load(Relaxed)
    }

    pub fn set_waits_for_credit(&self, waits_for_credit: bool) {
        self.waits_for_credit.store(waits_for_credit, Relaxed);
    }

    /// Whether the session waits for its connection to ask.
    pub fn waits_for_credit(&self) -> bool {
        self.waits_for_credit.load(Relaxed)
    }

    /// Whether something waits that the session has not written yet.
    pub fn is_lagging(&self) -> bool {
        self.waits_for_credit() || lock(&self.turns).iter().any(|subscribed| subscribed.subscriber.is_lagging())
    }

    /// The text of turns that the session has not written yet, in bytes.
    pub fn bytes_waiting(&self) -> u64 {
        lock(&self.turns)
            .iter()
            .map(|subscribed| subscribed.turn.bytes_waiting_for(&subscribed.subscriber) as u64)
            .sum()
    }

    /// Takes the session out of the turns it follows, without its help.
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

/// Every value that these locks guard is whole at any time, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
