//! Embedding model on a server with an OpenAI-compatible `/embeddings`.

use super::response::{InvalidVectors, read_vectors};
use crate::{
    config::EmbeddingsConfig,
    knowledge::model_server::{InvalidModelServer, ModelServer, RequestError, beginning},
    metrics::{Metrics, SearchTask},
};
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Questions whose vectors are kept: a turn searches for the same text several times.
const RECENT_QUESTIONS: usize = 32;
/// Longest vector of any model, and largest notation of a number in JSON, in bytes: what a response may need.
const MAX_NUMBERS: usize = 8_192;
const MAX_NUMBER_BYTES: usize = 32;
/// Size of a response besides its vectors, in bytes.
const RESPONSE_OVERHEAD_BYTES: usize = 64 * 1024;
/// Version of the text that is embedded for a passage.
const PASSAGE_FORMAT: u32 = 1;
/// Text for a request that only finds out whether the server answers in time.
const CHECK: &str = "Is anybody there?";

/// Failure to embed texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbeddingError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Invalid(#[from] InvalidVectors),
    #[error("the server failed before, and has not answered since")]
    Down,
    #[error("too few passages have been embedded")]
    NotReady,
}

impl EmbeddingError {
    /// Whether the server refused these texts, rather than any.
    pub(super) fn is_of_input(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_of_input())
    }

    /// The time that the server asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(RequestError::Status { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}

/// Form in which a model takes questions or passages.
struct Form {
    prefix: String,
    input_type: Option<String>,
}

/// Client of an embedding model. All its vectors have the same length, that of `embeddings.dimensions` or of the first response,
/// and are normalized, so that their dot product is their cosine.
pub struct Embedder {
    server: ModelServer,
    model: String,
    dimensions: Option<u32>,
    question: Form,
    passage: Form,
    question_timeout: Duration,
    batch_timeout: Duration,
    batch_passages: usize,
    length: OnceLock<usize>,
    recent: Mutex<VecDeque<(String, Arc<[f32]>)>>,
    is_ready: AtomicBool,
    is_down: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Vec<String>,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_type: Option<&'a str>,
}

impl Embedder {
    /// Creates the client without connecting; `None` if `[embeddings]` is not set.
    ///
    /// # Errors
    /// When the URL or the API key cannot be used.
    pub fn new(config: &EmbeddingsConfig, metrics: Arc<Metrics>) -> Result<Option<Self>, InvalidModelServer> {
        let Some((base_url, model)) = config.base_url.as_ref().zip(config.model.as_ref()) else { return Ok(None) };
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let form = |prefix: &Option<String>, input_type: &Option<String>| Form {
            prefix: prefix.clone().unwrap_or_default(),
            input_type: input_type.clone(),
        };
        let length = OnceLock::new();
        if let Some(dimensions) = config.dimensions {
            _ = length.set(dimensions as usize);
        }
        Ok(Some(Self {
            server: ModelServer::new(base_url, "embeddings", config.api_key.as_ref(), connect_timeout)?,
            model: model.clone(),
            dimensions: config.dimensions,
            question: form(&config.query_prefix, &config.query_input_type),
            passage: form(&config.passage_prefix, &config.passage_input_type),
            question_timeout: Duration::from_millis(config.query_timeout_ms),
            batch_timeout: Duration::from_millis(config.batch_timeout_ms),
            batch_passages: config.batch_passages,
            length,
            recent: Mutex::default(),
            is_ready: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            metrics,
        }))
    }

    /// Identifies what makes the vectors of passages comparable: the model and the form of its input.
    pub(super) fn space(&self) -> String {
        let Form { prefix, input_type } = &self.passage;
        let (model, dimensions) = (&self.model, self.dimensions);
        format!("{model} dimensions={dimensions:?} input_type={input_type:?} prefix={prefix:?} format={PASSAGE_FORMAT}")
    }

    /// Returns the length of all vectors, once it is known.
    pub(super) fn length(&self) -> Option<usize> {
        self.length.get().copied()
    }

