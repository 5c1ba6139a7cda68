//! What goes into the knowledge base, what came of it, and why it was refused. Also: which files of a folder to read.

use super::{Document, extract::ExtractError};
use crate::store::StoreError;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How deep `ingest` goes into folders.
const MAX_FOLDER_DEPTH: usize = 16;
/// The longest name of a document or a collection, in characters.
const MAX_NAME_CHARS: usize = 200;

/// A document to take in.
#[derive(Clone, Debug)]
pub struct NewDocument {
    /// Its name; an older document of this name is replaced.
    pub source: String,
    /// Absent: what the text's front matter says, or none.
    pub collection: Option<String>,
    pub bytes: Vec<u8>,
    /// What the sender takes it for.
    pub media_type: Option<String>,
}

/// What came of one file.
#[derive(Debug)]
pub struct IngestReport {
    pub path: PathBuf,
    pub outcome: Result<Document, IngestError>,
}

/// Why a document was not taken in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    #[error("the {field} {reason}")]
    InvalidName { field: &'static str, reason: &'static str },
    #[error("the document is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error("the document {0}")]
    Extract(#[from] ExtractError),
    #[error("the document holds no text")]
    Empty,
    #[error("the document falls into more than {limit} chunks")]
    TooManyChunks { limit: usize },
    #[error("other documents are being read; try again later")]
    Busy,
    #[error("the file cannot be read: {0}")]
    File(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The name of a document or a collection, trimmed.
pub(super) fn checked_name(field: &'static str, name: &str) -> Result<String, IngestError> {
    let name = name.trim();
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(IngestError::InvalidName { field, reason: "must be at most 200 printable characters" });
    }
    Ok(name.to_owned())
}

/// A file and its name as a document, or a path that cannot be looked at and why.
type Found = Result<(PathBuf, String), (PathBuf, io::Error)>;

/// The files below `root`, or `root` itself, each with its name as a document: the path below `root`, with `/` between
/// folders. Hidden files and links to folders are left out, what cannot be listed is reported.
pub(super) fn files_below(root: &Path) -> Vec<Found> {
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
