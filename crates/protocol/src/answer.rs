//! What is known of an answer besides its text.

use serde::{Deserialize, Serialize};
use std::{str::FromStr, sync::Arc};

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said all it had to say.
    Stop,
    /// The model reached its limit of tokens.
    Length,
    /// The user stopped it.
    Cancelled,
    /// It broke; the text is what there was until then.
    Error,
}

impl FinishReason {
    pub const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::Cancelled, Self::Error];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        }
    }
}

impl FromStr for FinishReason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or("not a finish reason")
    }
}

/// A passage that the answer leans on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Source {
    /// The document's name, such as `specifications.md`.
    pub source: String,
    /// The heading the passage stands under, outermost first, joined by ` › `.
    pub title: String,
    /// How well the passage fits the question: 0 (not at all) to 1.
    pub score: f64,
}

/// Tokens as the model counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
}

/// Where a turn's time went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Latency {
    /// Choosing the specialist.
    pub routing: u64,
    /// Searching the knowledge base.
    pub retrieval: u64,
    /// From the turn's acceptance to its first token.
    pub first_token: u64,
    /// From the turn's acceptance to its end.
    pub total: u64,
}

/// Facts about an answer besides its text, as they are stored. Clients get them as
/// [`MetadataView`](crate::MetadataView).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerMetadata {
    /// The specialist that answered. Databases know it as `agent`.
    #[serde(rename = "agent", alias = "specialist")]
    pub specialist: String,
    /// Confidence of the router in this specialist, from 0 to 1.
    pub confidence: f64,
    /// Whether the default specialist answered because the router was not sure enough of any other.
    #[serde(default)]
    pub fallback: bool,
    /// Shared with the turn's steps while it is in memory.
    pub sources: Arc<[Source]>,
    pub model: String,
    pub usage: Usage,
    pub latency_ms: Latency,
    /// `false`: the answer is not in the history yet, because the store could not take it. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<bool>,
}
