//! Storage of documents and their chunks.

use super::{Listed, Page, StoreError};
use crate::domain::{Chunk, Document, DocumentId};

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
