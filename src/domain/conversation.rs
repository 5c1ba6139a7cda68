//! Conversations and their messages.

use super::{AnswerMetadata, ConversationId, Feedback, FinishReason, MessageId, Part, TurnId, UnixMillis, UserId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Durable thread of messages that belongs to one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    pub id: ConversationId,
    pub user_id: UserId,
    /// Title for lists: the start of the first message, until a model or the user gives another.
    pub title: String,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageRole {
    User,
    Assistant,
}

impl MessageRole {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

impl FromStr for MessageRole {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::User, Self::Assistant].into_iter().find(|role| role.as_str() == text).ok_or("not a message role")
    }
}

/// Stored message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    /// Absent for a message that started no turn.
    pub turn_id: Option<TurnId>,
    pub role: MessageRole,
    pub content: String,
    /// `seq` of an answer's last token, or -1 for an answer without tokens; only for answers.
    pub last_seq: Option<i64>,
    /// Only for answers.
    pub finish_reason: Option<FinishReason>,
    /// Only for answers.
    pub metadata: Option<AnswerMetadata>,
    /// The model's reasoning; only for answers, and only if it was kept.
    pub reasoning: Option<String>,
    /// Parts that are not text; only for answers.
    pub parts: Vec<Part>,
    /// Feedback of the user who reads the message; only for answers.
    pub feedback: Option<Feedback>,
    pub created_at: UnixMillis,
}

/// Earlier message of a conversation, as context for model and search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryMessage {
    pub role: MessageRole,
    pub content: String,
}
