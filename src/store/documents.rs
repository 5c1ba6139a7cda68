//! Storage of documents and their chunks.

use super::{Listed, Page, StoreError};
use crate::domain::{Chunk, Document, DocumentId};

/// Passage of a document, as it is shown in its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPassage {
    /// Number in the document, from 1.
    pub number: u32,
    /// Headings of its section, outermost first, joined by ` › `.
    pub title: String,
    pub text: String,
}

/// Stores the documents of the knowledge base.
#[async_trait::async_trait]
pub trait DocumentStore: Send + Sync {
    /// Stores a document. It replaces an existing one with the same `source`, of which it keeps the id and `created_at_ms`.
    /// Concurrent readers see either the old chunks or the new ones.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn put_document(&self, document: Document, chunks: Vec<Chunk>) -> Result<Document, StoreError>;

    /// Lists documents, newest first.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn list_documents(&self, page: Page<DocumentId>) -> Result<Listed<Document>, StoreError>;

    /// # Errors
    /// `NotFound`, or when the database is unavailable.
    async fn document(&self, id: DocumentId) -> Result<Document, StoreError>;

    /// Returns the document with this name.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn document_named(&self, source: &str) -> Result<Option<Document>, StoreError>;

    /// Reads passages of a document in its order, those with numbers above `after`: at least one, if there are any, and as many
    /// more as have `max_bytes` of text.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn passages(&self, id: DocumentId, after: u32, max_bytes: usize) -> Result<Vec<DocumentPassage>, StoreError>;

    /// # Errors
    /// `NotFound`, or when the database is unavailable.
    async fn delete_document(&self, id: DocumentId) -> Result<(), StoreError>;

    /// # Errors
    /// When the database is unavailable.
    async fn count_documents(&self) -> Result<u64, StoreError>;

    /// Returns a document with its chunks, in order.
    ///
    /// # Errors
    /// `NotFound`, or when the database is unavailable.
    async fn document_with_chunks(&self, id: DocumentId) -> Result<(Document, Vec<Chunk>), StoreError>;

    /// Returns each document with its `updated_at_ms`, oldest first.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn document_versions(&self) -> Result<Vec<(DocumentId, i64)>, StoreError>;

    /// Returns a value that differs after any change of the documents, including changes by other processes.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn documents_fingerprint(&self) -> Result<(i64, i64, i64), StoreError>;
}
