//! Metadata of an answer: finish reason, sources, usage and latency.

use crate::{DocumentId, RetrievalAccount};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, str::FromStr, sync::Arc};

/// Reason why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model completed the answer.
    Stop,
    /// The model reached the token limit.
    Length,
    /// The user cancelled the turn.
    Cancelled,
    /// Generation failed; the text is incomplete.
    Error,
}

impl FinishReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::Cancelled, Self::Error];

    /// Returns the reason as sent on the wire and stored.
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

/// Passage of a document that an answer is based on. The answer cites the first one of its list as `[1]`.
///
/// Answers of older versions have only `source`, `title` and `score`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Source {
    /// Name of the document, such as `specifications.md`.
    pub source: String,
    /// Headings of the passage's section, outermost first, joined by ` › `.
    pub title: String,
    /// Relevance to the question, from 0 to 1.
    pub score: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// Number of the passage in its document, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage: Option<u32>,
    /// Beginning of the passage as plain text, at most 240 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// Address of a page that shows the passage in its document, valid for seven days from the response; relative to the
    /// server unless `server.public_url` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Citation in the text of an answer, such as `[1]`.
///
/// A list such as `[1, 2]` is a citation of each of its sources, all with the same offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Citation {
    /// Number of the source: 1 for the first of `sources`.
    pub n: u32,
    /// Offset of the opening bracket in the answer, in bytes of UTF-8.
    pub start: u32,
    /// Offset after the closing bracket, in bytes of UTF-8.
    pub end: u32,
    /// `start` in UTF-16 code units, as JavaScript counts.
    pub start_utf16: u32,
    /// `end` in UTF-16 code units.
    pub end_utf16: u32,
}

/// Token counts of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
}

/// Durations within a turn, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Latency {
    /// Choice of the specialist.
    pub routing: u64,
    /// Search in the knowledge base.
    pub retrieval: u64,
    /// From acceptance of the turn to its first token.
    pub first_token: u64,
    /// From acceptance of the turn to its end.
    pub total: u64,
}

/// Attempt of one provider to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// Name of the provider in the server's configuration.
    pub provider: String,
    pub model: String,
    /// `ok`, `cancelled`, `circuit_open` if the provider was skipped because it failed too often before, or the kind of the
    /// failure, such as `unavailable`, `timeout` or `rate_limited`.
    pub outcome: String,
    /// Duration of the attempt, in milliseconds.
    pub ms: u64,
}

/// Requests to models for one task of a turn, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct TaskUsage {
    /// Number of requests.
    pub calls: u32,
    /// Tokens of the prompts, with the cached ones.
    pub prompt_tokens: u64,
    /// Tokens of the prompts that the model server had cached; absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// Tokens of the answers, with their reasoning.
    pub completion_tokens: u64,
    /// `true` if tokens were estimated because the model server did not count them; otherwise absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Cost in trillionths (10⁻¹²) of the currency; absent if the price of a request is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_trillionths: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Cost of all requests of a turn to models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Cost {
    /// Currency of the amount, such as `USD`.
    pub currency: String,
    /// Amount in trillionths (10⁻¹²) of the currency.
    pub trillionths: u64,
}

/// Metadata of an answer as stored. Clients receive it as [`MetadataView`](crate::MetadataView).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerMetadata {
    /// Specialist that answered. Stored as `agent`.
    #[serde(rename = "agent", alias = "specialist")]
    pub specialist: String,
    /// Confidence of the router in this specialist, from 0 to 1.
    pub confidence: f64,
    /// Whether the default specialist answered because the router's confidence in the others was too low.
    #[serde(default)]
    pub fallback: bool,
    /// Shared with the steps of the turn while it is in memory.
    pub sources: Arc<[Source]>,
    /// Citations in the order of the text. Answers of older versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
    /// Model that answered.
    pub model: String,
    /// Attempts of all providers that were asked, in order; empty unless the first one failed or was skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Tokens of the answer.
    pub usage: Usage,
    /// Requests to models by task: `classify`, `rewrite`, `generate`. Empty if they say no more than `usage`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<String, TaskUsage>,
    /// Absent if the price of a request is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    pub latency_ms: Latency,
    /// Account of the search; absent if the turn ended before it, and for answers of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<RetrievalAccount>,
    /// Estimated probability that the passages carry the answer, from 0 to 1; absent where nothing was searched for, and for answers
    /// of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<f64>,
    /// `false` while the answer is missing from the history because the store has failed; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_older_versions_are_read() {
        let source: Source = serde_json::from_str(r#"{"source":"a.md","title":"A","score":0.5}"#).unwrap();
        assert_eq!((source.document_id, source.passage, source.excerpt.as_deref()), (None, None, None));
        assert_eq!(source.url, None);
        assert_eq!(serde_json::to_string(&source).unwrap(), r#"{"source":"a.md","title":"A","score":0.5}"#);
    }
}
