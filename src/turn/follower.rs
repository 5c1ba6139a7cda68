//! Those who follow a turn, as its log sees them.

use super::{Progress, TurnLog};
use actix::Recipient;
use bytestring::ByteString;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::mpsc;

/// News of a turn, through a mailbox. It carries its log, so that the receiver can read there what it missed.
#[derive(Clone, actix::Message)]
#[rtype(result = "()")]
pub struct TurnEvent {
    pub turn: Arc<TurnLog>,
    pub kind: TurnEventKind,
}

#[derive(Clone)]
pub enum TurnEventKind {
    Progress { index: usize, progress: Arc<Progress> },
    Token { seq: u32, text: ByteString },
    Ended,
}

/// Where news goes. It must never block.
pub trait TurnSink: Send + Sync {
    /// `false` when there is no room now, or nobody any more.
    fn try_deliver(&self, event: TurnEvent) -> bool;
}

impl TurnSink for Recipient<TurnEvent> {
    fn try_deliver(&self, event: TurnEvent) -> bool {
        self.try_send(event).is_ok()
    }
}

/// A follower that is no actor: an HTTP answer that streams.
pub struct ChannelSink(pub mpsc::Sender<TurnEvent>);

impl TurnSink for ChannelSink {
    fn try_deliver(&self, event: TurnEvent) -> bool {
        self.0.try_send(event).is_ok()
    }
}

/// A follower: a sink, and whether it is behind. Clones are the same follower.
#[derive(Clone)]
pub struct Follower {
    sink: Arc<dyn TurnSink>,
    behind: Arc<AtomicBool>,
}

impl Follower {
    pub fn new(sink: Arc<dyn TurnSink>) -> Self {
        Self { sink, behind: Arc::new(AtomicBool::new(false)) }
    }

    /// Delivers, unless the follower is behind: then it finds everything in the log.
    ///
    /// The mark is set before the try and taken back after it. A sink that was full holds events which its owner has
    /// yet to handle; handling them, the owner sees the mark, however the two threads interleave.
    pub(super) fn deliver(&self, event: TurnEvent) {
        if !self.behind.swap(true, Ordering::SeqCst) && self.sink.try_deliver(event) {
            self.behind.store(false, Ordering::SeqCst);
        }
    }

    /// Whether news was left in the log. The owner asks after each event it handles.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::SeqCst)
    }

    /// Only under the log's lock, by an owner that has read all of it.
    pub(super) fn caught_up(&self) {
        self.behind.store(false, Ordering::SeqCst);
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.behind, &other.behind)
    }
}
