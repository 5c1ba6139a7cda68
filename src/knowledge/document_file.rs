//! The bytes of a document on their way to the process that reads them.

use std::{
    fs::File,
    io::{self, Seek, Write},
};

/// The bytes of a document, in a file: they go from there to the process that reads them, and never through the memory
/// of this one.
#[derive(Debug)]
pub struct DocumentFile {
    file: File,
    bytes: u64,
}

impl DocumentFile {
    /// Writes bytes to a temporary file, which has no name and vanishes when it is closed.
    ///
    /// # Errors
    /// When there is no folder for temporary files, or no space in it.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        Self::new(file)
    }

    /// Takes a file that was written or opened, from its beginning.
    ///
    /// # Errors
    /// When it cannot be read from the beginning.
    pub fn new(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    /// The size, in bytes.
    pub const fn size_bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn into_inner(self) -> File {
        self.file
    }
}
