//! Search by meaning with the vectors of an embedding model (`[embeddings]`).
//!
//! [`Embedder`] asks the model server. [`Indexer`] embeds passages in the background, stores their vectors and keeps those of the
//! index equal to the store; so neither ingestion nor a start waits for the server. A question is embedded when it is asked,
//! within `embeddings.query_timeout_ms`. After a failure, no further question waits until the server has answered the indexer.

mod embedder;
mod indexer;
mod response;

pub use embedder::{Embedder, EmbeddingError};
pub use indexer::Indexer;

use super::probes::Thresholds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// State of the search with an embedding model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingsStatus {
    pub passages: usize,
    /// Passages that have no vector of the model yet.
    pub without_vector: usize,
    /// Passages among these that the server refused to embed.
    pub refused: usize,
    /// Whether the background task has nothing to do.
    pub is_idle: bool,
    /// Latest failure of the background task; absent after a success.
    pub failure: Option<EmbeddingError>,
}

impl EmbeddingsStatus {
    /// Whether all passages have been embedded that can be.
    pub fn is_complete(&self) -> bool {
        self.is_idle && self.without_vector == self.refused
    }
}

/// Embedding model, with what the background task has found out.
pub struct Embeddings {
    pub embedder: Embedder,
    progress: Mutex<Progress>,
}

#[derive(Clone, Default)]
struct Progress {
    /// Similarities that mean something, and the number of vectors for which they were measured.
    thresholds: Option<(Thresholds, usize)>,
    refused: usize,
    is_idle: bool,
    failure: Option<EmbeddingError>,
}

/// Question as the model understands it.
#[derive(Clone)]
pub struct EmbeddedQuestion {
    pub vector: Arc<[f32]>,
    /// Similarities that mean something, once they have been measured.
    pub thresholds: Option<Thresholds>,
}

impl Embeddings {
    pub fn new(embedder: Embedder) -> Self {
        Self { embedder, progress: Mutex::default() }
    }

    /// Embeds a question.
    ///
    /// # Errors
    /// As [`Embedder::embed_question`].
    pub async fn question(&self, text: &str) -> Result<EmbeddedQuestion, EmbeddingError> {
        let vector = self.embedder.embed_question(text).await?;
        let thresholds = self.progress().thresholds.map(|(thresholds, _)| thresholds);
        Ok(EmbeddedQuestion { vector, thresholds })
    }

    /// Describes the state, given the number of passages and of those with a vector.
    pub fn status(&self, passages: usize, embedded: usize) -> EmbeddingsStatus {
        let Progress { refused, is_idle, failure, .. } = self.progress().clone();
        EmbeddingsStatus { passages, without_vector: passages.saturating_sub(embedded), refused, is_idle, failure }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
