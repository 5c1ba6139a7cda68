//! File with the contents of a document to ingest.

use std::{
    fs::File,
    io::{self, Seek, Write},
};

/// File with the contents of a document. The child process that extracts the text reads it directly, so that the contents are
/// never in the memory of the server.
#[derive(Debug)]
pub struct DocumentFile {
    file: File,
    bytes: u64,
}

impl DocumentFile {
    /// Writes bytes to an unnamed temporary file, which is deleted when it is closed.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        Self::new(file)
    }

    /// Uses an open file, from its start.
    ///
    /// # Errors
    /// When the file is not seekable or its size is unknown.
    pub fn new(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    /// Returns the size, in bytes.
    pub const fn size_bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn into_inner(self) -> File {
        self.file
    }
}
