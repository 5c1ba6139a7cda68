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

/// Declares the kinds of events, one line each: variant and name.
macro_rules! fact_kinds {
    ($($Kind:ident = $name:literal,)*) => {
        /// Kind of a [`Fact`] that this version knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FactKind {
            $($Kind,)*
        }

        impl FactKind {
            /// Returns the name of the kind, as in the store and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Kind => $name,)*
                }
            }

            /// Returns the kind with this name; `None` for a kind of another version.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$Kind),)*
                    _ => None,
                }
            }
        }
    };
}

fact_kinds! {
    Message = "message",
    TurnStarted = "turn_started",
    TurnEnded = "turn_ended",
}

impl Fact {
    /// Returns the kind; the name of one that this version does not know as an error.
    pub fn kind(&self) -> Result<FactKind, &str> {
        match self {
            Self::Message { .. } => Ok(FactKind::Message),
            Self::TurnStarted { .. } => Ok(FactKind::TurnStarted),
            Self::TurnEnded { .. } => Ok(FactKind::TurnEnded),
            Self::Other { kind } => Err(kind),
        }
    }

    /// Returns the name of the kind, as in the store and on the wire.
    pub fn kind_name(&self) -> &str {
        match self.kind() {
            Ok(kind) => kind.as_str(),
            Err(name) => name,
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
