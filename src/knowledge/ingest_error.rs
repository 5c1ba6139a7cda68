//! Errors of ingestion.

use super::extract_error::ExtractError;
use crate::store::StoreError;

/// Reason why a document was not ingested.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    #[error("the {field} {reason}")]
    InvalidName { field: &'static str, reason: &'static str },
    #[error("the document is larger than {limit_bytes} bytes (knowledge.max_document_bytes)")]
    TooLarge { limit_bytes: usize },
    #[error("the document {document:?} {error}")]
    Extract { document: String, error: ExtractError },
    #[error("other documents are being read; try again later")]
    Busy,
    #[error("the file cannot be read: {0}")]
    File(String),
    #[error("cannot start the process that extracts documents: {0}; check knowledge.extract_program")]
    Reader(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}
