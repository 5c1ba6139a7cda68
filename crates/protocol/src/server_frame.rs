//! Frames that the server sends: one JSON object per text frame, identified by `type`.

use super::{
    ApiError, CompleteFrame, ConversationId, ErrorCode, EventFrame, FieldNames, Heartbeat, Named, PartFrame,
    ProgressFrame, ReasoningFrame, Resumed, ResumedEvents, TokenFrame, TurnId, UserId,
};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, time::Duration};
use uuid::Uuid;

/// Frame from the server.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// Authentication succeeded.
    AuthSuccess(AuthSuccess<'a>),
    /// Authentication failed.
    AuthError(AuthError<'a>),
    /// The connection's token expires soon.
    AuthExpiring(AuthExpiring),
    /// A turn reached a step.
    Progress(ProgressFrame<'a>),
    /// Text of a running answer.
    Token(TokenFrame<'a>),
    /// Text of the model's reasoning; never in `chat.v1`.
    Reasoning(ReasoningFrame<'a>),
    /// Part of an answer that is not text; never in `chat.v1`.
    Part(PartFrame<'a>),
    /// A turn ended with an answer.
    Complete(CompleteFrame<'a>),
    /// Response to `resume`, or to a `message` that was sent before.
    Resumed(Resumed<'a>),
    /// Response to `resume` with `last_position`; only in `chat.v2`.
    #[serde(rename = "resumed")]
    ResumedEvents(ResumedEvents),
    /// Durable fact in a conversation; only in `chat.v2`, after a `resume` with `last_position`.
    Event(EventFrame<'a>),
    /// A frame was rejected, or a turn failed.
    Error(ErrorFrame<'a>),
    /// Response to `ping`.
    Pong(Pong),
    /// Progress of the running turns; only in `chat.v2`.
    Heartbeat(Heartbeat),
    /// The server is stopping.
    GoingAway(GoingAway),
    /// Message from an operator.
    Notice(Notice<'a>),
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct AuthSuccess<'a> {
    /// Text for people.
    pub message: &'a str,
    pub user: UserView<'a>,
    /// Expiry of the token, as Unix time in seconds.
    pub expires_at: i64,
}

/// Public view of a user.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct UserView<'a> {
    pub id: UserId,
    pub email: &'a str,
    pub name: &'a str,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct AuthError<'a> {
    /// Text for people.
    pub message: &'a str,
    pub code: ErrorCode,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct AuthExpiring {
    /// Seconds until the token expires, rounded up.
    pub expires_in: u64,
}

impl AuthExpiring {
    /// Creates a frame for a token that expires after `remaining`.
    pub fn new(remaining: Duration) -> Self {
        Self { expires_in: remaining.as_secs() + u64::from(remaining.subsec_nanos() > 0) }
    }
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ErrorFrame<'a> {
    /// Text for people.
    pub error: &'a str,
    pub code: ErrorCode,
    /// Whether the same frame may succeed later.
    pub retryable: bool,
    /// Delay before the next attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Moment at which a used-up budget is renewed, in milliseconds since 1970; only with `BUDGET_EXCEEDED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at_ms: Option<i64>,
    /// Id of the server's log line that gives the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// Turn that the error is about or that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// Number of the turn on this connection, if the turn has ended with this error; only in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Index of the entry in the turn's log, if the turn has ended with this error; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Id of the conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// Id of the conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Id of the message that the error is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<Cow<'a, str>>,
}

/// Subject of an error: the turn, conversation and message that it is about, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorSubject {
    pub turn_id: Option<TurnId>,
    pub conversation_id: Option<ConversationId>,
    pub client_message_id: Option<String>,
}

impl<'a> ErrorFrame<'a> {
    /// Creates a frame with the field names of a surface.
    pub fn new(error: &'a ApiError, subject: &'a ErrorSubject, names: FieldNames) -> Self {
        let conversation = subject.conversation_id.map_or(Named::NONE, |id| names.conversation(id));
        Self {
            error: &error.message,
            code: error.code,
            retryable: error.code.is_retryable(),
            retry_after_ms: error.retry_after_ms,
            resets_at_ms: error.resets_at_ms,
            correlation_id: error.correlation_id,
            turn_id: subject.turn_id,
            turn: None,
            index: None,
            session_id: conversation.v1,
            conversation_id: conversation.v2,
            client_message_id: subject.client_message_id.as_deref().map(Cow::Borrowed),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Pong {
    /// `id` of the `ping`, unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
}

/// Last frame before a stopping server closes the connection.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct GoingAway {
    /// Delay before reconnecting, in milliseconds; randomized per client to spread the load.
    pub reconnect_after_ms: u64,
}

/// Message from an operator to all connected users.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Notice<'a> {
    /// Text for people.
    pub message: &'a str,
    pub level: NoticeLevel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    #[default]
    Info,
    Warning,
}

impl ServerFrame<'_> {
    /// Estimates the encoded length in bytes, so that encoding needs no reallocation.
    fn capacity(&self) -> usize {
        const OVERHEAD_BYTES: usize = 256;
        OVERHEAD_BYTES
            + match self {
                Self::Token(frame) => frame.token.len() + frame.partial_response.map_or(0, str::len),
                Self::Complete(frame) => frame.response.len() + OVERHEAD_BYTES,
                Self::Event(frame) => frame.text.map_or(0, str::len) + OVERHEAD_BYTES,
                _ => 0,
            }
    }

    /// Encodes the frame as the text of a WebSocket message.
    pub fn encode(&self) -> ByteString {
        let mut json = Vec::with_capacity(self.capacity());
        serde_json::to_writer(&mut json, self).expect("all keys of frames are strings");
        String::from_utf8(json).expect("JSON is UTF-8").into()
    }
}
