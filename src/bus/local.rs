//! Bus of a single node: subscribers are in memory, and publishing calls them directly.

use super::{Bus, BusSubscription, Signal, TurnAnnouncements, Waker, inbox::Inbox};
use crate::{
    domain::{ConnectionId, ConversationId, Event},
    turn::TurnLog,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Subscribers of each conversation that has any.
type Subscribers = HashMap<ConversationId, Vec<Arc<Inbox>>>;

pub struct LocalBus {
    subscribers: Arc<Mutex<Subscribers>>,
    announcements: Arc<dyn TurnAnnouncements>,
}

impl LocalBus {
    pub fn new(announcements: Arc<dyn TurnAnnouncements>) -> Self {
        Self { subscribers: Arc::default(), announcements }
    }

    fn each(&self, conversation: ConversationId, deliver: impl Fn(&Inbox)) {
        let subscribers = lock(&self.subscribers);
        subscribers.get(&conversation).into_iter().flatten().for_each(|inbox| deliver(inbox));
    }
}

impl Bus for LocalBus {
    fn subscribe(&self, conversation: ConversationId, waker: Arc<dyn Waker>) -> BusSubscription {
        let inbox = Inbox::new(waker);
        lock(&self.subscribers).entry(conversation).or_default().push(Arc::clone(&inbox));
        let subscribers = Arc::clone(&self.subscribers);
        BusSubscription::new(conversation, inbox, move |conversation, inbox| {
            let mut subscribers = lock(&subscribers);
            if let Some(of_conversation) = subscribers.get_mut(&conversation) {
                of_conversation.retain(|known| !Arc::ptr_eq(known, inbox));
                if of_conversation.is_empty() {
                    subscribers.remove(&conversation);
                }
            }
        })
    }

    fn publish(&self, events: Vec<Event>) {
        let Some(conversation) = events.first().map(|event| event.conversation_id) else { return };
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        self.each(conversation, |inbox| events.iter().for_each(|event| inbox.push_event(event)));
    }

    fn invalidate(&self, conversation: ConversationId) {
        self.each(conversation, Inbox::push_missed);
    }

    fn announce_to(&self, connection: ConnectionId, conversation: ConversationId) {
        self.announcements.subscribe(connection, conversation);
    }

    fn announce(&self, turn: Arc<TurnLog>, by: Option<ConnectionId>) {
        self.announcements.on_announced(turn, by);
    }

    fn publish_ephemeral(&self, signal: Signal) {
        self.each(signal.conversation_id, |inbox| inbox.push_signal(&signal));
    }
}

fn lock(subscribers: &Mutex<Subscribers>) -> MutexGuard<'_, Subscribers> {
    subscribers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::conformance::{Announced, conformance};

    conformance!(|announced: Arc<Announced>| LocalBus::new(announced));
}
