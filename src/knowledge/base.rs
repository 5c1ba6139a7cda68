//! Knowledge base service: search, index maintenance and document management.

use super::{
    embeddings::{EmbeddedQuestion, Embedder, Embeddings, EmbeddingsStatus, Indexer},
    index::Index,
    live_index::LiveIndex,
    query::RetrievalQuery,
    question::{Lexicon, Question},
    reader::{ChildReader, DocumentReader},
    rerank::{self, Reranker},
    retrieval::{Meaning, retrieve_from, search_in},
    votes::{CollectionVote, votes_of},
};
use crate::{
    config::KnowledgeConfig,
    domain::{Document, DocumentId, MethodOutcome, Passage, Retrieval},
    language::Languages,
    limits::{INDEX_SYNC_INTERVAL, INDEX_WAIT_AT_START, MAX_PAGE_BYTES},
    store::{DocumentPassage, DocumentStore, Listed, Page, StoreError, VectorStore},
};
use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Largest index that is searched on the thread of the request: some hundred microseconds.
const MAX_PASSAGES_IN_PLACE: usize = 500;

/// Handle to the knowledge base. Clones share the store, the index and the reader.
#[derive(Clone)]
pub struct KnowledgeBase {
    pub(super) store: Arc<dyn DocumentStore>,
    pub(super) index: Arc<LiveIndex>,
    lexicon: Arc<Lexicon>,
    /// Absent without an embedding model.
    embeddings: Option<(Arc<Embeddings>, Arc<dyn VectorStore>)>,
    /// Absent without a reranking model.
    reranker: Option<Arc<Reranker>>,
    pub(super) config: KnowledgeConfig,
    pub(super) reader: Arc<dyn DocumentReader>,
}

impl KnowledgeBase {
    /// Creates a knowledge base that understands questions in the built-in languages.
    pub fn new(store: Arc<dyn DocumentStore>, config: KnowledgeConfig) -> Self {
        let reader = Arc::new(ChildReader::new(config.clone()));
        Self { store, index: Arc::default(), lexicon: Arc::default(), embeddings: None, reranker: None, config, reader }
    }

    /// Replaces the languages in which it understands questions.
    pub fn with_languages(self, languages: Arc<Languages>) -> Self {
        Self { lexicon: Arc::new(Lexicon::new(languages)), ..self }
    }

    /// Adds an embedding model, whose vectors `store` keeps.
    pub fn with_embeddings(self, embedder: Embedder, store: Arc<dyn VectorStore>) -> Self {
        Self { embeddings: Some((Arc::new(Embeddings::new(embedder)), store)), ..self }
    }

    /// Adds a reranking model.
    pub fn with_reranker(self, reranker: Reranker) -> Self {
        Self { reranker: Some(Arc::new(reranker)), ..self }
    }

    /// Creates a knowledge base that extracts documents in this process.
    #[cfg(test)]
    pub fn in_process(store: Arc<dyn DocumentStore>, config: KnowledgeConfig) -> Self {
        let reader = Arc::new(super::reader::test_support::InProcess(config.clone()));
        Self { store, index: Arc::default(), lexicon: Arc::default(), embeddings: None, reranker: None, config, reader }
    }

