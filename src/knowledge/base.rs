//! The service: takes documents in and finds passages. Clones share it.

use super::{
    rank::{GOOD_SCORE, rank},
    reader::{ChildReader, DocumentReader},
};
use crate::{
    config::KnowledgeConfig,
    domain::{Document, DocumentId, Passage},
    limits::{INDEX_UPDATE_RETRY_INTERVAL, INDEX_UPDATE_WAIT_AT_START},
    store::{DocumentStore, Listed, Page, SearchHits, StoreError},
    terms::{SearchTerms, search_terms},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Chunks that a search ranks: those best by BM25 alone.
const CANDIDATES: u32 = 50;

/// The knowledge base.
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

    /// A knowledge base that reads documents in this process.
    #[cfg(test)]
    pub fn in_process(store: Arc<dyn DocumentStore>, config: KnowledgeConfig) -> Self {
        let reader = Arc::new(super::reader::test_support::InProcess(config.clone()));
        Self { store, config, reader }
    }

    /// Finds the passages that fit a question, best first, in the collections of `scope` (empty: all) and in documents
    /// of no collection. [`super::rank`] says what their scores mean; a question about something else finds none, or
    /// passages of low scores.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn search(&self, query: &str, scope: &[String], limit: usize) -> Result<Vec<Passage>, StoreError> {
        let (search, found) = self.hits(query, scope, limit).await?;
        Ok(rank(&search, &found, |hit| hit.in_scope, limit))
    }

    /// Finds the passages to answer a question from: those in `scope`, or, when none of them could be taken for an
    /// answer, those anywhere. A router that chose the wrong specialist then does not cost the answer.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn retrieve(&self, query: &str, scope: &[String], limit: usize) -> Result<Vec<Passage>, StoreError> {
        let (search, found) = self.hits(query, scope, limit).await?;
        let in_scope = rank(&search, &found, |hit| hit.in_scope, limit);
        if in_scope.first().is_some_and(|best| best.score >= GOOD_SCORE) {
            return Ok(in_scope);
        }
        Ok(rank(&search, &found, |_| true, limit))
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

    /// Brings the index to the current version of [`crate::terms`], as far as it gets within `patience`. Returns whether
    /// it is there: if not, documents that were not reached are found by the terms of their version, or not at all, until
    /// the next call.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn update_index(&self, patience: Duration) -> Result<bool, StoreError> {
        let began = Instant::now();
        let mut updated = 0;
        loop {
            let chunks = self.store.update_chunk_terms().await?;
            updated += chunks;
            let is_done = chunks == 0;
            if is_done || began.elapsed() >= patience {
                if !is_done {
                    log::warn!(chunks = updated; "the search index is rebuilt while the server runs; until then, not all documents are found");
                } else if updated > 0 {
                    log::info!(chunks = updated; "the search index was rebuilt for this version");
                }
                return Ok(is_done);
            }
        }
    }

    /// Brings the index to the current version, in a task of its own what takes long.
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

    /// Waits out trouble with the store.
    async fn finish_index(&self) {
        while let Err(error) = self.update_index(Duration::MAX).await {
            log::warn!("the search index could not be rebuilt yet: {error}");
            tokio::time::sleep(INDEX_UPDATE_RETRY_INTERVAL).await;
        }
    }

    /// Documents, those that came last first.
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

    /// The most time that an upload may take.
    pub fn upload_timeout(&self) -> Duration {
        Duration::from_secs(self.config.upload_timeout_s)
    }

    /// The largest document it takes, in bytes.
    pub fn max_document_bytes(&self) -> usize {
        self.config.max_document_bytes
    }
}

#[cfg(test)]
mod tests;
