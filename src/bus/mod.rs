//! Bus: carries live data of conversations from the tasks that write to the connections that are subscribed.
//!
//! Nothing on the bus is authoritative. Durable events are in the store, and a subscriber that missed some reads them there; a
//! turn's entries are in its log; ephemeral signals may be dropped. [`LocalBus`] serves a single node.

#[cfg(test)]
mod conformance;
mod inbox;
mod local;

pub use inbox::{Arrived, BusSubscription, Waker};
pub use local::LocalBus;

use crate::{
    domain::{ConnectionId, ConversationId, Event, UserId},
    turn::TurnLog,
};
use std::sync::Arc;

/// Signal that concerns the present only, such as "is typing". Never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    pub conversation_id: ConversationId,
    pub kind: String,
    pub from: UserId,
    pub payload: String,
}

/// Channel for the live data of conversations.
pub trait Bus: Send + Sync {
    /// Subscribes to a conversation: everything published from now on arrives at the subscription, which ends when it is dropped.
    /// `waker` is called when something has arrived at an empty subscription.
    fn subscribe(&self, conversation: ConversationId, waker: Arc<dyn Waker>) -> BusSubscription;

    /// Delivers events of one conversation that have been stored. Writers may publish in another order than they stored.
    fn publish(&self, events: Vec<Event>);

    /// Makes the subscribers of a conversation read the store: it was deleted, which no event records.
    fn invalidate(&self, conversation: ConversationId);

    /// Announces the turns that other connections start in a conversation to this one from now on. The caller has checked that
    /// its user may subscribe to the conversation.
    fn announce_to(&self, connection: ConnectionId, conversation: ConversationId);

    /// Announces a turn that has started, except to the connection that started it.
    fn announce(&self, turn: Arc<TurnLog>, by: Option<ConnectionId>);

    /// Delivers a signal to the current subscribers. A later signal of the same kind and user replaces one that was not read
    /// yet, and signals are dropped when a subscriber has too many unread ones.
    fn publish_ephemeral(&self, signal: Signal);
}

/// Receiver of announced turns, which passes them on to the subscribed connections.
pub trait TurnAnnouncements: Send + Sync {
    /// Adds a connection to the subscribers of a conversation.
    fn subscribe(&self, connection: ConnectionId, conversation: ConversationId);

    fn on_announced(&self, turn: Arc<TurnLog>, by: Option<ConnectionId>);
}
