//! Inbox of one subscriber: bounded, so that a reader that does not read costs no more memory.

use super::Signal;
use crate::{
    domain::{ConversationId, Event},
    limits::{MAX_UNREAD_EVENTS, MAX_UNREAD_SIGNALS},
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Wakes the reader of a subscription.
pub trait Waker: Send + Sync {
    /// Called from any thread, and must not block.
    fn wake(&self);
}

/// Everything that arrived since the last call of [`BusSubscription::take`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// In the order of publication, which may differ from that of the positions.
    pub events: Vec<Arc<Event>>,
    /// Whether the store has to be read: more events arrived than are kept, or the conversation was deleted.
    pub has_missed: bool,
    pub signals: Vec<Signal>,
}

pub(super) struct Inbox {
    arrived: Mutex<Arrived>,
    waker: Arc<dyn Waker>,
}

impl Inbox {
    pub(super) fn new(waker: Arc<dyn Waker>) -> Arc<Self> {
        Arc::new(Self { arrived: Mutex::default(), waker })
    }

    pub(super) fn push_event(&self, event: &Arc<Event>) {
        self.change(|arrived| {
            if arrived.events.len() < MAX_UNREAD_EVENTS {
                arrived.events.push(Arc::clone(event));
            } else {
                arrived.has_missed = true;
            }
        });
    }

    /// Makes the reader read the store.
    pub(super) fn push_missed(&self) {
        self.change(|arrived| arrived.has_missed = true);
    }

    pub(super) fn push_signal(&self, signal: &Signal) {
        self.change(|arrived| {
            let same = |unread: &Signal| unread.kind == signal.kind && unread.from == signal.from;
            match arrived.signals.iter().position(same) {
                Some(index) => arrived.signals[index] = signal.clone(),
                None if arrived.signals.len() < MAX_UNREAD_SIGNALS => arrived.signals.push(signal.clone()),
                None => {}
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Arrived)) {
        let mut arrived = self.lock();
        let was_empty = *arrived == Arrived::default();
        change(&mut arrived);
        drop(arrived);
        if was_empty {
            self.waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes an inbox from the subscribers of a conversation.
type Leave = Box<dyn Fn(ConversationId, &Arc<Inbox>) + Send + Sync>;

/// Subscription to one conversation; ends when it is dropped.
pub struct BusSubscription {
    conversation: ConversationId,
    inbox: Arc<Inbox>,
    leave: Leave,
}

impl BusSubscription {
    pub(super) fn new(
        conversation: ConversationId,
        inbox: Arc<Inbox>,
        leave: impl Fn(ConversationId, &Arc<Inbox>) + Send + Sync + 'static,
    ) -> Self {
        Self { conversation, inbox, leave: Box::new(leave) }
    }

    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// Takes everything that arrived. The waker is called again at the next arrival.
    pub fn take(&self) -> Arrived {
        std::mem::take(&mut *self.inbox.lock())
    }
}

impl fmt::Debug for BusSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusSubscription").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

impl Drop for BusSubscription {
    fn drop(&mut self) {
        (self.leave)(self.conversation, &self.inbox);
    }
}
