//! Storage and full-text search of documents. The store counts matches; `knowledge::rank` scores them.

use super::{Listed, Page, StoreError};
use crate::{
    domain::{Chunk, Document, DocumentId},
    terms::SearchTerm,
};

/// Chunk that contains at least one term of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    pub document_id: DocumentId,
    pub source: String,
    pub title: String,
    /// Number of the chunk in its document, from 1.
    pub passage: u32,
    pub text: String,
    /// Whether its document belongs to a collection of the scope, or to none.
    pub in_scope: bool,
    /// BM25 score with headings weighted higher than text. Larger is better; comparable only within one search.
    pub bm25: f64,
    /// For each term of the search, whether the chunk or its title contains it.
    pub matched: Vec<bool>,
}

/// Result of a search, with the counts needed to weight its terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchHits {
    /// Number of chunks in the knowledge base.
    pub chunks: u64,
    /// For each term of the search, the number of chunks that contain it.
    pub frequencies: Vec<u64>,
    /// Best hits inside and outside of the scope, ordered by BM25.
    pub hits: Vec<SearchHit>,
}

/// Stores and searches the documents of the knowledge base.
#[async_trait::async_trait]
pub trait DocumentStore: Send + Sync {
    /// Stores a document. It replaces an existing one with the same `source`, of which it keeps the id and `created_at_ms`.
    /// Concurrent searches see either the old chunks or the new ones.
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

    /// Finds the chunks that contain any of `terms`: the best `limit` chunks in the collections of `scope` (empty: all) and in
    /// documents without a collection, and the best `limit` of the others.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn search_chunks(
        &self,
        terms: Vec<SearchTerm>,
        scope: Vec<String>,
        limit: u32,
    ) -> Result<SearchHits, StoreError>;

    /// Indexes a batch of the chunks whose terms have another [`crate::terms::INDEX_VERSION`]. Returns their number; 0 if the
    /// index is current. Batches are small, so that other changes are not delayed.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn update_chunk_terms(&self) -> Result<usize, StoreError>;
}
