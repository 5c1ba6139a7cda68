//! Failures to read a document, which every format shares. They cross the boundary of the child process as JSON.

use serde::{Deserialize, Serialize};

/// The reason why a file could not be read. Each message continues "the document …" and ends with what its sender can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractError {
    #[error("is {0}, which cannot be read; send Markdown, plain text in UTF-8, PDF or DOCX")]
    Unsupported(String),
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("holds or unpacks to more than {limit_bytes} bytes; split it into smaller documents")]
    TooLarge { limit_bytes: u64 },
    #[error("holds no text; a scanned document needs text recognition (OCR) first")]
    Empty,
    #[error("falls into more than {limit} chunks; split it into smaller documents")]
    TooManyChunks { limit: usize },
    #[error(
        "takes longer to read than the server allows (knowledge.extract_timeout_s); split it, or save it again in a \
         simpler form"
    )]
    Timeout,
    #[error(
        "takes more memory to read than the server allows (knowledge.extract_memory_bytes = {limit_bytes}); split it, \
         or save it again in a simpler form"
    )]
    OutOfMemory { limit_bytes: u64 },
    #[error("is damaged, or built in a way that cannot be read; save it again with another program")]
    Damaged,
}
