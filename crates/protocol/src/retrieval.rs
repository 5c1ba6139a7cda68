//! Account of a search in the knowledge base: what its result is worth, and the methods behind it.

use serde::{Deserialize, Serialize};

/// Strength of the passages that were found for a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetrievalBasis {
    /// The best passage contains the words of the question.
    Covered,
    /// The best passage is similar enough in meaning to be used as an answer.
    Similar,
    /// Passages were found, but none is known to answer the question; the best one is the closest section.
    Closest,
    /// No passage was found.
    #[default]
    Nothing,
}

/// Part that a method took in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MethodOutcome {
    Used,
    /// The method was not available; the others answered without it.
    Failed,
}

/// Methods of a search. A method that is not configured, or not needed for this question, is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RetrievalMethods {
    /// BM25 over the words of the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<MethodOutcome>,
    /// Similarity by the built-in table of word vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_vectors: Option<MethodOutcome>,
    /// Similarity by embeddings of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<MethodOutcome>,
    /// Reordering of the best passages by a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<MethodOutcome>,
}

/// Account of the search that an answer is based on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RetrievalAccount {
    pub basis: RetrievalBasis,
    pub methods: RetrievalMethods,
    /// Question that was searched for, if a model rewrote the user's follow-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}
