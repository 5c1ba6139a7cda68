//! Knowledge base service: search, index maintenance and document management.

use super::{
    rank::{GOOD_SCORE, rank},
    reader::{ChildReader, DocumentReader},
};
use crate::{
    config::KnowledgeConfig,
    domain::{Document, DocumentId, MethodOutcome, Passage, Retrieval, RetrievalBasis, RetrievalMethods},
    limits::{INDEX_UPDATE_RETRY_INTERVAL, INDEX_UPDATE_WAIT_AT_START},
    store::{DocumentStore, Listed, Page, SearchHits, StoreError},
    terms::{SearchTerms, search_terms},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Number of chunks with the best BM25 scores that a search ranks.
const CANDIDATES: u32 = 50;

/// Handle to the knowledge base. Clones share the store and the reader.
#[derive(Clone)]
pub struct KnowledgeBase {
    pub(super) store: Arc<dyn DocumentStore>,
    pub(super) config: KnowledgeConfig,
    pub(super) reader: Arc<dyn DocumentReader>,
}

impl KnowledgeBase {
    pub fn new(store: Arc<dyn DocumentStore>, config: KnowledgeConfig) -> Self {
        let reader = Arc::new(ChildReader::new(config.clone()));
        Self { store, config, reader }
    }

    /// Creates a knowledge base that extracts documents in this process.
    #[cfg(test)]
    pub fn in_process(store: Arc<dyn DocumentStore>, config: KnowledgeConfig) -> Self {
        let reader = Arc::new(super::reader::test_support::InProcess(config.clone()));
        Self { store, config, reader }
    }

    /// Finds passages for a query, best first, in the collections of `scope` (empty: all) and in documents without a
    /// collection. [`super::rank`] defines the scores; a query about another subject finds no passages or low scores.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn search(&self, query: &str, scope: &[String], limit: usize) -> Result<Vec<Passage>, StoreError> {
        let (search, found) = self.hits(query, scope, limit).await?;
        Ok(rank(&search, &found, |hit| hit.in_scope, limit))
    }

    /// Finds passages to answer a question from: those in `scope`, or in all collections if none of them scores as an answer.
    /// This makes retrieval robust against a wrong choice of specialist.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn retrieve(&self, query: &str, scope: &[String], limit: usize) -> Result<Retrieval, StoreError> {
        let (search, found) = self.hits(query, scope, limit).await?;
        let in_scope = rank(&search, &found, |hit| hit.in_scope, limit);
        let passages = if is_covered(&in_scope) { in_scope } else { rank(&search, &found, |_| true, limit) };
        let basis = match passages.as_slice() {
            [] => RetrievalBasis::Nothing,
            passages if is_covered(passages) => RetrievalBasis::Covered,
            _ => RetrievalBasis::Closest,
        };
        let methods = RetrievalMethods { words: Some(MethodOutcome::Used), ..RetrievalMethods::default() };
        Ok(Retrieval { passages, basis, methods })
    }

    /// Returns the terms of a query and the chunks that contain any of them.
    async fn hits(&self, query: &str, scope: &[String], limit: usize) -> Result<(SearchTerms, SearchHits), StoreError> {
        let search = search_terms(query);
        if search.is_empty() || limit == 0 {
            return Ok((search, SearchHits::default()));
        }
        let candidates = CANDIDATES.max(limit.try_into().unwrap_or(u32::MAX));
        let found = self.store.search_chunks(search.terms.clone(), scope.to_vec(), candidates).await?;
        Ok((search, found))
    }

    /// Updates the index to the current version of [`crate::terms`] for at most `max_duration`. Returns whether it is complete.
    /// If not, the remaining documents may not be found until a later call has updated them.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn update_index(&self, max_duration: Duration) -> Result<bool, StoreError> {
        let began = Instant::now();
        let mut updated = 0;
        loop {
            let chunks = self.store.update_chunk_terms().await?;
            updated += chunks;
            let is_done = chunks == 0;
            if is_done || began.elapsed() >= max_duration {
                if !is_done {
                    log::warn!(chunks = updated; "rebuilding the search index in the background; search is incomplete until then");
                } else if updated > 0 {
                    log::info!(chunks = updated; "rebuilt the search index for this version");
                }
                return Ok(is_done);
            }
        }
    }

    /// Updates the index, and continues in a background task if that takes long.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn start_index(&self) -> Result<(), StoreError> {
        if !self.update_index(INDEX_UPDATE_WAIT_AT_START).await? {
            let base = self.clone();
            tokio::spawn(async move { base.finish_index().await });
        }
        Ok(())
    }

    /// Updates the index completely, retrying while the store fails.
    async fn finish_index(&self) {
        while let Err(error) = self.update_index(Duration::MAX).await {
            log::warn!(error:%; "could not rebuild the search index; retrying later");
            tokio::time::sleep(INDEX_UPDATE_RETRY_INTERVAL).await;
        }
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

    /// # Errors
    /// `NotFound`, or when the store is unavailable.
    pub async fn delete(&self, id: DocumentId) -> Result<(), StoreError> {
        self.store.delete_document(id).await
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

/// Whether the best passage contains enough of the question's words to answer it.
fn is_covered(passages: &[Passage]) -> bool {
    passages.first().is_some_and(|best| best.score >= GOOD_SCORE)
}

#[cfg(test)]
mod tests;
