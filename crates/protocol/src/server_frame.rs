//! Frames that the server sends: one JSON object per text frame, identified by `type`.

use super::{
    ApiError, ConversationId, ErrorCode, FieldNames, FinishReason, MessageId, MetadataView, Named, Source, TurnId,
    UserId,
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
    /// A turn ended with an answer.
    Complete(CompleteFrame<'a>),
    /// Response to `resume`, or to a `message` that was sent before.
    Resumed(Resumed<'a>),
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

/// Step of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The user's message has been stored.
    Starting,
    /// The router is choosing a specialist.
    Routing,
    /// The knowledge base is being searched.
    Retrieval,
    /// The model is generating the answer.
    Generating,
}

impl Step {
    /// Returns the step's name on a surface.
    pub const fn name(self, names: FieldNames) -> &'static str {
        match (self, names) {
            (Self::Starting, _) => "starting",
            (Self::Routing, FieldNames::V1) => "agent_routing",
            (Self::Routing, _) => "routing",
            (Self::Retrieval, FieldNames::V1) => "rag_retrieval",
            (Self::Retrieval, _) => "retrieval",
            (Self::Generating, _) => "generating",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ProgressFrame<'a> {
    /// Step that the turn reached. `chat.v1` calls `routing` `agent_routing` and `retrieval` `rag_retrieval`.
    #[cfg_attr(feature = "utoipa", schema(value_type = Step))]
    pub step: &'static str,
    /// Text for people.
    pub message: &'a str,
    /// Id of the conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// Id of the conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    pub turn_id: TurnId,
    /// Specialist that answers; present from `rag_retrieval` on, absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a str>,
    /// Specialist that answers; present from `retrieval` on, absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specialist: Option<&'a str>,
    /// Confidence of the router, from 0 to 1; present from `retrieval` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Passages found in the knowledge base; present from `generating` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<&'a [Source]>,
    /// Id of the message that started the turn; only with `starting`, so that a client can recognize its own turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<&'a str>,
    /// User's message that started the turn; only with `starting`, so that other clients can show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<&'a str>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct TokenFrame<'a> {
    /// New text: one token, or several in `chat.v2`.
    pub token: &'a str,
    /// The answer so far, including this token; only in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_response: Option<&'a str>,
    pub turn_id: TurnId,
    /// Id of the conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// Id of the conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Number of the last token in the frame; the first token of a turn is 0.
    pub seq: u32,
    /// Number of the first token in the frame; present if the frame has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u32>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct CompleteFrame<'a> {
    /// The whole answer.
    pub response: &'a str,
    /// Id of the conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// Id of the conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    pub metadata: MetadataView<'a>,
    pub turn_id: TurnId,
    /// Id of the answer in the history.
    pub message_id: MessageId,
    /// `seq` of the last token; -1 for an answer without tokens.
    pub seq: i64,
    pub finish_reason: FinishReason,
    /// SHA-256 of `response` in UTF-8, as lowercase hex.
    pub sha256: &'a str,
}

/// State of a turn when it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// The turn is running.
    Streaming,
    /// The turn ended with an answer.
    Complete,
    /// The turn failed; its terminal frame gives the error.
    Interrupted,
    /// The conversation has no turn to replay; later turns are delivered.
    Idle,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Resumed<'a> {
    /// Id of the conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// Id of the conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Turn that is replayed; absent when the conversation is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// `seq` of the first token that is replayed; absent when the conversation is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_seq: Option<u32>,
    pub state: TurnState,
    /// Whether there are later turns that are not replayed and must be loaded from the history.
    #[cfg_attr(feature = "schemars", schemars(default))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reload_history: bool,
    /// Id of the repeated message; absent in the response to a `resume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<&'a str>,
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
    /// Id of the server's log line that gives the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// Turn that the error is about or that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
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
            correlation_id: error.correlation_id,
            turn_id: subject.turn_id,
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

/// Positions of the running turns; only in `chat.v2`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    pub turns: Vec<TurnHead>,
}

/// Position of a running turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct TurnHead {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    /// `seq` of the last token sent on this connection; -1 before the first.
    pub seq: i64,
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
