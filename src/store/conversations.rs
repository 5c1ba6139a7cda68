//! Conversations, their turns and messages.

use super::StoreError;
use crate::domain::{
    AnswerMetadata, Conversation, ConversationId, FinishReason, Message, MessageId, MessageRole, TurnId, UnixMillis,
    UserId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

/// What a running turn has said since its last checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub turn_id: TurnId,
    /// The seq of the first of these tokens.
    pub first_seq: u32,
    pub text: String,
    /// The byte of the whole answer at which each of these tokens ends.
    pub token_ends: Vec<u32>,
    /// What is known of the answer besides its text; once is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<AnswerMetadata>,
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
    /// The client's own id of the message, as long as it is known.
    pub client_message_id: Option<String>,
    /// The user's message.
    pub question: Option<String>,
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
    /// Only entries after this one, in the order of the list.
    pub before: Option<Id>,
    /// The most entries.
    pub limit: i64,
}

/// The entries of a page: as many as were asked for, or fewer when they would be over
/// [`MAX_PAGE_BYTES`](crate::limits::MAX_PAGE_BYTES), but at least one if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Whether the list goes on after them.
    pub has_more: bool,
}

/// The conversations of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedConversations {
    pub conversations: Vec<Conversation>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<ConversationCursor>,
}

/// A position in a list of conversations: a UUID of version 8 that holds a [`ConversationPosition`], or a conversation's id for
/// the position that it has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct ConversationCursor(Uuid);

/// A place in the order of the latest messages at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationPosition {
    /// The number of the newest message of all at that moment.
    pub snapshot: i64,
    /// The number of the conversation's latest message at that moment.
    pub place: i64,
}

impl From<ConversationPosition> for ConversationCursor {
    fn from(position: ConversationPosition) -> Self {
        // 48 bits each; the bits in between hold the version and the variant.
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&position.snapshot.to_be_bytes()[2..]);
        bytes[10..].copy_from_slice(&position.place.to_be_bytes()[2..]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl From<ConversationId> for ConversationCursor {
    fn from(id: ConversationId) -> Self {
        Self(id.into())
    }
}

impl ConversationCursor {
    /// The position that it holds.
    ///
    /// # Errors
    /// The conversation that it names instead.
    pub fn position(self) -> Result<ConversationPosition, ConversationId> {
        if self.0.get_version() != Some(uuid::Version::Custom) {
            return Err(self.0.into());
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
        let bytes = self.0.as_bytes();
        Ok(ConversationPosition { snapshot: number(&bytes[..6]), place: number(&bytes[10..]) })
    }
}

/// Keeps what was said.
#[async_trait::async_trait]
pub trait ConversationStore: Send + Sync {
    /// Keeps a user's message and that its turn runs; durable when it is ready.
    ///
    /// # Errors
    /// `NotFound` or `Forbidden` when the conversation is not there, or not this user's.
    async fn begin_turn(&self, turn: NewTurn) -> Result<BegunTurn, StoreError>;

    /// Keeps more of what running turns have said, and returns a number for it, larger than those before. What is kept of a
    /// turn that has ended, or is no more, does nothing.
    async fn checkpoint(&self, checkpoints: Vec<Checkpoint>) -> Result<i64, StoreError>;

    /// Forgets the checkpoints whose numbers are below `before`: their turns have ended, or were kept again.
    async fn forget_checkpoints(&self, before: i64) -> Result<(), StoreError>;

    /// Keeps how a turn ended, and its answer, in place of its checkpoints. A turn that has ended stays as it is: to
    /// end it again does nothing, so that an end whose fate is unknown can be tried again.
    ///
    /// # Errors
    /// `NotFound` when the turn is no more: its conversation was deleted.
    async fn end_turn(&self, turn: EndedTurn) -> Result<(), StoreError>;

    /// Ends every turn that is still marked as running, with this code and text, and returns how many there were. What
    /// their checkpoints kept becomes their answers. For the start of the server: what ran before runs no more.
    async fn interrupt_running_turns(&self, code: &str, message: &str) -> Result<usize, StoreError>;

    async fn turn(&self, id: TurnId) -> Result<Option<StoredTurn>, StoreError>;

    /// The turn that the user's message with this `client_message_id` started.
    async fn turn_of_message(&self, user: UserId, client_message_id: String) -> Result<Option<TurnId>, StoreError>;

    /// The latest turn of a conversation.
    async fn latest_turn(&self, conversation: ConversationId) -> Result<Option<TurnId>, StoreError>;

    /// The turns of a conversation that began after `turn`, at most `limit`, oldest first.
    async fn turns_after(
        &self,
        conversation: ConversationId,
        turn: TurnId,
        limit: usize,
    ) -> Result<Vec<TurnId>, StoreError>;

    /// A user's conversations, those with the latest messages first. All pages of a list have the order of the moment at
    /// which its first page was read, so that none is there twice or left out.
    ///
    /// # Errors
    /// `NotFound` or `Forbidden` when the page is after a conversation that is not there, or not this user's.
    async fn conversations(
        &self,
        user: UserId,
        page: Page<ConversationCursor>,
    ) -> Result<ListedConversations, StoreError>;

    /// The messages of a page, oldest first; the page after it holds those before them.
    ///
    /// # Errors
    /// `NotFound` or `Forbidden` when the conversation is not there, or not this user's.
    async fn messages(
        &self,
        user: UserId,
        conversation: ConversationId,
        page: Page<MessageId>,
    ) -> Result<Listed<Message>, StoreError>;

    /// Forgets the `client_message_id`s of turns that began before `before`, and returns how many there were.
    async fn forget_client_messages(&self, before: UnixMillis) -> Result<usize, StoreError>;

    /// Whether the store can write now: it tries.
    async fn check(&self) -> Result<(), StoreError>;

    /// # Errors
    /// `NotFound` or `Forbidden` when the conversation is not there, or not this user's.
    async fn delete_conversation(&self, user: UserId, conversation: ConversationId) -> Result<(), StoreError>;
}
