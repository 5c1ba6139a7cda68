//! The knowledge base: documents in, the passages that fit a question out.
//!
//! A document is read ([`extract`]), cut along its headings ([`chunk`]) and stored; a search asks the store which chunks
//! hold the words of a question ([`crate::terms`]) and judges them ([`rank`]). Nothing here knows of models or conversations.
//!
//! Reading and cutting happen in a child process ([`reader`] starts it, [`worker`] is its work): formats that other
//! people's programs write are parsed outside of the server.

mod base;
mod chunk;
mod document_file;
mod docx;
mod embedded_data;
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
