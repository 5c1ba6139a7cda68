//! The service: takes documents in and finds passages. Clones share it.

use super::{
    Chunk, Document, IngestError, IngestReport, NewDocument, Passage,
    chunk::{MAX_CHUNKS, chunk},
    extract::{ExtractError, Extracted, Limits, MediaType, extract, media_type, split_front_matter},
    ingest::{checked_name, files_below},
    rank::{GOOD_SCORE, rank},
    seed,
    terms::{SearchTerms, search_terms},
};
use crate::{
    config::KnowledgeConfig,
    domain::{DocumentId, UnixMillis},
    limits::INDEX_UPDATE_AGAIN,
    store::{DocumentStore, Page, SearchHits, StoreError},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Documents read at once. One whose parser does not come to its end keeps its place: it cannot be stopped, so it must
/// not be joined by many.
const READERS: usize = 2;
/// Chunks that a search ranks: those best by BM25 alone.
const CANDIDATES: u32 = 50;

/// The knowledge base.
#[derive(Clone)]
pub struct KnowledgeBase {
    store: Arc<dyn DocumentStore>,
    config: KnowledgeConfig,
    readers: Arc<Semaphore>,
}

impl KnowledgeBase {
    pub fn new(store: Arc<dyn DocumentStore>, config: KnowledgeConfig) -> Self {
        Self { store, config, readers: Arc::new(Semaphore::new(READERS)) }
    }

    /// Loads the built-in documents, when the settings want them and there are no others. Returns how many it loaded.
    ///
    /// # Errors
    /// When a document cannot be taken in.
    pub async fn seed(&self) -> Result<usize, IngestError> {
        if !self.config.seed || self.store.count_documents().await? > 0 {
            return Ok(0);
        }
        for (source, text) in seed::DOCUMENTS {
            self.ingest(NewDocument {
                source: (*source).to_owned(),
                collection: None,
                bytes: text.as_bytes().to_vec(),
                media_type: Some(MediaType::Markdown.as_str().to_owned()),
            })
            .await?;
        }
        Ok(seed::DOCUMENTS.len())
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

    /// What to search for, and the chunks that hold any of it.
    async fn hits(&self, query: &str, scope: &[String], limit: usize) -> Result<(SearchTerms, SearchHits), StoreError> {
        let search = search_terms(query);
        if search.is_empty() || limit == 0 {
            return Ok((search, SearchHits::default()));
        }
        let candidates = CANDIDATES.max(limit.try_into().unwrap_or(u32::MAX));
        let found = self.store.search_chunks(search.terms.clone(), scope.to_vec(), candidates).await?;
        Ok((search, found))
    }

    /// Brings the index to the current version of [`super::terms`], as far as it gets within `patience`. Returns whether
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

    /// Brings the index to the current version however long that takes, and waits out trouble with the store.
    pub async fn finish_index(&self) {
        while let Err(error) = self.update_index(Duration::MAX).await {
            log::warn!("the search index could not be rebuilt yet: {error}");
            tokio::time::sleep(INDEX_UPDATE_AGAIN).await;
        }
    }

    /// Takes a document in, in place of the one of the same name.
    ///
    /// # Errors
    /// When it cannot be read within the limits of the settings, holds no text, or the store is unavailable.
    pub async fn ingest(&self, new: NewDocument) -> Result<Document, IngestError> {
        let source = checked_name("source", &new.source)?;
        if source.is_empty() {
            return Err(IngestError::InvalidName { field: "source", reason: "must not be empty" });
        }
        let limit_bytes = self.config.max_document_bytes;
        if new.bytes.len() > limit_bytes {
            return Err(IngestError::TooLarge { limit_bytes });
        }
        let bytes = new.bytes.len() as u64;
        let read = self.read(source.clone(), new.bytes, new.media_type).await?;
        let collection = checked_name("collection", &new.collection.or(read.collection).unwrap_or_default())?;
        let now = UnixMillis::now();
        let document = Document {
            id: DocumentId::new(),
            source,
            collection,
            media_type: read.media_type.as_str().to_owned(),
            bytes,
            chunks: u32::try_from(read.chunks.len()).unwrap_or(u32::MAX),
            created_at_ms: now,
            updated_at_ms: now,
        };
        let document = self.store.put_document(document, read.chunks).await?;
        log::info!(document_id:% = document.id, chunks = document.chunks; "a document was taken in");
        Ok(document)
    }

    /// Takes in a file, or all files of a folder and the folders in it, and reports on each; a file that cannot be read
    /// does not keep the others out. A document is named by its path below `path`.
    pub async fn ingest_path(&self, path: &Path, collection: Option<&str>) -> Vec<IngestReport> {
        let root = path.to_owned();
        let files = match tokio::task::spawn_blocking(move || files_below(&root)).await {
            Ok(files) => files,
            Err(error) => {
                return vec![IngestReport {
                    path: path.to_owned(),
                    outcome: Err(IngestError::File(error.to_string())),
                }];
            }
        };
        let mut reports = Vec::with_capacity(files.len());
        for file in files {
            let (path, outcome) = match file {
                Ok((path, source)) => {
                    let outcome = self.ingest_file(&path, source, collection.map(str::to_owned)).await;
                    (path, outcome)
                }
                Err((path, error)) => (path, Err(IngestError::File(error.to_string()))),
            };
            reports.push(IngestReport { path, outcome });
        }
        reports
    }

    async fn ingest_file(
        &self,
        path: &Path,
        source: String,
        collection: Option<String>,
    ) -> Result<Document, IngestError> {
        let (path, limit_bytes) = (path.to_owned(), self.config.max_document_bytes);
        let bytes = tokio::task::spawn_blocking(move || read_file(&path, limit_bytes))
            .await
            .map_err(|error| IngestError::File(error.to_string()))??;
        self.ingest(NewDocument { source, collection, bytes, media_type: None }).await
    }

    /// Documents, those that came last first.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn list(&self, page: Page<DocumentId>) -> Result<Vec<Document>, StoreError> {
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

    /// The largest document it takes, in bytes.
    pub fn max_document_bytes(&self) -> usize {
        self.config.max_document_bytes
    }

    /// Reads a document on a thread of its own, within the time of the settings.
    async fn read(
        &self,
        source: String,
        bytes: Vec<u8>,
        declared: Option<String>,
    ) -> Result<ReadDocument, IngestError> {
        let timeout = Duration::from_secs(self.config.extract_timeout_s);
        let place = tokio::time::timeout(timeout, Arc::clone(&self.readers).acquire_owned())
            .await
            .map_err(|_| IngestError::Busy)?
            .map_err(|_| IngestError::Busy)?;
        let limits = Limits { max_text_bytes: self.config.max_text_bytes, deadline: Instant::now() + timeout };
        let chunk_chars = self.config.chunk_chars;
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            read_document(&source, &bytes, declared.as_deref(), chunk_chars, &limits)
        });
        match tokio::time::timeout(timeout, reading).await {
            Ok(Ok(read)) => read,
            // The parsers of other people's formats panic at what they did not expect.
            Ok(Err(_)) => Err(ExtractError::Unreadable("it is damaged".to_owned()).into()),
            Err(_) => Err(ExtractError::Timeout.into()),
        }
    }
}

