//! `[knowledge]`: documents and retrieval.

use super::{
    declare::settings,
    setting::{HOUR_S, MIB},
};
use std::path::PathBuf;

settings! {
    /// Documents and retrieval.
    KnowledgeConfig [knowledge] {
        /// Whether to load the built-in documents into an empty knowledge base.
        seed: bool = true;
        /// Passages to send to the model.
        max_passages: usize = 4, in 1..=100;
        /// Longest passage that a document is cut into.
        chunk_chars: usize = 1_200, in 100..=100_000;
        /// Largest document.
        max_document_bytes: usize = 10 * 1024 * 1024, in 1..=1_024 * MIB;
        /// Largest text extracted from one document.
        max_text_bytes: usize = 10 * 1024 * 1024, in 1..=1_024 * MIB;
        /// Time limit for extracting the text of one document.
        extract_timeout_s: u64 = 20, in 1..=HOUR_S;
        /// Memory limit for extracting the text of one document; two documents are extracted at once.
        extract_memory_bytes: u64 = 512 * MIB, in 64 * MIB..=64 * 1_024 * MIB;
        /// Program that extracts text, such as a sandbox around this one, called as `PROGRAM extract …`; absent: this program.
        extract_program: Option<PathBuf>, example "\"/usr/local/bin/switchboard-in-a-sandbox\"";
        /// Time limit for the upload of one document, which may also not pause for longer than
        /// `server.request_body_timeout_ms`.
        upload_timeout_s: u64 = 300, in 1..=HOUR_S;
    }
}
