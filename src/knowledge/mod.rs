//! Knowledge base: ingests documents and retrieves passages for a question. Independent of models and conversations.
//!
//! Ingestion extracts the text of a document ([`extract`]), splits it along its headings ([`chunk`]), stores the chunks and
//! adds them to the index in memory ([`live_index`]). A search turns the question into terms ([`crate::terms`]), lets the
//! [`index`] score the chunks that contain them, ranks chunks by the meaning of their words ([`word_vectors`]) or of the whole
//! question ([`embeddings`]) as well, and decides what the best ones are worth ([`retrieval`]).
//!
//! Extraction and chunking run in a child process, started by [`reader`] and implemented by [`worker`], since documents are
//! untrusted input.

mod base;
mod chunk;
mod document_file;
mod docx;
mod embedded_data;
mod embeddings;
mod excerpt;
mod extract;
mod extract_error;
mod extract_limits;
mod front_matter;
mod index;
mod ingest;
mod ingest_error;
mod keywords;
mod live_index;
mod model_server;
mod pdf;
mod probes;
mod query;
mod question;
mod reader;
mod rerank;
mod retrieval;
mod seed;
mod votes;
mod word_vectors;
mod worker;

pub use base::KnowledgeBase;
pub use document_file::DocumentFile;
pub use embeddings::{Embedder, EmbeddingError, EmbeddingsStatus};
pub use extract::MediaType;
pub use extract_error::ExtractError;
pub use index::{GOOD_SCORE, MIN_SCORE};
pub use ingest::{IngestReport, NewDocument};
pub use ingest_error::IngestError;
pub use query::RetrievalQuery;
pub use rerank::Reranker;
pub use votes::CollectionVote;
pub use word_vectors::{WordVector, WordVectors};
pub use worker::ReadTask;
