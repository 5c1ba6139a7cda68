//! What the server says: one JSON object a text frame, told apart by `type`.

use super::{
    ApiError, ConversationId, ErrorCode, FieldNames, FinishReason, MessageId, MetadataView, Named, Source, TurnId,
    UserId,
};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, time::Duration};
use uuid::Uuid;

/// A frame of the server.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    AuthSuccess(AuthSuccess<'a>),
    AuthError(AuthError<'a>),
    AuthExpiring(AuthExpiring),
    Progress(ProgressFrame<'a>),
    Token(TokenFrame<'a>),
    Complete(CompleteFrame<'a>),
    Resumed(Resumed<'a>),
    Error(ErrorFrame<'a>),
    Pong(Pong),
    Heartbeat(Heartbeat),
    GoingAway(GoingAway),
    Notice(Notice<'a>),
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct AuthSuccess<'a> {
    pub message: &'a str,
    pub user: UserView<'a>,
    /// Unix time in seconds at which the token ends.
    pub expires_at: i64,
}

/// A user as others see them.
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
    pub message: &'a str,
    pub code: ErrorCode,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct AuthExpiring {
    /// Seconds until the token ends, rounded up.
    pub expires_in: u64,
}

impl AuthExpiring {
    pub fn new(left: Duration) -> Self {
        Self { expires_in: left.as_secs() + u64::from(left.subsec_nanos() > 0) }
    }
}

/// A step of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The question is stored.
    Starting,
    /// A specialist is chosen.
    Routing,
    /// The knowledge base is searched.
    Retrieval,
    /// The model writes the answer.
    Generating,
}

impl Step {
    /// The name of the step on a surface.
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
    /// In `chat.v1`, `agent_routing` and `rag_retrieval` for `routing` and `retrieval`.
    #[cfg_attr(feature = "utoipa", schema(value_type = Step))]
    pub step: &'static str,
    /// Text for people.
    pub message: &'a str,
    /// The conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// The conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    pub turn_id: TurnId,
    /// The specialist, from `rag_retrieval` on; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a str>,
    /// The specialist, from `retrieval` on; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specialist: Option<&'a str>,
    /// Confidence of the router, from 0 to 1; present from `retrieval` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// What the knowledge base has; known from `generating` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<&'a [Source]>,
    /// That of the message which started the turn; only with `starting`, so that a client knows which turn is its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<&'a str>,
    /// The user's message that started the turn; only with `starting`, so that a client that did not send it can show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<&'a str>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct TokenFrame<'a> {
    pub token: &'a str,
    /// The answer up to and with this token; only in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_response: Option<&'a str>,
    pub turn_id: TurnId,
    /// The conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// The conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Number of the (last) token in its turn, from 0.
    pub seq: u32,
    /// Number of the first token, when the frame joins several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u32>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct CompleteFrame<'a> {
    pub response: &'a str,
    /// The conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// The conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    pub metadata: MetadataView<'a>,
    pub turn_id: TurnId,
    pub message_id: MessageId,
    /// The seq of the last token; -1 for an answer without tokens.
    pub seq: i64,
    pub finish_reason: FinishReason,
    /// In hex, of the UTF-8 of `response`.
    pub sha256: &'a str,
}

/// How a turn stands when it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    Streaming,
    Complete,
    /// It ended in an error; the terminal frame says which.
    Interrupted,
    /// The conversation has no turn that can be replayed; those that start later are delivered.
    Idle,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Resumed<'a> {
    /// The conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// The conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// The turn that is replayed; absent when the conversation is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// The seq of the first token that follows; absent when the conversation is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_seq: Option<u32>,
    pub state: TurnState,
    /// Whether more turns came after this one than are replayed: the history has them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reload_history: bool,
    /// That of the message which was sent again; none when a `resume` is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<&'a str>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ErrorFrame<'a> {
    /// What went wrong, for people.
    pub error: &'a str,
    pub code: ErrorCode,
    /// Whether the same frame may succeed later.
    pub retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// On the terminal frame of a turn, and on errors about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// The conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// The conversation; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<Cow<'a, str>>,
}

/// What an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorSubject {
    pub turn_id: Option<TurnId>,
    pub conversation_id: Option<ConversationId>,
    pub client_message_id: Option<String>,
}

impl<'a> ErrorFrame<'a> {
    pub fn new(error: &'a ApiError, about: &'a ErrorSubject, names: FieldNames) -> Self {
        let conversation = about.conversation_id.map_or(Named::NONE, |id| names.conversation(id));
        Self {
            error: &error.message,
            code: error.code,
            retryable: error.code.is_retryable(),
            retry_after_ms: error.retry_after_ms,
            correlation_id: error.correlation_id,
            turn_id: about.turn_id,
            session_id: conversation.v1,
            conversation_id: conversation.v2,
            client_message_id: about.client_message_id.as_deref().map(Cow::Borrowed),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Pong {
    /// What the `ping` carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
}

/// How far the turns that run have come; only in `chat.v2`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    pub turns: Vec<HeadOfTurn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct HeadOfTurn {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    /// Of the last token that was sent on this socket; -1 before the first.
    pub seq: i64,
}

/// The last frame of a server that stops.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct GoingAway {
    /// How long to wait before connecting again, in milliseconds; another time for each client.
    pub reconnect_after_ms: u64,
}

/// What an operator tells everybody.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Notice<'a> {
    /// For people.
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
    /// About how long the frame will be, in bytes, so that it is written without moving.
    fn capacity(&self) -> usize {
        const ROOM: usize = 256;
        ROOM + match self {
            Self::Token(frame) => frame.token.len() + frame.partial_response.map_or(0, str::len),
            Self::Complete(frame) => frame.response.len() + ROOM,
            _ => 0,
        }
    }

    /// The frame as the text of a WebSocket message.
    pub fn encode(&self) -> ByteString {
        let mut json = Vec::with_capacity(self.capacity());
        serde_json::to_writer(&mut json, self).expect("frames hold nothing that JSON cannot carry");
        String::from_utf8(json).expect("JSON is UTF-8").into()
    }
}
