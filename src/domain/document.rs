//! Documents of the knowledge base, their chunks, and the passages that a search finds.

use super::{DocumentId, Source, UnixMillis};
use serde::Serialize;

/// A document of the knowledge base, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Document {
    pub id: DocumentId,
    /// Its name; unique.
    pub source: String,
    /// What it is about; an agent's knowledge scope names collections. Empty: for all agents.
    pub collection: String,
    pub media_type: String,
    pub bytes: u64,
    pub chunks: u32,
    /// When a document of this name first came.
    pub created_at_ms: UnixMillis,
    /// When this text of it came.
    pub updated_at_ms: UnixMillis,
}

/// A piece of a document: the unit that is indexed and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The headings above it, outermost first, joined by ` › `.
    pub title: String,
    pub text: String,
}

/// A chunk that fits a question.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Passage {
    pub document_id: DocumentId,
    /// The document's name, such as `specifications.md`.
    pub source: String,
    /// The heading it stands under, outermost first, joined by ` › `.
    pub title: String,
    pub text: String,
    /// How well it fits: 0 (not at all) to 1.
    pub score: f64,
}

impl From<&Passage> for Source {
    fn from(passage: &Passage) -> Self {
        Self { source: passage.source.clone(), title: passage.title.clone(), score: passage.score }
    }
}
