//! Reordering of passages by a model (`[rerank]`), on a server with a `/rerank` like that of Cohere or Jina.

use super::model_server::{InvalidModelServer, ModelServer, RequestError, beginning};
use crate::{
    config::RerankConfig,
    domain::Passage,
    metrics::{Metrics, SearchTask},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Passages that are reordered.
pub const CANDIDATES: usize = 50;
/// Largest response, in bytes; some servers return the texts.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// Time after a failure in which no request is sent.
const PAUSE: Duration = Duration::from_secs(10);

/// Failure to reorder passages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RerankError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the response is not a list of results in JSON (line {line}, column {column})")]
    Malformed { line: usize, column: usize },
    #[error("the indexes of the results are not those of the passages")]
    Indexes,
    #[error("the server failed a short while ago")]
    Paused,
}

/// Client of a reranking model.
pub struct Reranker {
    server: ModelServer,
    model: String,
    timeout: Duration,
    paused_until: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    query: &'a str,
    documents: Vec<String>,
    top_n: usize,
    return_documents: bool,
}

#[derive(Deserialize)]
struct Response {
    results: Vec<Ranked>,
}

#[derive(Deserialize)]
struct Ranked {
    index: usize,
    relevance_score: f64,
}

impl Reranker {
    /// Creates the client without connecting; `None` if `[rerank]` is not set.
    ///
    /// # Errors
    /// When the URL or the API key cannot be used.
    pub fn new(config: &RerankConfig, metrics: Arc<Metrics>) -> Result<Option<Self>, InvalidModelServer> {
        let Some((base_url, model)) = config.base_url.as_ref().zip(config.model.as_ref()) else { return Ok(None) };
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        Ok(Some(Self {
            server: ModelServer::new(base_url, "rerank", config.api_key.as_ref(), connect_timeout)?,
            model: model.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            paused_until: Mutex::default(),
            metrics,
        }))
    }

    /// Puts those of the first [`CANDIDATES`] passages first that answer `query` best. They keep their order if that fails.
    ///
    /// # Errors
    /// When the server fails or is too slow, or failed within the last [`PAUSE`].
    pub async fn rerank(&self, query: &str, passages: &mut Vec<Passage>) -> Result<(), RerankError> {
        let paused_until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused_until.is_some_and(|until| Instant::now() < until) {
            self.metrics.search_request_skipped(SearchTask::Rerank);
            return Err(RerankError::Paused);
        }
        let began = Instant::now();
        let order = self.request(query, passages).await;
        self.metrics.search_request(SearchTask::Rerank, order.is_ok(), began.elapsed());
        let order = order.inspect_err(|error| {
            log::warn!(error:%, pause_s = PAUSE.as_secs(); "reranking failed; passages keep their order");
            *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
        })?;
        reorder(passages, &order);
        Ok(())
    }

    /// Returns the indexes of the best passages, best first.
    async fn request(&self, query: &str, passages: &[Passage]) -> Result<Vec<usize>, RerankError> {
        let documents: Vec<_> =
            passages.iter().take(CANDIDATES).map(|it| format!("{}\n{}", it.title, it.text)).collect();
        let top_n = documents.len();
        let request =
            Request { model: &self.model, query: beginning(query), documents, top_n, return_documents: false };
        let body = self.server.post(&request, MAX_RESPONSE_BYTES, self.timeout).await?;
        read_order(&body, top_n)
    }
}

/// Reads the order of `passages` passages, best first. Passages without a result are missing.
fn read_order(body: &[u8], passages: usize) -> Result<Vec<usize>, RerankError> {
    let response: Response = serde_json::from_slice(body)
        .map_err(|error| RerankError::Malformed { line: error.line(), column: error.column() })?;
    let mut results = response.results;
    let mut is_ranked = vec![false; passages];
    for Ranked { index, .. } in &results {
        let is_first = is_ranked.get_mut(*index).is_some_and(|is_ranked| !std::mem::replace(is_ranked, true));
        if !is_first {
            return Err(RerankError::Indexes);
        }
    }
    if results.is_empty() && passages > 0 {
        return Err(RerankError::Indexes);
    }
    results.sort_by(|one, other| other.relevance_score.total_cmp(&one.relevance_score));
    Ok(results.into_iter().map(|ranked| ranked.index).collect())
}

/// Puts the passages at these indexes first, in this order. A passage is at least as relevant as those after it, and its score becomes
/// the highest of theirs.
fn reorder(passages: &mut Vec<Passage>, order: &[usize]) {
    let mut place = vec![usize::MAX; passages.len()];
    order.iter().enumerate().for_each(|(at, index)| place[*index] = at);
    let mut placed: Vec<(usize, Passage)> = place.into_iter().zip(passages.drain(..)).collect();
    placed.sort_by_key(|(place, _)| *place);
    passages.extend(placed.into_iter().map(|(_, passage)| passage));
    let mut highest = 0.0_f64;
    for passage in passages.iter_mut().rev() {
        highest = highest.max(passage.score);
        passage.score = highest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DocumentId;

    fn passage(title: &str, score: f64) -> Passage {
        Passage {
            document_id: DocumentId::new(),
            source: "a.md".to_owned(),
            title: title.to_owned(),
            passage: 1,
            text: "Text.".to_owned(),
            score,
        }
    }

    #[test]
    fn results_are_ordered_by_their_score() {
        let body =
            br#"{"results":[{"index":2,"relevance_score":-1.5},{"index":0,"relevance_score":0.9,"document":null}]}"#;
        assert_eq!(read_order(body, 3), Ok(vec![0, 2]));
    }

    #[test]
    fn wrong_results_are_rejected() {
        let read = |body: &str| read_order(body.as_bytes(), 2);
        assert_eq!(read("nonsense"), Err(RerankError::Malformed { line: 1, column: 2 }));
        assert_eq!(read(r#"{"results":[]}"#), Err(RerankError::Indexes));
        assert_eq!(read(r#"{"results":[{"index":2,"relevance_score":1}]}"#), Err(RerankError::Indexes));
        let one = r#"{"index":1,"relevance_score":1}"#;
        assert_eq!(read(&format!(r#"{{"results":[{one},{one}]}}"#)), Err(RerankError::Indexes));
    }

    #[test]
    fn passages_without_a_result_follow_in_their_order_and_scores_never_increase() {
        let mut passages = vec![passage("a", 0.9), passage("b", 0.5), passage("c", 0.4), passage("d", 0.2)];
        reorder(&mut passages, &[2, 1]);
        let ranked: Vec<_> = passages.iter().map(|passage| (passage.title.as_str(), passage.score)).collect();
        assert_eq!(ranked, [("c", 0.9), ("b", 0.9), ("a", 0.9), ("d", 0.2)]);
    }
}
