//! Documents taken into the knowledge base: their bytes, their names, and why they are refused.

use super::{
    KnowledgeBase,
    document_file::DocumentFile,
    extract::MediaType,
    ingest_error::IngestError,
    reader::{self, ReadError},
    seed,
    worker::ReadDocument,
};
use crate::domain::{Document, DocumentId, UnixMillis};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Instant,
};
use unicode_normalization::UnicodeNormalization;

/// How deep `ingest` goes into folders.
const MAX_FOLDER_DEPTH: usize = 16;
/// The longest name of a document or a collection, in characters.
const MAX_NAME_CHARS: usize = 200;

/// A document to take in.
#[derive(Debug)]
pub struct NewDocument {
    /// Its name; an older document of this name is replaced.
    pub source: String,
    /// Absent: what the text's front matter says, or none.
    pub collection: Option<String>,
    pub file: DocumentFile,
    /// What the sender takes it for.
    pub media_type: Option<String>,
}

/// What came of one file.
#[derive(Debug)]
pub struct IngestReport {
    pub path: PathBuf,
    pub outcome: Result<Document, IngestError>,
}

impl KnowledgeBase {
    /// Loads the built-in documents, when the settings want them and there are no others. Returns how many it loaded.
    ///
    /// # Errors
    /// When a document cannot be taken in.
    pub async fn seed(&self) -> Result<usize, IngestError> {
        if !self.config.seed || self.store.count_documents().await? > 0 {
            return Ok(0);
        }
        // They are part of this program, so they need no other process to read them.
        let task = reader::task(&self.config, Some(MediaType::Markdown));
        for (source, text) in seed::DOCUMENTS {
            let read = task
                .read(text.as_bytes(), Instant::now() + task.timeout)
                .map_err(|error| IngestError::Extract { document: (*source).to_owned(), error })?;
            self.put((*source).to_owned(), None, text.len() as u64, read).await?;
        }
        Ok(seed::DOCUMENTS.len())
    }

    /// Takes a document in, in place of the one of the same name.
    ///
    /// # Errors
    /// When it cannot be read within the limits of the settings, holds no text, or the store is unavailable.
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
            ReadError::NoProcess(error) => IngestError::Reader(error.to_string()),
        })?;
        self.put(source, new.collection, bytes, read).await
    }

    /// Stores a document that was read.
    async fn put(
        &self,
        source: String,
        collection: Option<String>,
        bytes: u64,
        mut read: ReadDocument,
    ) -> Result<Document, IngestError> {
        let collection = checked_name("collection", &collection.or(read.collection).unwrap_or_default())?;
        // The title of what stands under no heading.
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
        let path = path.to_owned();
        let file = tokio::task::spawn_blocking(move || open(&path))
            .await
            .map_err(|error| IngestError::File(error.to_string()))??;
        self.ingest(NewDocument { source, collection, file, media_type: None }).await
    }
}

/// Opens a regular file by its path.
fn open(path: &Path) -> Result<DocumentFile, IngestError> {
    let unreadable = |error: io::Error| IngestError::File(error.to_string());
    // Before it is opened: opening a pipe waits for somebody to write to it.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(IngestError::File("it is not a regular file".to_owned()));
    }
    File::open(path).and_then(DocumentFile::new).map_err(unreadable)
}

/// The name of a document or a collection, trimmed. Characters that change the direction of text are refused with the
/// control characters: with them a name can look like another one.
fn checked_name(field: &'static str, name: &str) -> Result<String, IngestError> {
    let name = name.trim();
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(is_invisible) {
        return Err(IngestError::InvalidName { field, reason: "must be at most 200 printable characters" });
    }
    Ok(name.to_owned())
}

/// Whether a character has no place in a name: control characters, line and paragraph separators, and the marks,
/// embeddings, overrides and isolates of bidirectional text.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A file and its name as a document, or a path that cannot be looked at and why.
type Found = Result<(PathBuf, String), (PathBuf, io::Error)>;

/// The files below `root`, or `root` itself, each with its name as a document: the path below `root`, with `/` between
/// folders. Hidden files and links to folders are left out, what cannot be listed is reported.
fn files_below(root: &Path) -> Vec<Found> {
    let mut files = Vec::new();
    if root.is_dir() {
        walk(root, root, MAX_FOLDER_DEPTH, &mut files);
    } else {
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(Ok((root.to_owned(), name)));
    }
    files
}

fn walk(root: &Path, folder: &Path, levels: usize, files: &mut Vec<Found>) {
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
            Ok(kind) if kind.is_dir() => files.push(Err((path, io::Error::other("the folders nest too deep")))),
            Ok(_) if path.is_dir() => {}
            Ok(_) => {
                let below = path.strip_prefix(root).unwrap_or(&path);
                let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                let name = parts.join("/");
                files.push(Ok((path, name)));
            }
            Err(error) => files.push(Err((path, error))),
        }
    }
}