    pub(super) const fn batch_passages(&self) -> usize {
        self.batch_passages
    }

    /// Sets whether questions are embedded, since there are enough passages to compare them with.
    pub(super) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Relaxed);
    }

    /// Embeds a question within its time limit. Fails at once unless [`Self::set_ready`], and after a failure until [`Self::check`]
    /// succeeds.
    ///
    /// # Errors
    /// When passages are still being embedded, or the server is down, fails or is too slow.
    pub async fn embed_question(&self, text: &str) -> Result<Arc<[f32]>, EmbeddingError> {
        if !self.is_ready.load(Relaxed) {
            self.metrics.search_request_skipped(SearchTask::Question);
            return Err(EmbeddingError::NotReady);
        }
        let text = beginning(text);
        if let Some((_, vector)) = self.recent().iter().find(|(recent, _)| recent == text) {
            return Ok(Arc::clone(vector));
        }
        if self.is_down.load(Relaxed) {
            self.metrics.search_request_skipped(SearchTask::Question);
            return Err(EmbeddingError::Down);
        }
        let embedded = self.embed(&self.question, &[text], self.question_timeout, SearchTask::Question).await;
        let vector: Arc<[f32]> = match embedded {
            Ok(vectors) => vectors.concat().into(),
            Err(error) => {
                if !error.is_of_input() && !self.is_down.swap(true, Relaxed) {
                    log::warn!(error:%; "embedding a question failed; questions are answered without until the server recovers");
                }
                return Err(error);
            }
        };
        let mut recent = self.recent();
        recent.truncate(RECENT_QUESTIONS - 1);
        recent.push_front((text.to_owned(), Arc::clone(&vector)));
        Ok(vector)
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<(String, Arc<[f32]>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether questions are not embedded because the last one failed.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// Finds out whether the server embeds a question in time again.
    ///
    /// # Errors
    /// When it does not.
    pub(super) async fn check(&self) -> Result<(), EmbeddingError> {
        self.embed(&self.question, &[CHECK], self.question_timeout, SearchTask::Question).await?;
        if self.is_down.swap(false, Relaxed) {
            log::info!("the embedding model answers again");
        }
        Ok(())
    }

    /// Embeds questions in the background.
    ///
    /// # Errors
    /// When the server fails.
    pub(super) async fn embed_probes(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.batch_passages) {
            vectors.extend(self.embed(&self.question, batch, self.batch_timeout, SearchTask::Probes).await?);
        }
        Ok(vectors)
    }

    /// Embeds passages in the background.
    ///
    /// # Errors
    /// When the server fails.
    pub(super) async fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.embed(&self.passage, texts, self.batch_timeout, SearchTask::Passages).await
    }

    async fn embed(
        &self,
        form: &Form,
        texts: &[&str],
        timeout: Duration,
        task: SearchTask,
    ) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        let began = Instant::now();
        let vectors = self.request(form, texts, timeout).await;
        self.metrics.search_request(task, vectors.is_ok(), began.elapsed());
        vectors
    }

    async fn request(&self, form: &Form, texts: &[&str], timeout: Duration) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        let request = Request {
            model: &self.model,
            input: texts.iter().map(|text| format!("{}{text}", form.prefix)).collect(),
            encoding_format: "float",
            dimensions: self.dimensions,
            input_type: form.input_type.as_deref(),
        };
        let max_numbers = texts.len() * self.length().unwrap_or(MAX_NUMBERS);
        let max_bytes = RESPONSE_OVERHEAD_BYTES + max_numbers * MAX_NUMBER_BYTES;
        let body = self.server.post(&request, max_bytes, timeout).await?;
        let vectors = read_vectors(&body, texts.len(), self.length())?;
        let got = vectors.first().map_or(0, Vec::len);
        let expected = *self.length.get_or_init(|| got);
        if got != expected {
            // Another request was the first one.
            return Err(InvalidVectors::Length { expected, got }.into());
        }
        Ok(vectors)
    }
}
