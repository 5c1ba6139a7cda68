//! Knowledge base: ingests documents and retrieves passages for a question. Independent of models and conversations.
//!
//! Ingestion extracts the text of a document ([`extract`]), splits it along its headings ([`chunk`]) and stores the chunks. A
//! search turns the question into terms ([`crate::terms`]), lets the store find the chunks that contain them, and scores
//! these ([`rank`]).
//!
//! Extraction and chunking run in a child process, started by [`reader`] and implemented by [`worker`], since documents are
//! untrusted input.

mod base;
mod chunk;
mod document_file;
mod docx;
mod embedded_data;
mod excerpt;
mod extract;
mod extract_error;
mod extract_limits;
mod front_matter;
mod ingest;
mod ingest_error;
mod pdf;
mod query;
mod rank;
mod reader;
mod seed;
mod worker;

pub use base::KnowledgeBase;
pub use document_file::DocumentFile;
pub use extract::MediaType;
pub use extract_error::ExtractError;
pub use ingest::{IngestReport, NewDocument, is_invisible};
pub use ingest_error::IngestError;
pub use query::retrieval_query;
pub use rank::{GOOD_SCORE, MIN_SCORE};
pub use worker::ReadTask;
