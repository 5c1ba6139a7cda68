//! What is known of a live session from outside, without asking it: a session whose reader has stopped answers nothing.

use crate::{
    domain::{SessionId, UnixMillis, UserId},
    protocol::Dialect,
    turn::{Followed, TurnLog},
};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
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
    turns: Mutex<Vec<Followed>>,
    last_received_ms: AtomicI64,
    last_sent_ms: AtomicI64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    tokens_sent: AtomicU64,
    asks: AtomicU64,
    holds_back: AtomicBool,
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
            asks: AtomicU64::default(),
            holds_back: AtomicBool::default(),
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

    pub fn set_user(&self, user: UserId) {
        *lock(&self.user) = Some(user);
    }

    pub fn user(&self) -> Option<UserId> {
        *lock(&self.user)
    }

    pub fn add_turn(&self, followed: Followed) {
        lock(&self.turns).push(followed);
    }

    pub fn remove_turn(&self, turn: &Arc<TurnLog>) {
        lock(&self.turns).retain(|known| !Arc::ptr_eq(&known.turn, turn));
    }

    pub fn turns(&self) -> Vec<Followed> {
        lock(&self.turns).clone()
    }

    /// Whether it follows a turn that is not at its end for it.
    pub fn has_turns(&self) -> bool {
        !lock(&self.turns).is_empty()
    }

    /// The connection asked for more to send, which it does only while little waits there.
    pub fn asked_for_more(&self) {
        self.asks.fetch_add(1, Relaxed);
    }

    /// How often the connection has asked: a number that stands still belongs to a peer that does not read.
    pub fn asks(&self) -> u64 {
        self.asks.load(Relaxed)
    }

    pub fn set_holds_back(&self, holds_back: bool) {
        self.holds_back.store(holds_back, Relaxed);
    }

    /// Whether the session waits for its connection to ask.
    pub fn holds_back(&self) -> bool {
        self.holds_back.load(Relaxed)
    }

    /// Whether something waits that the session has not written yet.
    pub fn is_behind(&self) -> bool {
        self.holds_back() || lock(&self.turns).iter().any(|followed| followed.follower.is_behind())
    }

    /// The text of turns that the session has not written yet, in bytes.
    pub fn bytes_waiting(&self) -> u64 {
        lock(&self.turns).iter().map(|followed| followed.turn.bytes_waiting_for(&followed.follower) as u64).sum()
    }

    /// Takes the session out of the turns it follows, without its help.
    pub fn leave_turns(&self) {
        for followed in lock(&self.turns).drain(..) {
            followed.turn.unfollow(&followed.follower);
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
