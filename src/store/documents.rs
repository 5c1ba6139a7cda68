//! What the knowledge base asks of a database: documents in chunks, and which chunks hold which words.
//!
//! Not the ranking: a database counts, `knowledge::rank` judges.

use super::{Listed, Page, StoreError};
use crate::{
    domain::{Chunk, Document, DocumentId},
    terms::SearchTerm,
};

/// A chunk that holds at least one of the terms of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    pub document_id: DocumentId,
    pub source: String,
    pub title: String,
    pub text: String,
    /// Whether its document is of a collection that was asked for, or of none.
    pub in_scope: bool,
    /// How relevant by BM25, headings weighted over text; larger is better, comparable within one search only.
    pub bm25: f64,
    /// For each term of the search, whether the chunk or its heading holds it.
    pub matched: Vec<bool>,
}

/// What a search found, with the counts that say how telling each of its terms is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchHits {
    /// Chunks in the whole knowledge base.
    pub chunks: u64,
    /// For each term of the search, how many of these hold it.
    pub frequencies: Vec<u64>,
    /// Best by BM25 first: the best of the scope, and the best of the rest.
    pub hits: Vec<SearchHit>,
}

/// Keeps the documents of the knowledge base.
#[async_trait::async_trait]
pub trait DocumentStore: Send + Sync {
    /// Takes a document in, in place of the one with the same `source` if there is one: that one's id and
    /// `created_at_ms` stay. Searches see the old chunks or the new ones, never both or neither.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn put_document(&self, document: Document, chunks: Vec<Chunk>) -> Result<Document, StoreError>;

    /// Documents, those that came last first.
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

    /// Finds the chunks that hold any of `terms`: the best `limit` in the collections of `scope` (empty: all) and in
    /// documents of no collection, and as many of the others.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn search_chunks(
        &self,
        terms: Vec<SearchTerm>,
        scope: Vec<String>,
        limit: u32,
    ) -> Result<SearchHits, StoreError>;

    /// Indexes some of the chunks anew whose terms are of another [`crate::terms::INDEX_VERSION`], and returns
    /// how many; none when all are current. A call takes a moment: other changes go in between.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn update_chunk_terms(&self) -> Result<usize, StoreError>;
}
