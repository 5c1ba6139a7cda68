//! Those who follow a turn, as its log sees them.

use super::{Progress, TurnLog};
use actix::Recipient;
use bytestring::ByteString;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::mpsc::{self, error::TrySendError};

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

/// Where news goes.
pub trait TurnSink: Send + Sync {
    /// Never blocks.
    ///
    /// # Errors
    /// The event itself, when there is no room now, or nobody any more.
    fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent>;
}

impl TurnSink for Recipient<TurnEvent> {
    fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent> {
        self.try_send(event).map_err(actix::prelude::SendError::into_inner)
    }
}

/// A reader that is no actor: an HTTP answer that streams.
impl TurnSink for mpsc::Sender<TurnEvent> {
    fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent> {
        self.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) | TrySendError::Closed(event) => event,
        })
    }
}

/// The place where one reader gets the news of all the turns it follows.
#[derive(Clone)]
pub struct Mailbox {
    sink: Arc<dyn TurnSink>,
    overflowed: Arc<AtomicBool>,
}

impl Mailbox {
    pub fn new(sink: impl TurnSink + 'static) -> Self {
        Self { sink: Arc::new(sink), overflowed: Arc::default() }
    }

    /// A follower of one more turn.
    pub fn follower(&self) -> Follower {
        Follower { mailbox: self.clone(), behind: Arc::default() }
    }

    /// Whether news of any turn found no room since this was asked last. The reader asks after each event it handles,
    /// and then looks which of its followers are behind.
    pub fn take_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::SeqCst) && self.overflowed.swap(false, Ordering::SeqCst)
    }
}

/// One reader of one turn, and whether it is behind. Clones are the same follower.
#[derive(Clone)]
pub struct Follower {
    mailbox: Mailbox,
    behind: Arc<AtomicBool>,
}

impl Follower {
    /// Delivers, unless the follower is behind: then it finds everything in the log.
    pub(super) fn deliver(&self, event: TurnEvent) {
        if self.is_behind() {
            return;
        }
        if let Err(event) = self.mailbox.sink.try_deliver(event) {
            self.behind.store(true, Ordering::SeqCst);
            self.mailbox.overflowed.store(true, Ordering::SeqCst);
            // The reader may have emptied its mailbox between the try and the marks, and would never look. If there is
            // room now, this event makes it look; if not, one that waits there does.
            let _ = self.mailbox.sink.try_deliver(event);
        }
    }

    /// Whether news was left in the log.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::SeqCst)
    }

    /// Only under the log's lock, by a reader that takes all there is.
    pub(super) fn caught_up(&self) {
        self.behind.store(false, Ordering::SeqCst);
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.behind, &other.behind)
    }
}
