//! Metadata of an answer, with the field names of a surface.

use super::FieldNames;
use crate::{AnswerMetadata, Attempt, Citation, Cost, Latency, RetrievalAccount, Source, TaskUsage, Usage};
use serde::Serialize;
use std::collections::BTreeMap;

/// `metadata` of a `complete` frame and of an answer in the history.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct MetadataView<'a> {
    /// Specialist that answered; absent in `chat.v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a str>,
    /// Specialist that answered; absent in `chat.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specialist: Option<&'a str>,
    /// Confidence of the router in this specialist, from 0 to 1.
    pub confidence: f64,
    /// Whether the default specialist answered because the router's confidence in the others was too low.
    pub fallback: bool,
    /// Passages that the answer is based on, in the order of the numbers by which it cites them.
    pub sources: &'a [Source],
    /// Citations in the order of the text. Every `[n]` of the answer outside of code and links is one.
    pub citations: &'a [Citation],
    /// Name of the model that generated the answer.
    pub model: &'a str,
    /// Attempts of all providers that were asked, in order; absent unless the first one failed or was skipped.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<&[Attempt]>"))]
    pub attempts: &'a [Attempt],
    pub usage: Usage,
    /// Requests to models by task: `classify`, `rewrite`, `generate`; absent if they say no more than `usage`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<&BTreeMap<String, TaskUsage>>"))]
    pub calls: &'a BTreeMap<String, TaskUsage>,
    /// Cost of all these requests; absent if the price of one is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<&'a Cost>,
    pub latency_ms: Latency,
    /// Account of the search; absent if the turn ended before it, and for answers of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<&'a RetrievalAccount>,
    /// Estimated probability that the passages carry the answer, from 0 to 1; absent where nothing was searched for, and for answers
    /// of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support: Option<f64>,
    /// `false` while the answer is missing from the history because the store has failed; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<bool>,
}

impl<'a> MetadataView<'a> {
    /// Creates a view of stored metadata.
    pub fn new(metadata: &'a AnswerMetadata, names: FieldNames) -> Self {
        let specialist = names.specialist(&metadata.specialist);
        Self {
            agent: specialist.v1,
            specialist: specialist.v2,
            confidence: metadata.confidence,
            fallback: metadata.fallback,
            sources: &metadata.sources,
            citations: &metadata.citations,
            model: &metadata.model,
            attempts: &metadata.attempts,
            usage: metadata.usage,
            calls: &metadata.calls,
            cost: metadata.cost.as_ref(),
            latency_ms: metadata.latency_ms,
            retrieval: metadata.retrieval.as_ref(),
            support: metadata.support,
            stored: metadata.stored,
        }
    }
}