/// A document as it goes into the store.
struct ReadDocument {
    media_type: MediaType,
    /// What its front matter says.
    collection: Option<String>,
    chunks: Vec<Chunk>,
}

fn read_document(
    source: &str,
    bytes: &[u8],
    declared: Option<&str>,
    chunk_chars: usize,
    limits: &Limits,
) -> Result<ReadDocument, IngestError> {
    let media_type = media_type(bytes, source, declared)?;
    let mut text = extract(bytes, media_type, limits)?;
    let mut collection = None;
    if let Extracted::Markdown(markdown) = &text {
        let (named, rest) = split_front_matter(markdown);
        collection = named.map(str::to_owned);
        text = Extracted::Markdown(rest.to_owned());
    }
    let name = Path::new(source).file_stem().map_or_else(|| source.into(), |stem| stem.to_string_lossy());
    let chunks = chunk(&text, &name, chunk_chars).ok_or(IngestError::TooManyChunks { limit: MAX_CHUNKS })?;
    if chunks.is_empty() {
        return Err(IngestError::Empty);
    }
    Ok(ReadDocument { media_type, collection, chunks })
}

/// Reads a file of at most `limit_bytes`, however large it says it is.
fn read_file(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, IngestError> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| IngestError::File(error.to_string());
    let mut bytes = Vec::new();
    // Before it is opened: opening a pipe waits for somebody to write to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(IngestError::File("it is not a regular file".to_owned()));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limit_bytes as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limit_bytes {
        return Err(IngestError::TooLarge { limit_bytes });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
