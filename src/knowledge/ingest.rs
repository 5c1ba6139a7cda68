//! Ingestion of documents from uploads, files and folders, and validation of their names.

use super::{
    KnowledgeBase,
    document_file::DocumentFile,
    extract::MediaType,
    ingest_error::IngestError,
    reader::{self, ReadError},
    seed,
    worker::ReadDocument,
};
use crate::{
    domain::{Chunk, Document, DocumentId, UnixMillis, is_invisible},
    store::StoreError,
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Instant,
};
use unicode_normalization::UnicodeNormalization;

/// Maximum depth of nested folders.
const MAX_FOLDER_DEPTH: usize = 16;
/// Maximum length of the name of a document or collection, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Document to ingest.
#[derive(Debug)]
pub struct NewDocument {
    /// Unique name; an existing document with this name is replaced.
    pub source: String,
    /// Absent: the collection in the front matter, if any.
    pub collection: Option<String>,
    pub file: DocumentFile,
    /// Media type according to the sender.
    pub media_type: Option<String>,
}

/// Result of ingesting one file.
#[derive(Debug)]
pub struct IngestReport {
    pub path: PathBuf,
    pub outcome: Result<Document, IngestError>,
}

impl KnowledgeBase {
    /// If the settings enable them, loads the built-in documents when there are no documents. Otherwise loads those again that an
    /// earlier version stored without their keywords. Returns the number of documents loaded.
    ///
    /// # Errors
    /// When a document cannot be ingested.
    pub async fn seed(&self) -> Result<usize, IngestError> {
        if !self.config.seed {
            return Ok(0);
        }
        let is_new = self.store.count_documents().await? == 0;
        // Built-in documents are trusted, so they need no child process.
        let task = reader::task(&self.config, Some(MediaType::Markdown));
        let mut loaded = 0;
        for (source, text) in seed::DOCUMENTS {
            let read = task
                .read(text.as_bytes(), Instant::now() + task.timeout)
                .map_err(|error| IngestError::Extract { document: (*source).to_owned(), error })?;
            if is_new || self.lacks_keywords(source, &read).await? {
                self.put((*source).to_owned(), None, text.len() as u64, read).await?;
                loaded += 1;
            }
        }
        Ok(loaded)
    }

    /// Whether the document with this name is `read` without any of its keywords.
    pub(super) async fn lacks_keywords(&self, source: &str, read: &ReadDocument) -> Result<bool, IngestError> {
        let Some(document) = self.store.document_named(source).await? else { return Ok(false) };
        let (document, stored) = match self.store.document_with_chunks(document.id).await {
            Err(StoreError::NotFound(_)) => return Ok(false),
            found => found?,
        };
        let is_same_text = document.collection == read.collection.as_deref().unwrap_or_default()
            && stored.len() == read.chunks.len()
            && stored.iter().zip(&read.chunks).all(|(one, other)| one.text == other.text);
        let has_keywords = |chunks: &[Chunk]| chunks.iter().any(|chunk| !chunk.keywords.is_empty());
        Ok(is_same_text && has_keywords(&read.chunks) && !has_keywords(&stored))
    }

    /// Ingests a document, replacing an existing one with the same name.
    ///
    /// # Errors
    /// When a name is invalid, the document cannot be extracted or has no text, a limit is exceeded, or the store fails.
    pub async fn ingest(&self, new: NewDocument) -> Result<Document, IngestError> {
        let source = checked_name("source", &new.source)?.nfc().collect::<String>();
        if source.is_empty() {
            return Err(IngestError::InvalidName { field: "source", reason: "must not be empty" });
        }
        let limit_bytes = self.max_document_bytes();
        let bytes = new.file.size_bytes();
        if bytes > limit_bytes as u64 {
            return Err(IngestError::TooLarge { limit_bytes });
        }
        let claimed = MediaType::claimed(&source, new.media_type.as_deref());
        let read = self.reader.read(new.file, claimed).await.map_err(|error| match error {
            ReadError::Document(error) => IngestError::Extract { document: source.clone(), error },
            ReadError::Busy => IngestError::Busy,
            ReadError::Spawn(error) => IngestError::Reader(error.to_string()),
        })?;
        self.put(source, new.collection, bytes, read).await
    }

    /// Stores an extracted document.
    async fn put(
        &self,
        source: String,
        collection: Option<String>,
        bytes: u64,
        mut read: ReadDocument,
    ) -> Result<Document, IngestError> {
        let collection = checked_name("collection", &collection.or(read.collection).unwrap_or_default())?;
        // Chunks outside of any section get the document's name as title.
        let name = Path::new(&source).file_stem().map_or_else(|| source.clone(), |stem| stem.to_string_lossy().into());
        for chunk in read.chunks.iter_mut().filter(|chunk| chunk.title.is_empty()) {
            chunk.title.clone_from(&name);
        }
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
        let change = self.index.change().await;
        let document = self.store.put_document(document, read.chunks.clone()).await?;
        self.index.put(change, &document, read.chunks).await?;
        log::info!(document_id:% = document.id, chunks = document.chunks; "ingested document");
        Ok(document)
    }

    /// Ingests a file, or all files in a folder and its subfolders, and reports the result of each. A failure does not affect
    /// the other files. A document's name is its path relative to `path`.
    pub async fn ingest_path(&self, path: &Path, collection: Option<&str>) -> Vec<IngestReport> {
        let root = path.to_owned();
        let files = match tokio::task::spawn_blocking(move || find_files(&root)).await {
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
        let path = path.to_owned();
        let file = tokio::task::spawn_blocking(move || open(&path))
            .await
            .map_err(|error| IngestError::File(error.to_string()))??;
        self.ingest(NewDocument { source, collection, file, media_type: None }).await
    }
}

/// Opens a regular file.
fn open(path: &Path) -> Result<DocumentFile, IngestError> {
    let unreadable = |error: io::Error| IngestError::File(error.to_string());
    // Checked before opening, since opening a pipe blocks until another process writes to it.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(IngestError::File("not a regular file".to_owned()));
    }
    File::open(path).and_then(DocumentFile::new).map_err(unreadable)
}

/// Validates and trims the name of a document or collection. Control characters and those that change the text direction are
/// rejected, since they can make a name look like another one.
fn checked_name(field: &'static str, name: &str) -> Result<String, IngestError> {
    let name = name.trim();
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(is_invisible) {
        return Err(IngestError::InvalidName { field, reason: "must be at most 200 printable characters" });
    }
    Ok(name.to_owned())
}

/// Path of a file and the name of its document, or a path that could not be listed.
type FoundFile = Result<(PathBuf, String), (PathBuf, io::Error)>;

/// Lists `root` if it is a file, or the files in it and its subfolders. A document's name is the path relative to `root`, with
/// `/` as separator. Hidden files and links to folders are skipped.
fn find_files(root: &Path) -> Vec<FoundFile> {
    let mut files = Vec::new();
    if root.is_dir() {
        walk(root, root, MAX_FOLDER_DEPTH, &mut files);
    } else {
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(Ok((root.to_owned(), name)));
    }
    files
}

fn walk(root: &Path, folder: &Path, levels: usize, files: &mut Vec<FoundFile>) {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return files.push(Err((folder.to_owned(), error))),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.into_iter().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && levels > 0 => walk(root, &path, levels - 1, files),
            Ok(kind) if kind.is_dir() => files.push(Err((path, io::Error::other("folders are nested too deeply")))),
            Ok(_) if path.is_dir() => {}
            Ok(_) => {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                let name = parts.join("/");
                files.push(Ok((path, name)));
            }
            Err(error) => files.push(Err((path, error))),
        }
    }
}
