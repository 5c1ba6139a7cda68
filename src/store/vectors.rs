//! Storage of the vectors of passages by an embedding model.

use super::StoreError;
use crate::domain::{Chunk, DocumentId};

/// Vectors of a document's passages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentVectors {
    /// `updated_at_ms` of the document that they were read with; absent if there is no such document.
    pub version: Option<i64>,
    /// Vectors by the number of their passage, from 1.
    pub vectors: Vec<(u32, Vec<f32>)>,
}

/// Vector of a passage.
#[derive(Clone, Debug, PartialEq)]
pub struct PassageVector {
    pub document_id: DocumentId,
    /// Number of the passage in the document, from 1.
    pub number: u32,
    /// The passage as it was embedded.
    pub chunk: Chunk,
    pub vector: Vec<f32>,
}

/// Stores a vector for each passage. It is deleted with its passage, hence when the document is deleted or replaced.
#[async_trait::async_trait]
pub trait VectorStore: Send + Sync {
    /// Reads the vectors of a document that are of this space.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn vectors(&self, id: DocumentId, space: String) -> Result<DocumentVectors, StoreError>;

    /// Stores vectors of this space, replacing those of the same passages. A vector is dropped if its passage was changed or deleted
    /// meanwhile.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn put_vectors(&self, space: String, vectors: Vec<PassageVector>) -> Result<(), StoreError>;
}
