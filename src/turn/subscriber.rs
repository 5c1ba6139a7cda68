//! Those who follow a turn, as its log sees them.

use super::{Progress, TurnLog};
use crate::metrics::Metrics;
use actix::{Actor, Addr, Handler, dev::ToEnvelope};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
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
    Progress {
        index: usize,
        progress: Arc<Progress>,
    },
    /// Its text is in the log.
    Token {
        seq: u32,
    },
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

/// By its address, not as a `Recipient`: that is one more box to follow for each token.
impl<A> TurnSink for Addr<A>
where
    A: Actor + Handler<TurnEvent>,
    A::Context: ToEnvelope<A, TurnEvent>,
{
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
    metrics: Option<Arc<Metrics>>,
}

impl Mailbox {
    pub fn new(sink: impl TurnSink + 'static) -> Self {
        Self { sink: Arc::new(sink), overflowed: Arc::default(), metrics: None }
    }

    /// Counts how often there was no room.
    pub fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// A follower of one more turn.
    pub fn subscriber(&self) -> Subscriber {
        Subscriber { mailbox: self.clone(), state: Arc::default() }
    }

    /// Whether news of any turn found no room since this was asked last. The reader asks after each event it handles,
    /// and then looks which of its followers are behind.
    pub fn take_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::SeqCst) && self.overflowed.swap(false, Ordering::SeqCst)
    }
}

/// One reader of one turn, and how far it is. Clones are the same follower.
#[derive(Clone)]
pub struct Subscriber {
    mailbox: Mailbox,
    state: Arc<SubscriberState>,
}

#[derive(Default)]
struct SubscriberState {
    lagging: AtomicBool,
    holding: AtomicBool,
    next_seq: AtomicU32,
    /// Where the reader was when its peer was last asked for a sign of life.
    pinged_seq: AtomicU32,
    /// Where it was when that sign was asked for which came last.
    acknowledged_seq: AtomicU32,
}

impl Subscriber {
    /// Delivers, unless the follower is behind: then it finds everything in the log.
    pub(super) fn deliver(&self, event: TurnEvent) {
        let is_held = matches!(event.kind, TurnEventKind::Token { .. }) && self.state.holding.load(Ordering::SeqCst);
        if is_held || self.is_lagging() {
            return;
        }
        if let Err(event) = self.mailbox.sink.try_deliver(event) {
            self.mark_lagging();
            self.mailbox.overflowed.store(true, Ordering::SeqCst);
            if let Some(metrics) = &self.mailbox.metrics {
                metrics.mailbox_full.increment();
            }
            // The reader may have emptied its mailbox between the try and the marks, and would never look. If there is
            // room now, this event makes it look; if not, one that waits there does.
            let _ = self.mailbox.sink.try_deliver(event);
        }
    }

    /// Whether news was left in the log.
    pub fn is_lagging(&self) -> bool {
        self.state.lagging.load(Ordering::SeqCst)
    }

    /// The rest is left in the log. A reader that says so of itself comes back by itself.
    pub(super) fn mark_lagging(&self) {
        self.state.lagging.store(true, Ordering::SeqCst);
    }

    /// Only under the log's lock, by a reader that takes all there is.
    pub(super) fn mark_live(&self) {
        self.state.lagging.store(false, Ordering::SeqCst);
        self.state.holding.store(false, Ordering::SeqCst);
    }

    /// Leaves tokens in the log, without a word, until the reader catches up by itself: it wants to collect some.
    pub(super) fn hold(&self) {
        self.state.holding.store(true, Ordering::SeqCst);
    }

    /// The reader's place, for those who look from outside.
    pub(super) fn came_to(&self, next_seq: u32) {
        self.state.next_seq.store(next_seq, Ordering::Relaxed);
    }

    /// The seq of the token that it writes next.
    pub fn next_seq(&self) -> u32 {
        self.state.next_seq.load(Ordering::Relaxed)
    }

    /// The reader says that its peer has all before this one.
    pub(super) fn begins_at(&self, next_seq: u32) {
        self.came_to(next_seq);
        self.state.pinged_seq.store(next_seq, Ordering::Relaxed);
        self.state.acknowledged_seq.store(next_seq, Ordering::Relaxed);
    }

    /// The peer is asked for a sign of life, behind all that was written so far.
    pub(super) fn pinged(&self) {
        self.state.pinged_seq.store(self.next_seq(), Ordering::Relaxed);
    }

    /// The sign has come: what was written before it was asked for has arrived.
    pub(super) fn acknowledged(&self) {
        self.state.acknowledged_seq.store(self.state.pinged_seq.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The seq of the first token of which it is not known that it has arrived.
    pub fn unacknowledged_seq(&self) -> u32 {
        self.state.acknowledged_seq.load(Ordering::Relaxed)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}
