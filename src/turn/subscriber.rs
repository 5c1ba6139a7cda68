//! Subscribers of a turn, as its log sees them: a mailbox for events, and how far the reader has come.

use super::TurnLog;
use crate::metrics::Metrics;
use actix::{Actor, Addr, Handler, dev::ToEnvelope};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};
use tokio::sync::mpsc::{self, error::TrySendError};

/// The news of one more entry, delivered to a mailbox. The entry itself is in the log.
#[derive(Clone, actix::Message)]
#[rtype(result = "()")]
pub struct TurnEvent {
    pub turn: Arc<TurnLog>,
    pub index: u32,
    /// Whether the entry is a token, which may be collected with others.
    pub is_text: bool,
}

/// The receiving end of events: an actor's address or a channel.
pub trait TurnSink: Send + Sync {
    /// Delivers without blocking.
    ///
    /// # Errors
    /// Returns the event when the mailbox is full or closed.
    fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent>;
}

/// Takes the address rather than a `Recipient`, which costs one more pointer indirection per token.
impl<A> TurnSink for Addr<A>
where
    A: Actor + Handler<TurnEvent>,
    A::Context: ToEnvelope<A, TurnEvent>,
{
    fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent> {
        self.try_send(event).map_err(actix::prelude::SendError::into_inner)
    }
}

/// The mailbox of a streaming HTTP response, which has no actor.
impl TurnSink for mpsc::Sender<TurnEvent> {
    fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent> {
        self.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) | TrySendError::Closed(event) => event,
        })
    }
}

/// The mailbox in which one reader receives the events of all its subscriptions.
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

    /// Counts in `metrics` how often the mailbox was full.
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Creates the subscriber for one more turn.
    pub fn subscriber(&self) -> Subscriber {
        Subscriber { mailbox: self.clone(), state: Arc::default() }
    }

    /// Whether the mailbox was full for an event of any turn since the last call. The reader calls this after each event it
    /// handles, and lets its lagging subscriptions catch up if so.
    pub fn take_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::SeqCst) && self.overflowed.swap(false, Ordering::SeqCst)
    }
}

/// One reader of one turn, and its progress. Clones refer to the same subscriber.
#[derive(Clone)]
pub struct Subscriber {
    mailbox: Mailbox,
    state: Arc<SubscriberState>,
}

#[derive(Default)]
struct SubscriberState {
    lagging: AtomicBool,
    coalescing: AtomicBool,
    next_seq: AtomicU32,
    /// `next_seq` when the last ping was sent.
    pinged_seq: AtomicU32,
    /// `next_seq` when the last answered ping was sent.
    acknowledged_seq: AtomicU32,
}

impl Subscriber {
    /// Delivers an event to a live subscriber. A lagging one reads it from the log later.
    pub(super) fn deliver(&self, event: TurnEvent) {
        let is_coalesced = event.is_text && self.state.coalescing.load(Ordering::SeqCst);
        if is_coalesced || self.is_lagging() {
            return;
        }
        if let Err(event) = self.mailbox.sink.try_deliver(event) {
            self.mark_lagging();
            self.mailbox.overflowed.store(true, Ordering::SeqCst);
            if let Some(metrics) = &self.mailbox.metrics {
                metrics.mailbox_full.increment();
            }
            // The reader may have emptied its mailbox between the failed delivery and the marks, and would never see them.
            // If the mailbox accepts the event now, this event makes the reader check; otherwise one that is queued does.
            let _ = self.mailbox.sink.try_deliver(event);
        }
    }

    /// Whether the subscriber must read the backlog from the log.
    pub fn is_lagging(&self) -> bool {
        self.state.lagging.load(Ordering::SeqCst)
    }

    /// Stops delivery: the reader takes the rest from the log. A reader that marks itself has to catch up on its own.
    pub(super) fn mark_lagging(&self) {
        self.state.lagging.store(true, Ordering::SeqCst);
    }

    /// Resumes delivery. Call only under the log's lock, after the whole backlog was read, so that no entry falls in between.
    pub(super) fn mark_live(&self) {
        self.state.lagging.store(false, Ordering::SeqCst);
        self.state.coalescing.store(false, Ordering::SeqCst);
    }

    /// Suspends the delivery of tokens until the reader catches up, so that several share one frame.
    pub(super) fn start_coalescing(&self) {
        self.state.coalescing.store(true, Ordering::SeqCst);
    }

    /// Publishes the reader's position for statistics.
    pub(super) fn advance_to(&self, next_seq: u32) {
        self.state.next_seq.store(next_seq, Ordering::Relaxed);
    }

    /// The seq of the token that is written next.
    pub fn next_seq(&self) -> u32 {
        self.state.next_seq.load(Ordering::Relaxed)
    }

    /// Sets the position at the start: the client has every token before `next_seq`.
    pub(super) fn start_at(&self, next_seq: u32) {
        self.advance_to(next_seq);
        self.state.pinged_seq.store(next_seq, Ordering::Relaxed);
        self.state.acknowledged_seq.store(next_seq, Ordering::Relaxed);
    }

    /// Records that a ping was sent after everything written so far.
    pub(super) fn pinged(&self) {
        self.state.pinged_seq.store(self.next_seq(), Ordering::Relaxed);
    }

    /// Records that the ping was answered: everything written before it has arrived.
    pub(super) fn acknowledged(&self) {
        self.state.acknowledged_seq.store(self.state.pinged_seq.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The seq of the first token that is not known to have arrived.
    pub fn unacknowledged_seq(&self) -> u32 {
        self.state.acknowledged_seq.load(Ordering::Relaxed)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}
