//! Errors of text extraction, common to all formats. The child process sends them to the server as JSON.

use serde::{Deserialize, Serialize};

/// Reason why a document could not be extracted. Each message continues "the document …" and tells the sender what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractError {
    #[error("is {0}, which is not supported; send Markdown, plain text in UTF-8, PDF or DOCX")]
    Unsupported(String),
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("contains or unpacks to more than {limit_bytes} bytes; split it into smaller documents")]
    TooLarge { limit_bytes: u64 },
    #[error("contains no text; a scanned document needs text recognition (OCR) first")]
    Empty,
    #[error("has a comment with keywords in line {line} that does not end; end it with \"-->\"")]
    UnclosedKeywords { line: usize },
    #[error("has a keyword of more than {limit} characters in line {line}; separate keywords by \";\" or lines")]
    LongKeyword { line: usize, limit: usize },
    #[error("has more than {limit} keywords for one section, in line {line}; keep those that people search by")]
    TooManyKeywords { line: usize, limit: usize },
    #[error("would be split into more than {limit} chunks; split it into smaller documents")]
    TooManyChunks { limit: usize },
    #[error(
        "takes longer to process than the server allows (knowledge.extract_timeout_s); split it, or save it in a simpler \
         form"
    )]
    Timeout,
    #[error(
        "takes more memory to process than the server allows (knowledge.extract_memory_bytes = {limit_bytes}); split \
         it, or save it in a simpler form"
    )]
    OutOfMemory { limit_bytes: u64 },
    #[error("is damaged or has an unsupported structure; save it again with another program")]
    Damaged,
}
