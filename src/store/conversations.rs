//! Storage of conversations, their turns and messages.

use super::{Charge, StoreError, UsageStore};
use crate::domain::{
    AnswerMetadata, Conversation, ConversationId, Event, FinishReason, Message, MessageId, MessageRole, TurnId,
    UnixMillis, UserId, UserTitle,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Turn to start, with the user's message.
#[derive(Clone, Debug)]
pub struct NewTurn {
    pub turn_id: TurnId,
    pub user_id: UserId,
    pub conversation_id: ConversationId,
    /// Whether to create the conversation.
    pub is_new_conversation: bool,
    pub message_id: MessageId,
    pub text: String,
    pub client_message_id: Option<String>,
    pub customer_id: Option<String>,
    pub at: UnixMillis,
    /// Node that runs the turn.
    pub owner_node: String,
    /// Maximum number of earlier messages to return.
    pub history_messages: i64,
}

/// Outcome of starting a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum BegunTurn {
    Started(AcceptedTurn),
    /// An earlier turn has the same `client_message_id`.
    Duplicate {
        turn_id: TurnId,
    },
}

/// Turn that is stored and may run.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedTurn {
    /// The conversation's earlier messages, oldest first.
    pub history: Vec<(MessageRole, String)>,
    /// Summary of the messages before those that fitted into earlier turns.
    pub summary: Option<String>,
    /// Epoch of the conversation, under which the turn writes.
    pub epoch: i64,
    /// Events that were appended.
    pub events: Vec<Event>,
}

/// Messages of a conversation that its summary does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsummarized {
    pub summary: Option<String>,
    /// Oldest first.
    pub messages: Vec<UnsummarizedMessage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsummarizedMessage {
    /// Increases from message to message of a conversation.
    pub position: i64,
    pub role: MessageRole,
    pub text: String,
}

/// Complete or partial answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub message_id: MessageId,
    pub text: String,
    /// Byte offset of the end of each token.
    pub token_ends: Vec<u32>,
    pub finish_reason: FinishReason,
    pub metadata: AnswerMetadata,
    /// Entries of the turn other than text, as JSON of the turn's log; absent for turns of earlier versions.
    pub items: Option<String>,
    /// Reasoning of the model, if it is kept; not part of checkpoints.
    pub reasoning: Option<String>,
}

/// Tokens of a running turn since its last checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub turn_id: TurnId,
    /// Epoch under which the turn writes.
    #[serde(default)]
    pub epoch: i64,
    /// `seq` of the first token.
    pub first_seq: u32,
    pub text: String,
    /// Byte offset of the end of each token within the whole answer.
    pub token_ends: Vec<u32>,
    /// Metadata of the answer; included in one checkpoint of the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<AnswerMetadata>,
    /// Entries of the turn other than text so far; included whenever there are new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// Consumption of the turn so far, in case it never ends; `None` without a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Charge>,
}

/// Ended turn with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedTurn {
    pub turn_id: TurnId,
    /// Epoch under which the turn writes.
    pub epoch: i64,
    pub conversation_id: ConversationId,
    pub answer: Answer,
    /// Code and message of the terminal `error` frame, if the turn failed.
    pub error: Option<(String, String)>,
    pub at: UnixMillis,
    /// Consumption to add to that of the user, if there is a budget.
    pub charge: Option<Charge>,
}

/// Stored turn.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTurn {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    /// Id of the message assigned by the client, until it is deleted.
    pub client_message_id: Option<String>,
    /// Text of the user's message.
    pub question: Option<String>,
    pub state: StoredTurnState,
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredTurnState {
    Running,
    Complete,
    Failed { code: String, message: String },
}

/// Selects a page of a list; lists are newest first unless documented otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<Id> {
    /// Entry after which the page starts, in the order of the list.
    pub before: Option<Id>,
    /// Maximum number of entries.
    pub limit: i64,
}

/// Entries of a page: as many as requested, or fewer if they would exceed
/// [`MAX_PAGE_BYTES`](crate::limits::MAX_PAGE_BYTES), but at least one if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Whether the list has further entries.
    pub has_more: bool,
}

/// Conversations of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedConversations {
    pub conversations: Vec<Conversation>,
    /// Cursor of the next page; absent on the last one.
    pub next: Option<ConversationCursor>,
}

/// Cursor in a list of conversations: a version 8 UUID that encodes a [`ConversationPosition`], or the id of a conversation,
/// which denotes its current position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct ConversationCursor(Uuid);

/// Position in the list of conversations, which is ordered by their latest messages, at one point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationPosition {
    /// Number of the newest message of all conversations, which identifies the point in time.
    pub snapshot: i64,
    /// Number of the latest message of the conversation.
    pub latest_message: i64,
}

