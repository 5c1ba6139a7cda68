//! The knowledge base: documents in, the passages that fit a question out.
//!
//! A document is read ([`extract`]), cut along its headings ([`chunk`]) and stored; a search asks the store which chunks
//! hold the words of a question ([`terms`]) and judges them ([`rank`]). Nothing here knows of models or conversations.
//!
//! Reading and cutting happen in a child process ([`reader`] starts it, [`worker`] is its work): formats that other
//! people's programs write are parsed outside of the server.

mod base;
mod chunk;
mod docx;
mod embedded_data;
mod extract;
mod front_matter;
mod ingest;
mod pdf;
mod query;
mod rank;
mod reader;
mod seed;
pub mod terms;
mod worker;

pub use base::KnowledgeBase;
pub use extract::{ExtractError, MediaType};
pub use ingest::{DocumentFile, IngestError, IngestReport, NewDocument, is_invisible};
pub use query::retrieval_query;
pub use rank::{GOOD_SCORE, MIN_SCORE};
pub use worker::ReadTask;

use crate::domain::{DocumentId, Source, UnixMillis};
use serde::Serialize;

/// A piece of a document that fits a question.
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

/// A piece of a document: what one search result is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The heading it stands under, outermost first, joined by ` › `.
    pub title: String,
    pub text: String,
}
