//! Durable facts of a conversation.

use super::{ConversationId, FinishReason, MessageId, TurnId, UnixMillis, UserId};
use std::str::FromStr;

/// Durable fact in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub conversation_id: ConversationId,
    /// Gapless in the conversation, from 1.
    pub position: i64,
    pub at: UnixMillis,
    pub actor: EventActor,
    pub fact: Fact,
}

/// The party that caused an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventActor {
    pub kind: ActorKind,
    /// Account of a person; absent for the assistant.
    pub user_id: Option<UserId>,
}

impl EventActor {
    pub const ASSISTANT: Self = Self { kind: ActorKind::Assistant, user_id: None };

    pub const fn user(id: UserId) -> Self {
        Self { kind: ActorKind::User, user_id: Some(id) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActorKind {
    User,
    Agent,
    Assistant,
    /// Stored by another version.
    Other(String),
}

impl ActorKind {
    pub fn as_str(&self) -> &str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Assistant => "assistant",
            Self::Other(kind) => kind,
        }
    }
}

impl From<String> for ActorKind {
    fn from(kind: String) -> Self {
        let known = [Self::User, Self::Agent, Self::Assistant].into_iter().find(|known| known.as_str() == kind);
        known.unwrap_or(Self::Other(kind))
    }
}

/// The content of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Message {
        message_id: MessageId,
        text: String,
        turn_id: Option<TurnId>,
        /// Id that the client gave the message, until it is deleted.
        client_message_id: Option<String>,
    },
    TurnStarted {
        turn_id: TurnId,
        /// The message that the turn answers.
        message_id: MessageId,
    },
    TurnEnded {
        turn_id: TurnId,
        /// The answer, unless none could be stored.
        message_id: Option<MessageId>,
        outcome: TurnOutcome,
    },
    /// A kind of event that this version does not know.
    Other { kind: String },
}

/// Outcome of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnOutcome {
    Finished(FinishReason),
    /// With the code of its terminal `error` frame.
    Failed(String),
}

impl Fact {
    pub const MESSAGE: &str = "message";
    pub const TURN_STARTED: &str = "turn_started";
    pub const TURN_ENDED: &str = "turn_ended";

    pub fn kind(&self) -> &str {
        match self {
            Self::Message { .. } => Self::MESSAGE,
            Self::TurnStarted { .. } => Self::TURN_STARTED,
            Self::TurnEnded { .. } => Self::TURN_ENDED,
            Self::Other { kind } => kind,
        }
    }
}

/// Id of the node that runs a turn, on a server without a cluster.
pub const LOCAL_NODE: &str = "local";

/// The party that may write to a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConversationHandler {
    #[default]
    Assistant,
    Agent,
}

impl ConversationHandler {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Agent => "agent",
        }
    }
}

impl FromStr for ConversationHandler {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Assistant, Self::Agent].into_iter().find(|handler| handler.as_str() == text).ok_or("not a handler")
    }
}