    /// Finds passages for a query, best first, in the collections of `scope` (empty: all) and in documents without a
    /// collection. [`super::index`] defines the scores; a query about another subject finds no passages or low scores.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn search(&self, query: &str, scope: &[String], limit: usize) -> Result<Vec<Passage>, StoreError> {
        let query = query.into();
        let (embedded, _) = self.embedded(&query).await;
        let (scope, meaning) = (scope.to_vec(), Meaning { thresholds: self.index.thresholds(), embedded });
        self.with_index(&query, move |index, question| search_in(index, question, &scope, limit, &meaning)).await
    }

    /// Finds passages to answer a question from: those in `scope`, or in all collections if none of them scores as an answer.
    /// This makes retrieval robust against a wrong choice of specialist.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn retrieve(
        &self,
        query: impl Into<RetrievalQuery>,
        scope: &[String],
        limit: usize,
    ) -> Result<Retrieval, StoreError> {
        let query = query.into();
        let candidates = if self.reranker.is_some() { limit.max(rerank::CANDIDATES) } else { limit };
        let (embedded, outcome) = self.embedded(&query).await;
        let (scope, meaning) = (scope.to_vec(), Meaning { thresholds: self.index.thresholds(), embedded });
        let search =
            move |index: &Index, question: &Question<'_>| retrieve_from(index, question, &scope, candidates, &meaning);
        let mut found = self.with_index(&query, search).await?;
        found.methods.embeddings = outcome;
        if let Some(reranker) = self.reranker.as_ref().filter(|_| found.passages.len() > 1) {
            // The failure has been counted and logged.
            let reranked = reranker.rerank(&query.joined(), &mut found.passages).await;
            found.methods.rerank = Some(if reranked.is_ok() { MethodOutcome::Used } else { MethodOutcome::Failed });
        }
        found.passages.truncate(limit);
        Ok(found)
    }

    /// Embeds a query. Returns the outcome, which is absent without an embedding model.
    async fn embedded(&self, query: &RetrievalQuery) -> (Option<EmbeddedQuestion>, Option<MethodOutcome>) {
        let Some((embeddings, _)) = &self.embeddings else { return (None, None) };
        // The failure has been counted and logged.
        let embedded = embeddings.question(&query.joined()).await.ok();
        let outcome = if embedded.is_some() { MethodOutcome::Used } else { MethodOutcome::Failed };
        (embedded, Some(outcome))
    }

    /// Returns the titles of up to `limit` passages around one in its document, nearest first. Nothing is searched for.
    pub fn titles_around(&self, passage: &Passage, limit: usize) -> Vec<String> {
        self.index.read().titles_around(passage.document_id, passage.passage, limit)
    }

    /// Searches all collections, and returns the vote for each collection with one of the best passages.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn votes(&self, query: &RetrievalQuery) -> Result<Vec<CollectionVote>, StoreError> {
        self.with_index(query, votes_of).await
    }

    /// Searches the index: a small one in place, since that takes less time than to involve another thread; a large one on a
    /// blocking thread, so that the streams of this thread do not wait.
    async fn with_index<T: Send + 'static>(
        &self,
        query: &RetrievalQuery,
        search: impl FnOnce(&Index, &Question<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.indexed_passages() <= MAX_PASSAGES_IN_PLACE {
            return Ok(search(&self.index.read(), &Question::of(query, &self.lexicon)));
        }
        let (index, lexicon, query) = (Arc::clone(&self.index), Arc::clone(&self.lexicon), query.clone());
        let work = tokio::task::spawn_blocking(move || search(&index.read(), &Question::of(&query, &lexicon)));
        work.await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Fills the index from the store, and keeps it equal to the store, which other processes may change (`switchboard
    /// ingest`). What takes longer than [`INDEX_WAIT_AT_START`] continues in the background: filling it, or measuring its thresholds.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn start_index(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let (filled, is_filled) = oneshot::channel();
        let (calibrated, is_calibrated) = oneshot::channel();
        let index = (Arc::clone(&self.index), Arc::clone(&self.lexicon));
        let indexer = self.embeddings.as_ref().map(|(embeddings, store)| {
            Indexer::new(Arc::downgrade(store), Arc::clone(&self.index), Arc::clone(embeddings))
        });
        tokio::spawn(follow(Arc::downgrade(&self.store), index, FirstRun { filled, calibrated, indexer }));
        match tokio::time::timeout(INDEX_WAIT_AT_START, is_filled).await {
            Ok(Ok(outcome)) => {
                outcome?;
                log::info!(passages = self.indexed_passages(), took_ms = began.elapsed().as_millis(); "built the search index");
                // Otherwise the first answers depend on how far the background has come.
                _ = tokio::time::timeout(INDEX_WAIT_AT_START.saturating_sub(began.elapsed()), is_calibrated).await;
            }
            Ok(Err(_)) => return Err(StoreError::Unavailable("the search index was not built".to_owned())),
            Err(_) => log::warn!("building the search index in the background; search is incomplete until then"),
        }
        Ok(())
    }

    /// Brings the index and its thresholds up to date with the store now, instead of in the background.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn complete_index(&self) -> Result<(), StoreError> {
        self.index.sync(self.store.as_ref()).await?;
        self.index.measure_thresholds(&self.lexicon).await
    }

    /// Returns the number of passages in the index.
    pub fn indexed_passages(&self) -> usize {
        self.index.read().len()
    }

    /// Returns the progress of the embedding of passages; `None` without an embedding model.
    pub fn embeddings_status(&self) -> Option<EmbeddingsStatus> {
        let (embeddings, _) = self.embeddings.as_ref()?;
        let (embedded, passages) = self.index.embedded();
        Some(embeddings.status(passages, embedded))
    }

    /// Lists documents, newest first.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn list(&self, page: Page<DocumentId>) -> Result<Listed<Document>, StoreError> {
        self.store.list_documents(page).await
    }

    /// # Errors
    /// `NotFound`, or when the store is unavailable.
    pub async fn get(&self, id: DocumentId) -> Result<Document, StoreError> {
        self.store.document(id).await
    }

    /// Reads the passages of a document after the one with the number `after`: at least one, if there are any, and as many more
    /// as have [`MAX_PAGE_BYTES`] of text.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn passages(&self, id: DocumentId, after: u32) -> Result<Vec<DocumentPassage>, StoreError> {
        self.store.passages(id, after, MAX_PAGE_BYTES).await
    }

    /// # Errors
    /// `NotFound`, or when the store is unavailable.
    pub async fn delete(&self, id: DocumentId) -> Result<(), StoreError> {
        let change = self.index.change().await;
        self.store.delete_document(id).await?;
        self.index.delete(change, id).await
    }

    /// Lists the passages of all documents: the name of the document and the headings of each.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn sections(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut sections = Vec::new();
        for (id, _) in self.store.document_versions().await? {
            let (document, chunks) = self.store.document_with_chunks(id).await?;
            sections.extend(chunks.into_iter().map(|chunk| (document.source.clone(), chunk.title)));
        }
        Ok(sections)
    }

    /// Returns the maximum duration of an upload.
    pub fn upload_timeout(&self) -> Duration {
        Duration::from_secs(self.config.upload_timeout_s)
    }

    /// Returns the maximum size of a document, in bytes.
    pub fn max_document_bytes(&self) -> usize {
        self.config.max_document_bytes
    }
}

