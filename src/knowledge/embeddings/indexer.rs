//! Background task that gives each passage of the index a vector: the stored one, or a new one.

use super::{EmbeddingError, Embeddings};
use crate::{
    domain::DocumentId,
    knowledge::{
        index::Unembedded,
        live_index::LiveIndex,
        probes::{PROBES, Thresholds},
    },
    limits::INDEX_SYNC_INTERVAL,
    store::{PassageVector, StoreError, VectorStore},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// Wait after a failure, doubled after each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait after a failure. Questions are answered without vectors for as long after the server has recovered.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Interval at which progress is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// At most one passage in this number may be without a vector when questions are embedded.
const MISSING_SHARE: usize = 10;
/// A change of the vectors by one in this number makes the thresholds outdated.
const CALIBRATION_SHARE: usize = 10;

/// Passage in one version of its document.
type PassageKey = (DocumentId, i64, u32);

/// Background task of [`Embeddings`].
pub struct Indexer {
    store: Weak<dyn VectorStore>,
    index: Arc<LiveIndex>,
    embeddings: Arc<Embeddings>,
    /// Versions of the documents whose stored vectors are in the index.
    loaded: HashMap<DocumentId, i64>,
    /// Passages that the server refused to embed.
    refused: HashSet<PassageKey>,
    /// Vectors of the probes; empty until they have been embedded.
    probes: Arc<Vec<Vec<f32>>>,
    /// When embedding began, when it was last logged, and the number of passages since.
    run: Option<Run>,
}

struct Run {
    began: Instant,
    logged: Instant,
    embedded: usize,
}

/// Reason why a step failed.
enum Failure {
    Store(StoreError),
    Model(EmbeddingError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<EmbeddingError> for Failure {
    fn from(error: EmbeddingError) -> Self {
        Self::Model(error)
    }
}

impl Indexer {
    pub fn new(store: Weak<dyn VectorStore>, index: Arc<LiveIndex>, embeddings: Arc<Embeddings>) -> Self {
        let (loaded, refused, probes) = Default::default();
        Self { store, index, embeddings, loaded, refused, probes, run: None }
    }

    /// Works until the store is no longer in use.
    pub async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        while self.store.strong_count() > 0 {
            let pause = match self.step().await {
                Ok(true) => {
                    wait = FIRST_WAIT;
                    self.embeddings.progress().failure = None;
                    continue;
                }
                Ok(false) => {
                    wait = FIRST_WAIT;
                    self.embeddings.progress().failure = None;
                    INDEX_SYNC_INTERVAL
                }
                Err(failure) => {
                    let retry_after = self.report(failure, wait);
                    let pause = retry_after.unwrap_or_default().max(wait);
                    wait = (wait * 2).min(MAX_WAIT);
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns the time that the server asked to wait.
    fn report(&self, failure: Failure, wait: Duration) -> Option<Duration> {
        let retry_in_s = wait.as_secs();
        match failure {
            Failure::Store(error) => {
                log::warn!(error:%, retry_in_s; "could not read or store vectors of passages");
                None
            }
            Failure::Model(error) => {
                log::warn!(error:%, retry_in_s; "the embedding model failed; search continues by words");
                let retry_after = error.retry_after().map(|wait| wait.min(MAX_RETRY_AFTER));
                self.embeddings.progress().failure = Some(error);
                retry_after
            }
        }
    }

    /// Does the next piece of work. Returns whether there may be more.
    async fn step(&mut self) -> Result<bool, Failure> {
        self.load().await?;
        let embedder = &self.embeddings.embedder;
        // A server that is too slow for questions still embeds passages.
        let check = if embedder.is_down() { embedder.check().await } else { Ok(()) };
        if self.probes.is_empty() {
            self.probes = Arc::new(embedder.embed_probes(PROBES).await?);
        }
        if let Some(length) = embedder.length() {
            self.index.keep_vectors_of_length(length);
        }
        // The store may have vectors of documents that have just been added.
        let is_skipped = |key: PassageKey| self.loaded.get(&key.0) != Some(&key.1) || self.refused.contains(&key);
        let missing = self.index.unembedded(embedder.batch_passages(), is_skipped);
        if missing.is_empty() {
            self.finish_run();
            self.calibrate().await?;
            self.embeddings.progress().is_idle = true;
            self.decide_readiness();
            check?;
            return Ok(false);
        }
        self.embeddings.progress().is_idle = false;
        self.embed(missing).await?;
        self.calibrate().await?;
        self.decide_readiness();
        Ok(true)
    }

    /// Lets questions be embedded if nearly all passages have a vector. With fewer, word vectors find more.
    fn decide_readiness(&self) {
        let (embedded, passages) = self.index.embedded();
        let done = embedded + self.refused.len();
        self.embeddings.embedder.set_ready(done >= passages - passages / MISSING_SHARE);
    }

    /// Puts stored vectors of new and changed documents into the index.
    async fn load(&mut self) -> Result<(), StoreError> {
        let Some(store) = self.store.upgrade() else { return Ok(()) };
        let versions = self.index.read().versions();
        self.loaded.retain(|id, version| versions.get(id) == Some(version));
        self.refused.retain(|(id, version, _)| versions.get(id) == Some(version));
        self.embeddings.progress().refused = self.refused.len();
        for (id, version) in versions {
            if self.loaded.contains_key(&id) {
                continue;
            }
            let stored = store.vectors(id, self.embeddings.embedder.space()).await?;
            // With another version in the store, the index is about to change.
            if stored.version == Some(version) {
                self.index.set_stored_vectors(id, version, &stored.vectors);
                self.loaded.insert(id, version);
            }
        }
        Ok(())
    }

    /// Embeds passages, stores their vectors and adds them to the index. The store is not held meanwhile, so that it can be closed.
    async fn embed(&mut self, missing: Vec<Unembedded>) -> Result<(), Failure> {
        let embedder = &self.embeddings.embedder;
        let mut refusal = None;
        let run = self.run.get_or_insert_with(|| {
            let now = Instant::now();
            Run { began: now, logged: now, embedded: 0 }
        });
        let texts: Vec<_> = missing.iter().map(Unembedded::text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = match embedder.embed_passages(&texts).await {
            Err(error) if error.is_of_input() => {
                // One of the passages may be too long for the model; the others are not.
                let mut vectors = Vec::with_capacity(texts.len());
                for (text, passage) in texts.iter().zip(&missing) {
                    vectors.push(match embedder.embed_passages(&[text]).await {
                        Err(error) if error.is_of_input() => {
                            log::warn!(error:%, document_id:% = passage.key.0, passage = passage.key.2;
                                "the embedding model refused a passage; it is found by words only");
                            self.refused.insert(passage.key);
                            refusal = Some(error);
                            None
                        }
                        vector => vector?.pop(),
                    });
                }
                vectors
            }
            vectors => vectors?.into_iter().map(Some).collect(),
        };
        let embedded = missing.into_iter().zip(vectors).filter_map(|(passage, vector)| Some((passage, vector?)));
        let embedded: Vec<(Unembedded, Vec<f32>)> = embedded.collect();
        let stored = embedded.iter().map(|(passage, vector)| PassageVector {
            document_id: passage.key.0,
            number: passage.key.2,
            chunk: passage.chunk.clone(),
            vector: vector.clone(),
        });
        let stored = stored.collect();
        let Some(store) = self.store.upgrade() else { return Ok(()) };
        store.put_vectors(embedder.space(), stored).await?;
        run.embedded += embedded.len();
        self.index.set_vectors(&embedded);
        if run.logged.elapsed() >= LOG_INTERVAL {
            run.logged = Instant::now();
            let (embedded, passages) = self.index.embedded();
            log::info!(embedded, passages; "embedding passages");
        }
        // If none was accepted, the settings may be wrong: the others should not be sent as fast as they are refused.
        refusal.filter(|_| embedded.is_empty()).map_or(Ok(()), |error| Err(error.into()))
    }

    fn finish_run(&mut self) {
        if let Some(run) = self.run.take() {
            let (embedded, passages) = self.index.embedded();
            log::info!(new = run.embedded, embedded, passages, took_ms = run.began.elapsed().as_millis() as u64;
                "embedded the passages");
        }
    }

    /// Measures the similarities that mean something, unless the number of vectors has hardly changed.
    async fn calibrate(&self) -> Result<(), StoreError> {
        let (embedded, _) = self.index.embedded();
        let measured = self.embeddings.progress().thresholds;
        let is_current = measured.is_some_and(|(_, then)| embedded.abs_diff(then) * CALIBRATION_SHARE < then);
        if embedded == 0 || is_current {
            return Ok(());
        }
        let (index, probes) = (Arc::clone(&self.index), Arc::clone(&self.probes));
        // The lock is held for one probe at a time.
        let nearest = move || probes.iter().map(|probe| index.read().nearest(probe, &[], 1).cosine).collect();
        let cosines = tokio::task::spawn_blocking(nearest).await;
        let cosines = cosines.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.embeddings.progress().thresholds = Some((Thresholds::of_cosines(cosines), embedded));
        Ok(())
    }
}
