//! Shared index: searches run while documents change, and it follows the store.
//!
//! Searches hold a read lock, changes a write lock for one batch of passages at a time, so a search never waits for a whole
//! document. Changes are made one after the other, in the order of their commits in the store.

use super::{
    index::{AnalyzedPassage, DocumentKey, Index, NewTerms, Unembedded},
    probes::Thresholds,
    question::{Lexicon, Question},
};
use crate::{
    domain::{Chunk, Document, DocumentId},
    store::{DocumentStore, StoreError},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Number of passages that are added under one lock: about a millisecond of work.
const BATCH_PASSAGES: usize = 64;
/// A change of the passages by one in this number makes the thresholds outdated.
const CALIBRATION_SHARE: usize = 10;

/// Index of the documents in a store.
#[derive(Default)]
pub struct LiveIndex {
    index: RwLock<Index>,
    /// Held by each change of a document, from before its commit in the store until it is in the index.
    changes: Arc<Mutex<()>>,
    /// Closeness by vectors that means something, and the number of passages for which it was measured.
    thresholds: RwLock<Option<(Thresholds, usize)>>,
}

/// Permit to change one document in the store and in the index.
pub struct Change(#[expect(dead_code, reason = "held until it is dropped")] OwnedMutexGuard<()>);

impl LiveIndex {
    pub fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the thresholds of the similarity by vectors, once they have been measured.
    pub fn thresholds(&self) -> Option<Thresholds> {
        self.measured().map(|(thresholds, _)| thresholds)
    }

    fn measured(&self) -> Option<(Thresholds, usize)> {
        *self.thresholds.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures the thresholds of the similarity by vectors, unless the number of passages has hardly changed.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn calibrate(self: &Arc<Self>, lexicon: &Arc<Lexicon>) -> Result<(), StoreError> {
        let passages = self.read().len();
        let is_current = self.measured().is_some_and(|(_, then)| passages.abs_diff(then) * CALIBRATION_SHARE < then);
        if is_current { Ok(()) } else { self.measure_thresholds(lexicon).await }
    }

    /// Measures the thresholds of the similarity by vectors, unless there are no passages.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn measure_thresholds(self: &Arc<Self>, lexicon: &Arc<Lexicon>) -> Result<(), StoreError> {
        let (index, lexicon) = (Arc::clone(self), Arc::clone(lexicon));
        let work = tokio::task::spawn_blocking(move || {
            let passages = index.read().len();
            if passages == 0 {
                return;
            }
            // The lock is held for one probe at a time.
            let thresholds = Thresholds::measure(|probe| {
                let question = Question::new(probe, &lexicon);
                index.read().similar(&question.telling, question.is_german, &[], 1).closeness
            });
            *index.thresholds.write().unwrap_or_else(PoisonError::into_inner) = Some((thresholds, passages));
        });
        work.await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Returns up to `limit` passages without a vector for which `is_skipped` is false.
    pub fn unembedded(&self, limit: usize, is_skipped: impl Fn((DocumentId, i64, u32)) -> bool) -> Vec<Unembedded> {
        self.read().unembedded(limit, is_skipped)
    }

    /// Sets the vectors of passages that have not changed since they were [`Self::unembedded`].
    pub fn set_vectors(&self, vectors: &[(Unembedded, Vec<f32>)]) {
        for batch in vectors.chunks(BATCH_PASSAGES) {
            let mut index = self.write();
            batch.iter().for_each(|(of, vector)| index.set_vector(of, vector));
        }
    }

    /// Sets stored vectors of a document by the numbers of its passages, if it is of this version.
    pub fn set_stored_vectors(&self, id: DocumentId, version: i64, vectors: &[(u32, Vec<f32>)]) {
        for batch in vectors.chunks(BATCH_PASSAGES) {
            self.write().set_stored_vectors(id, version, batch);
        }
    }

    /// Drops all vectors if they have another length.
    pub fn keep_vectors_of_length(&self, length: usize) {
        if !self.read().has_vectors_of_length(length) {
            self.write().drop_vectors();
        }
    }

    /// Returns the number of passages with a vector, and that of all.
    pub fn embedded(&self) -> (usize, usize) {
        let index = self.read();
        (index.embedded(), index.len())
    }

    /// Waits until no other change is in progress.
    pub async fn change(&self) -> Change {
        Change(Arc::clone(&self.changes).lock_owned().await)
    }

    /// Adds a document that was stored under `change`, or replaces its earlier version. Completes even if the caller stops
    /// waiting.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn put(
        self: &Arc<Self>,
        change: Change,
        document: &Document,
        chunks: Vec<Chunk>,
    ) -> Result<(), StoreError> {
        let index = Arc::clone(self);
        let (id, version) = (document.id, document.updated_at_ms.0);
        let key = DocumentKey { id, source: document.source.clone(), collection: document.collection.clone() };
        let work = tokio::task::spawn_blocking(move || {
            index.put_now(id, version, &Arc::new(key), chunks);
            drop(change);
        });
        work.await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn put_now(&self, id: DocumentId, version: i64, key: &Arc<DocumentKey>, chunks: Vec<Chunk>) {
        let mut slots = Vec::with_capacity(chunks.len());
        let mut passages = (1..).zip(chunks).map(|(number, chunk)| AnalyzedPassage::new(number, chunk));
        loop {
            let batch: Vec<_> = passages.by_ref().take(BATCH_PASSAGES).collect();
            if batch.is_empty() {
                break;
            }
            let new = self.read().new_terms(&batch);
            let new = NewTerms::find(new);
            slots.extend(self.write().add(key, batch, new));
        }
        let old = self.write().publish(id, version, slots);
        self.write().remove(&old);
    }

    /// Removes a document that was deleted from the store under `change`. Completes even if the caller stops waiting.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn delete(self: &Arc<Self>, change: Change, id: DocumentId) -> Result<(), StoreError> {
        let index = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            index.delete_now(id);
            drop(change);
        });
        work.await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn delete_now(&self, id: DocumentId) {
        let old = self.write().hide(id);
        self.write().remove(&old);
    }

    /// Adds, replaces and removes documents until the index is equal to the store.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn sync(self: &Arc<Self>, store: &dyn DocumentStore) -> Result<(), StoreError> {
        let outdated = self.remove_deleted(store).await?;
        for id in outdated {
            let change = self.change().await;
            match store.document_with_chunks(id).await {
                Ok((document, chunks)) => self.put(change, &document, chunks).await?,
                Err(StoreError::NotFound(_)) => self.delete(change, id).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes documents that are no longer in the store. Returns those that are new or have changed.
    async fn remove_deleted(&self, store: &dyn DocumentStore) -> Result<Vec<DocumentId>, StoreError> {
        let _change = self.change().await;
        let stored = store.document_versions().await?;
        let indexed: HashMap<DocumentId, i64> = self.read().versions();
        let existing: HashSet<DocumentId> = stored.iter().map(|(id, _)| *id).collect();
        for id in indexed.keys().filter(|id| !existing.contains(id)) {
            self.delete_now(*id);
        }
        let is_current = |(id, version): &(DocumentId, i64)| indexed.get(id) == Some(version);
        Ok(stored.into_iter().filter(|stored| !is_current(stored)).map(|(id, _)| id).collect())
    }
}