/// Things to do when the index has been filled for the first time.
struct FirstRun {
    filled: oneshot::Sender<Result<(), StoreError>>,
    calibrated: oneshot::Sender<()>,
    indexer: Option<Indexer>,
}

/// Keeps `index` equal to the store while the store is in use.
async fn follow(store: Weak<dyn DocumentStore>, (index, lexicon): (Arc<LiveIndex>, Arc<Lexicon>), first: FirstRun) {
    let mut first = Some(first);
    let mut seen = None;
    while let Some(store) = store.upgrade() {
        let outcome = catch_up(store.as_ref(), &index, &mut seen).await;
        drop(store);
        match (outcome, first.take()) {
            (outcome, Some(FirstRun { filled, calibrated, indexer })) => {
                _ = filled.send(outcome);
                calibrate(&index, &lexicon).await;
                _ = calibrated.send(());
                if let Some(indexer) = indexer {
                    tokio::spawn(indexer.run());
                }
            }
            (Err(error), None) => log::warn!(error:%; "could not update the search index; retrying later"),
            (Ok(()), None) => calibrate(&index, &lexicon).await,
        }
        tokio::time::sleep(INDEX_SYNC_INTERVAL).await;
    }
}

async fn calibrate(index: &Arc<LiveIndex>, lexicon: &Arc<Lexicon>) {
    if let Err(error) = index.calibrate(lexicon).await {
        log::warn!(error:%; "could not measure the thresholds of the search index; retrying later");
    }
}

/// Updates the index if the fingerprint of the documents is not the one that was `seen` before.
async fn catch_up(
    store: &dyn DocumentStore,
    index: &Arc<LiveIndex>,
    seen: &mut Option<(i64, i64, i64)>,
) -> Result<(), StoreError> {
    let current = store.documents_fingerprint().await?;
    if *seen != Some(current) {
        index.sync(store).await?;
        *seen = Some(current);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
