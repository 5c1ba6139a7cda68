//! Frames that show a turn: its steps, its answer and its end.

use super::{ConversationId, FieldNames, FinishReason, MessageId, MetadataView, Source, TurnId};
use serde::Serialize;
use serde_json::{Map, Value};

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
    /// The model is reasoning before it answers.
    Thinking,
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
            (Self::Thinking, _) => "thinking",
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
    /// Number of the turn on this connection; only in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Index of the entry in the turn's log; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
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
    /// Turn of the token; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// Number of the turn on this connection, as the last `progress` or `resumed` of the turn announced it; only in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Id of the conversation; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ConversationId>,
    /// Id of the conversation; only in server-sent events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Number of the last token in the frame; the first token of a turn is 0.
    pub seq: u32,
    /// Number of the first token in the frame; present if the frame has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u32>,
}

/// Text of the model's reasoning, which is not part of the answer; never in `chat.v1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ReasoningFrame<'a> {
    /// New text.
    pub delta: &'a str,
    /// Turn of the reasoning; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// Number of the turn on this connection; only in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Index of the entry in the turn's log.
    pub index: u32,
}

/// Typed part of an answer that is not text; never in `chat.v1`. Clients ignore kinds that they do not know.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct PartFrame<'a> {
    pub kind: &'a str,
    /// Turn of the part; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// Number of the turn on this connection; only in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Index of the entry in the turn's log.
    pub index: u32,
    /// Fields that depend on the kind.
    #[serde(flatten)]
    pub fields: &'a Map<String, Value>,
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
    /// Number of the turn on this connection; only in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Index of the entry in the turn's log; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
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
    /// Number of the turn on this connection from now on; only in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Index of the first entry that is replayed; only in `chat.v2`. Everything from here on follows, whatever the client had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
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
    /// Number of the turn on this connection.
    pub turn: u32,
    pub conversation_id: ConversationId,
    /// `seq` of the last token sent on this connection; -1 before the first.
    pub seq: i64,
}
