//! Frames of conversation events; only in `chat.v2`.

use super::{ConversationId, FinishReason, MessageId, TurnId, UserId};
use serde::Serialize;

/// Durable fact in a conversation. Clients ignore kinds that they do not know.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct EventFrame<'a> {
    pub conversation_id: ConversationId,
    /// Gapless in the conversation, from 1.
    pub position: i64,
    /// `message`, `turn_started`, `turn_ended`, or a kind of a later version.
    pub kind: &'a str,
    /// Time of the event, as Unix time in milliseconds.
    pub at: i64,
    pub actor: ActorView<'a>,
    /// Message that the event is about: the message itself, the question of a turn that started, the answer of one that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// Text of a `message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// Id that the client gave a `message`, for as long as the server remembers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<&'a str>,
    /// Reason why the answer of a `turn_ended` is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// Code of the `error` frame with which the turn of a `turn_ended` failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
}

/// The party that caused an event.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ActorView<'a> {
    /// `user`, `agent` or `assistant`, or a kind of a later version.
    pub kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

/// Response to a `resume` with `last_position`; the events after `from_position` follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ResumedEvents {
    pub conversation_id: ConversationId,
    /// Position after which the events follow.
    pub from_position: i64,
    /// Position of the latest event.
    pub head: i64,
    /// Whether the events follow from another position than the client named: it discards the events that it has, and loads
    /// older ones over REST.
    #[cfg_attr(feature = "schemars", schemars(default))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}
