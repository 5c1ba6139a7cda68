//! Resumption of conversations: access, subscription, and then the lookup of missed turns and events.

use super::{Engine, TurnError};
use crate::{
    bus::{BusSubscription, Waker},
    domain::{ConnectionId, ConversationAccess, ConversationId, Event, TurnId, UserId},
    limits::{EVENTS_PER_READ, MAX_REPLAYED_EVENTS, MAX_REPLAYED_TURNS, SNAPSHOT_EVENTS},
    store::{Listed, StoreError},
    turn::TurnLog,
};
use std::sync::Arc;
use switchboard_protocol::TurnState;

/// The number of events that a connection reads at once.
const PAGE_OF_EVENTS: i64 = EVENTS_PER_READ as i64;

/// Finds the turns that a connection has missed in a conversation. Later ones are announced to it.
#[derive(actix::Message)]
#[rtype(result = "Result<ResumedConversation, TurnError>")]
pub struct ResumeConversation {
    pub user_id: UserId,
    pub connection_id: Option<ConnectionId>,
    pub conversation_id: ConversationId,
    /// The turn to replay; the latest one if absent.
    pub turn_id: Option<TurnId>,
}

/// Finds the range of the events that a connection has missed in a conversation, and subscribes to later ones. Turns that others start are
/// announced to the connection.
#[derive(actix::Message)]
#[rtype(result = "Result<ResumedEvents, TurnError>")]
pub struct ResumeEvents {
    pub user_id: UserId,
    pub connection_id: Option<ConnectionId>,
    pub conversation_id: ConversationId,
    pub last_position: i64,
    /// Called when an event has arrived.
    pub waker: Arc<dyn Waker>,
}

/// The turns that a connection has missed in a conversation.
#[derive(Default)]
pub struct ResumedConversation {
    /// The turn to replay; `None` when the conversation has no turn that can be replayed.
    pub turn: Option<Arc<TurnLog>>,
    /// Turns that began after it, oldest first.
    pub later: Vec<Arc<TurnLog>>,
    /// More turns began after it than are replayed.
    pub has_more: bool,
}

/// The range of the events that a connection has missed in a conversation.
pub struct ResumedEvents {
    /// Position after which the events follow.
    pub from_position: i64,
    /// Position of the latest event.
    pub head: i64,
    /// Whether the events follow from another position than the client named.
    pub is_snapshot: bool,
    /// The turn that is running.
    pub running: Option<Arc<TurnLog>>,
    /// The subscription to later events.
    pub subscription: BusSubscription,
}

impl ResumedConversation {
    pub fn state(&self) -> TurnState {
        self.turn.as_ref().map_or(TurnState::Idle, |turn| turn.state())
    }
}

impl Engine {
    /// Finds the turns that a connection has missed in a conversation, from a turn on or from the latest turn, and announces
    /// later ones to it.
    pub(super) async fn resume(&self, message: ResumeConversation) -> Result<ResumedConversation, TurnError> {
        let ResumeConversation { user_id, connection_id, conversation_id, turn_id } = message;
        let Some(turn_id) = turn_id else {
            let access = match self.require(user_id, conversation_id, ConversationAccess::can_subscribe).await {
                Err(TurnError::Store(StoreError::NotFound(_))) => return Err(TurnError::Unknown),
                access => access?,
            };
            // Before the lookup, so that a turn that another connection starts during it is found or announced.
            self.announce_to(connection_id, conversation_id);
            let turn = self.latest(conversation_id).await?;
            if turn.as_ref().is_some_and(|turn| !access.can_read_turn(turn.has_ended())) {
                return Err(TurnError::Forbidden);
            }
            return Ok(ResumedConversation { turn, ..ResumedConversation::default() });
        };
        let turn = self.find(user_id, turn_id).await?;
        if turn.subject.conversation_id != conversation_id {
            return Err(TurnError::Unknown);
        }
        self.announce_to(connection_id, conversation_id);
        // No turn follows a running one.
        let later = if turn.has_ended() {
            self.store.turns_after(conversation_id, turn_id, MAX_REPLAYED_TURNS + 1).await?
        } else {
            Vec::new()
        };
        let mut resumed = ResumedConversation { turn: Some(turn), ..ResumedConversation::default() };
        if later.len() > MAX_REPLAYED_TURNS {
            resumed.has_more = true;
            return Ok(resumed);
        }
        for turn_id in later {
            match self.turn(turn_id).await {
                Ok(turn) => resumed.later.push(turn),
                // Its conversation was deleted in the meantime, or its token boundaries are unknown.
                Err(TurnError::Unknown) => resumed.has_more = true,
                Err(error) => return Err(error),
            }
        }
        Ok(resumed)
    }

    /// Finds out where the events begin that a connection has missed after a position, and the running turn, and subscribes to
    /// later events. The connection reads the events when it can send them.
    pub(super) async fn resume_events(&self, message: ResumeEvents) -> Result<ResumedEvents, TurnError> {
        let ResumeEvents { user_id, connection_id, conversation_id, last_position, waker } = message;
        let readable_from = self.readable_from(user_id, conversation_id).await?;
        // Before the lookup, so that a turn or an event during it is found or arrives.
        self.announce_to(connection_id, conversation_id);
        let subscription = self.bus.subscribe(conversation_id, waker);
        // Before the head is read: a turn that ends in between is shown, and its end arrives.
        let running = self.turns.running_in(conversation_id).await;
        let head = self.events.head(conversation_id).await?;
        let is_snapshot = last_position > head || head - last_position > MAX_REPLAYED_EVENTS;
        let from = if is_snapshot { (head - SNAPSHOT_EVENTS).max(0) } else { last_position };
        Ok(ResumedEvents { from_position: from.max(readable_from - 1), head, is_snapshot, running, subscription })
    }

    /// Reads the next events after a position.
    pub(super) async fn read_events(
        &self,
        user_id: UserId,
        conversation_id: ConversationId,
        after: i64,
    ) -> Result<Listed<Event>, TurnError> {
        self.readable_from(user_id, conversation_id).await?;
        Ok(self.events.events_after(conversation_id, after, PAGE_OF_EVENTS).await?)
    }

    /// Returns the position of the first event that the user may read.
    async fn readable_from(&self, user_id: UserId, conversation_id: ConversationId) -> Result<i64, TurnError> {
        let access = self.require(user_id, conversation_id, ConversationAccess::can_subscribe).await?;
        access.readable_from().ok_or(TurnError::Forbidden)
    }
}

#[cfg(test)]
mod tests;
