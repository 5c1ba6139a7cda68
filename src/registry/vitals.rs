//! What is known of a live session from outside, without asking it: a session whose reader has stopped answers nothing.

use crate::{
    domain::{SessionId, UnixMillis, UserId},
    protocol::Dialect,
    turn::TurnLog,
};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

/// A session's signs of life. The session writes, anyone reads.
pub struct Vitals {
    pub session_id: SessionId,
    pub dialect: Dialect,
    /// The peer's IP address.
    pub address: String,
    pub user_agent: String,
    pub opened_at: UnixMillis,
    user: Mutex<Option<UserId>>,
    turns: Mutex<Vec<Arc<TurnLog>>>,
    last_received_ms: AtomicI64,
    last_sent_ms: AtomicI64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    tokens_sent: AtomicU64,
}

/// Frames and bytes that went one way. Bytes are those of payloads, without WebSocket framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub frames: u64,
    pub bytes: u64,
    pub last_at: UnixMillis,
}

impl Vitals {
    pub fn new(session_id: SessionId, dialect: Dialect, address: String, user_agent: String) -> Arc<Self> {
        let now = UnixMillis::now();
        Arc::new(Self {
            session_id,
            dialect,
            address,
            user_agent,
            opened_at: now,
            user: Mutex::default(),
            turns: Mutex::default(),
            last_received_ms: AtomicI64::new(now.0),
            last_sent_ms: AtomicI64::new(now.0),
            frames_received: AtomicU64::default(),
            bytes_received: AtomicU64::default(),
            frames_sent: AtomicU64::default(),
            bytes_sent: AtomicU64::default(),
            tokens_sent: AtomicU64::default(),
        })
    }

    pub fn received_frame(&self, bytes: usize) {
        self.last_received_ms.store(UnixMillis::now().0, Relaxed);
        self.frames_received.fetch_add(1, Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub fn sent_frame(&self, bytes: usize, tokens: u32) {
        self.last_sent_ms.store(UnixMillis::now().0, Relaxed);
        self.frames_sent.fetch_add(1, Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
        self.tokens_sent.fetch_add(u64::from(tokens), Relaxed);
    }

    pub fn set_user(&self, user: UserId) {
        *lock(&self.user) = Some(user);
    }

    pub fn user(&self) -> Option<UserId> {
        *lock(&self.user)
    }

    pub fn add_turn(&self, turn: Arc<TurnLog>) {
        lock(&self.turns).push(turn);
    }

    pub fn remove_turn(&self, turn: &Arc<TurnLog>) {
        lock(&self.turns).retain(|known| !Arc::ptr_eq(known, turn));
    }

    pub fn turns(&self) -> Vec<Arc<TurnLog>> {
        lock(&self.turns).clone()
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
