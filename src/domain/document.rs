//! Documents of the knowledge base, their chunks, and passages found by a search.

use super::{DocumentId, RetrievalAccount, RetrievalBasis, RetrievalMethods, UnixMillis};
use serde::Serialize;

/// Metadata of a document in the knowledge base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Document {
    pub id: DocumentId,
    /// Unique name.
    pub source: String,
    /// Collection, which restricts the document to specialists whose knowledge scope names it. Empty: available to all.
    pub collection: String,
    pub media_type: String,
    pub bytes: u64,
    pub chunks: u32,
    /// When a document with this name was first ingested.
    pub created_at_ms: UnixMillis,
    /// When the current version was ingested.
    pub updated_at_ms: UnixMillis,
}

/// Part of a document that is indexed and found as a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Headings of its section, outermost first, joined by ` › `.
    pub title: String,
    pub text: String,
    /// Words and phrases that the author gave to its section, so that searches in other words find it. Never shown.
    pub keywords: Vec<String>,
}

impl Chunk {
    /// Returns the size of its texts, in bytes.
    pub fn bytes(&self) -> usize {
        self.title.len() + self.text.len() + self.keywords.iter().map(String::len).sum::<usize>()
    }
}

/// Chunk found by a search.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Passage {
    pub document_id: DocumentId,
    /// Name of the document, such as `specifications.md`.
    pub source: String,
    /// Headings of its section, outermost first, joined by ` › `.
    pub title: String,
    /// Number of the passage in its document, from 1.
    pub passage: u32,
    pub text: String,
    /// Relevance, from 0 to 1.
    pub score: f64,
}

/// Result of a search for passages that answer a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrieval {
    /// Best match first.
    pub passages: Vec<Passage>,
    pub basis: RetrievalBasis,
    pub methods: RetrievalMethods,
}

impl Retrieval {
    /// Returns the account of the search for the metadata of an answer.
    pub fn account(&self) -> RetrievalAccount {
        RetrievalAccount { basis: self.basis, methods: self.methods, query: None }
    }
}
