//! Conversations, their turns and messages.

use super::StoreError;
use crate::domain::{
    AnswerMetadata, Conversation, ConversationId, FinishReason, Message, MessageId, MessageRole, TurnId, UnixMillis,
    UserId,
};

/// A user's message that starts a turn.
#[derive(Clone, Debug)]
pub struct NewTurn {
    pub turn_id: TurnId,
    pub user_id: UserId,
    pub conversation_id: ConversationId,
    /// Whether the conversation is made with it.
    pub is_new_conversation: bool,
    pub message_id: MessageId,
    pub text: String,
    pub client_message_id: Option<String>,
    pub customer_id: Option<String>,
    pub at: UnixMillis,
    /// How many earlier messages to return.
    pub history_messages: i64,
}

/// What became of a [`NewTurn`].
#[derive(Clone, Debug, PartialEq)]
pub enum BegunTurn {
    /// It is on disk; with the conversation's earlier messages, oldest first.
    Started { history: Vec<(MessageRole, String)> },
    /// This `client_message_id` was here before.
    Duplicate { turn_id: TurnId },
}

/// An answer, whole or in part.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub message_id: MessageId,
    pub text: String,
    /// The byte at which each token ends.
    pub token_ends: Vec<u32>,
    pub finish_reason: FinishReason,
    pub metadata: AnswerMetadata,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedTurn {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub answer: Answer,
    /// The code and the text of the terminal `error` frame, when it ended in one.
    pub error: Option<(String, String)>,
    pub at: UnixMillis,
}

/// A turn as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTurn {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    pub state: StoredTurnState,
    /// What there is of the answer.
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredTurnState {
    Running,
    Complete,
    Failed { code: String, message: String },
}

/// A part of a list, newest first where not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<Id> {
    /// Only what comes behind this one.
    pub before: Option<Id>,
    pub limit: i64,
}

/// Keeps what was said.
#[async_trait::async_trait]
pub trait ConversationStore: Send + Sync {
    /// Keeps a user's message and that its turn runs; durable when it is ready.
    ///
    /// # Errors
    /// `NotFound` or `Forbidden` when the conversation is not there, or not this user's.
    async fn begin_turn(&self, turn: NewTurn) -> Result<BegunTurn, StoreError>;

    /// Keeps how a turn ended, and its answer.
    async fn end_turn(&self, turn: EndedTurn) -> Result<(), StoreError>;

    /// Ends every turn that is still marked as running, with this code and text, and returns how many there were.
    /// For the start of the server: what ran before runs no more.
    async fn interrupt_running_turns(&self, code: &str, message: &str) -> Result<usize, StoreError>;

    async fn turn(&self, id: TurnId) -> Result<Option<StoredTurn>, StoreError>;

    /// The turn that the user's message with this `client_message_id` started.
    async fn turn_of_message(&self, user: UserId, client_message_id: String) -> Result<Option<TurnId>, StoreError>;

    /// The latest turn of a conversation.
    async fn latest_turn(&self, conversation: ConversationId) -> Result<Option<TurnId>, StoreError>;

    async fn conversations(&self, user: UserId, page: Page<ConversationId>) -> Result<Vec<Conversation>, StoreError>;

    /// The messages of a page, oldest first.
    ///
    /// # Errors
    /// `NotFound` or `Forbidden` when the conversation is not there, or not this user's.
    async fn messages(
        &self,
        user: UserId,
        conversation: ConversationId,
        page: Page<MessageId>,
    ) -> Result<Vec<Message>, StoreError>;

    /// Whether the store can write now.
    async fn check(&self) -> Result<(), StoreError>;

    /// # Errors
    /// `NotFound` or `Forbidden` when the conversation is not there, or not this user's.
    async fn delete_conversation(&self, user: UserId, conversation: ConversationId) -> Result<(), StoreError>;
}