impl From<ConversationPosition> for ConversationCursor {
    fn from(position: ConversationPosition) -> Self {
        // 48 bits each; the bits in between are version and variant.
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&position.snapshot.to_be_bytes()[2..]);
        bytes[10..].copy_from_slice(&position.latest_message.to_be_bytes()[2..]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl From<ConversationId> for ConversationCursor {
    fn from(id: ConversationId) -> Self {
        Self(id.into())
    }
}

impl ConversationCursor {
    /// Decodes the position.
    ///
    /// # Errors
    /// Returns the conversation id if the cursor is one.
    pub fn position(self) -> Result<ConversationPosition, ConversationId> {
        if self.0.get_version() != Some(uuid::Version::Custom) {
            return Err(self.0.into());
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
        let bytes = self.0.as_bytes();
        Ok(ConversationPosition { snapshot: number(&bytes[..6]), latest_message: number(&bytes[10..]) })
    }
}

/// Stores conversations, turns and messages.
#[async_trait::async_trait]
pub trait ConversationStore: UsageStore {
    /// Stores a user's message and a running turn; durable on return.
    ///
    /// # Errors
    /// `NotFound` if the conversation does not exist, `Forbidden` if the user may not write to it, `Fenced` if its handler is
    /// not the assistant.
    async fn begin_turn(&self, turn: NewTurn) -> Result<BegunTurn, StoreError>;

    /// Stores checkpoints of running turns and returns a number for them, which is larger than those before. Checkpoints of turns
    /// that have ended or been deleted have no effect, nor have those under another epoch than that of their turn and their
    /// conversation: epochs are compared when a checkpoint is applied, since most never are.
    async fn checkpoint(&self, checkpoints: Vec<Checkpoint>) -> Result<i64, StoreError>;

    /// Deletes checkpoints with numbers below `before`, whose turns have ended or been stored again.
    async fn forget_checkpoints(&self, before: i64) -> Result<(), StoreError>;

    /// Stores the end of a turn and its answer, which replaces its checkpoints. Idempotent, so that it can be retried when the
    /// outcome is unknown: a turn that has ended does not change. Returns the events that record the end.
    ///
    /// # Errors
    /// `NotFound` if the turn has been deleted with its conversation, `Fenced` if the epoch of the conversation has changed;
    /// nothing is stored then.
    async fn end_turn(&self, turn: EndedTurn) -> Result<Vec<Event>, StoreError>;

    /// Ends all turns in the state `running` with this code and message, using their checkpoints as answers. A turn whose epoch
    /// has passed ends without an answer. Returns their number. Called at startup, when no turn can be running.
    async fn interrupt_running_turns(&self, code: &str, message: &str) -> Result<usize, StoreError>;

    async fn turn(&self, id: TurnId) -> Result<Option<StoredTurn>, StoreError>;

    /// Finds the turn that a user's message with this `client_message_id` started.
    async fn turn_of_message(&self, user: UserId, client_message_id: String) -> Result<Option<TurnId>, StoreError>;

    /// Finds the latest turn of a conversation.
    async fn latest_turn(&self, conversation: ConversationId) -> Result<Option<TurnId>, StoreError>;

    /// Lists at most `limit` turns of a conversation that began after `turn`, oldest first.
    async fn turns_after(
        &self,
        conversation: ConversationId,
        turn: TurnId,
        limit: usize,
    ) -> Result<Vec<TurnId>, StoreError>;

    /// Lists a user's conversations, ordered by their latest messages. All pages have the order at the time of the first one, so
    /// that no conversation is repeated or skipped.
    ///
    /// # Errors
    /// `NotFound` or `Forbidden` if the cursor names a conversation that does not exist or is not accessible to the user.
    async fn conversations(
        &self,
        user: UserId,
        page: Page<ConversationCursor>,
    ) -> Result<ListedConversations, StoreError>;

    /// Lists the messages of a conversation. Pages go back in time; the messages of a page are oldest first.
    ///
    /// # Errors
    /// `NotFound` if the conversation does not exist, `Forbidden` if the user has no access to it.
    async fn messages(
        &self,
        user: UserId,
        conversation: ConversationId,
        page: Page<MessageId>,
    ) -> Result<Listed<Message>, StoreError>;

    /// Sets the title that a user gives a conversation.
    ///
    /// # Errors
    /// `NotFound` if the conversation does not exist, `Forbidden` if the user may not rename it.
    async fn rename_conversation(
        &self,
        user: UserId,
        conversation: ConversationId,
        title: UserTitle,
    ) -> Result<Conversation, StoreError>;

    /// Replaces the title of a conversation, unless a user or an earlier suggestion has replaced it already, or the conversation
    /// does not exist. Returns whether it did.
    async fn suggest_title(&self, conversation: ConversationId, title: String) -> Result<bool, StoreError>;

    /// Returns the summary of a conversation, and at most `limit` messages after those that it has.
    ///
    /// # Errors
    /// `NotFound` if the conversation does not exist.
    async fn unsummarized(&self, conversation: ConversationId, limit: i64) -> Result<Unsummarized, StoreError>;

    /// Stores the summary of the messages up to a position, unless the stored one has more of them.
    async fn set_summary(&self, conversation: ConversationId, summary: String, until: i64) -> Result<(), StoreError>;

    /// Deletes the `client_message_id`s of turns that began before `before`; returns their number.
    async fn forget_client_messages(&self, before: UnixMillis) -> Result<usize, StoreError>;

    /// Checks by a write that the store is writable.
    async fn check(&self) -> Result<(), StoreError>;

    /// # Errors
    /// `NotFound` if the conversation does not exist, `Forbidden` if the user has no access to it.
    async fn delete_conversation(&self, user: UserId, conversation: ConversationId) -> Result<(), StoreError>;
}
