//! Storage of events and access to conversations.

use super::{Listed, StoreError};
use crate::domain::{ConversationAccess, ConversationHandler, ConversationId, Event, UserId};

/// The party that may write to a conversation, and its fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    pub handler: ConversationHandler,
    /// Incremented whenever the handler changes. A writer that was admitted under an earlier epoch is refused.
    pub epoch: i64,
}

/// Reads the events of conversations, which other operations append, and decides on access.
///
/// The `position` of an event is assigned in the transaction that stores what the event is about, so positions are gapless and
/// in the order of the commits.
#[async_trait::async_trait]
pub trait EventStore: Send + Sync {
    /// Returns what a user may do in a conversation.
    ///
    /// # Errors
    /// `NotFound` if the conversation does not exist.
    async fn access(&self, user: UserId, conversation: ConversationId) -> Result<ConversationAccess, StoreError>;

    /// Checks that a user has the right that `is_granted` looks for, and returns the access.
    ///
    /// # Errors
    /// `NotFound` if the conversation does not exist, `Forbidden` if the right is missing.
    async fn require(
        &self,
        user: UserId,
        conversation: ConversationId,
        is_granted: fn(ConversationAccess) -> bool,
    ) -> Result<ConversationAccess, StoreError> {
        let access = self.access(user, conversation).await?;
        if is_granted(access) { Ok(access) } else { Err(StoreError::Forbidden("conversation")) }
    }

    /// Returns the position of the latest event; 0 if there is none.
    ///
    /// # Errors
    /// `NotFound` if the conversation does not exist.
    async fn head(&self, conversation: ConversationId) -> Result<i64, StoreError>;

    /// Lists events after a position, oldest first.
    async fn events_after(
        &self,
        conversation: ConversationId,
        position: i64,
        limit: i64,
    ) -> Result<Listed<Event>, StoreError>;

    /// Lists the latest events before a position, oldest first.
    async fn events_before(
        &self,
        conversation: ConversationId,
        position: i64,
        limit: i64,
    ) -> Result<Listed<Event>, StoreError>;

    /// Makes another party the handler of a conversation and increments the epoch, as a hand-off will. Only for tests of fencing.
    #[cfg(test)]
    async fn change_handler(
        &self,
        conversation: ConversationId,
        handler: ConversationHandler,
    ) -> Result<i64, StoreError>;
}
