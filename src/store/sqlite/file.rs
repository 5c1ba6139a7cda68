//! Connections that detect whether their file has been moved or replaced, for example by a backup. SQLite would continue to
//! write to the old file, and the changes would be lost with the last connection.

use super::connect;
use crate::store::StoreError;
use diesel::{
    SqliteConnection,
    connection::SimpleConnection,
    r2d2::{Error, ManageConnection},
};
use std::{convert::Infallible, fs, os::unix::fs::MetadataExt};
use tokio::sync::mpsc;

/// Held by each open connection. The receiver learns when all are closed.
pub(super) type OpenMark = mpsc::Sender<Infallible>;

/// Identity of a file, independent of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &str) -> std::io::Result<Self> {
        fs::metadata(path).map(|file| Self { device: file.dev(), inode: file.ino() })
    }
}

pub(super) struct FileConnection {
    pub(super) connection: SqliteConnection,
    path: String,
    file: FileId,
    /// Dropped after the connection.
    _mark: OpenMark,
}

impl FileConnection {
    /// Opens an existing file. A missing one is not created, since an empty database would look like lost data.
    ///
    /// # Errors
    /// When the file does not exist or cannot be opened.
    pub(super) fn open(path: &str, busy_timeout_ms: u32, mark: &OpenMark) -> Result<Self, StoreError> {
        let file = FileId::of(path).map_err(|error| StoreError::Unavailable(format!("{path}: {error}")))?;
        Ok(Self { connection: connect(path, busy_timeout_ms)?, path: path.to_owned(), file, _mark: mark.clone() })
    }

    /// Whether the path still denotes this file.
    pub(super) fn is_current(&self) -> bool {
        FileId::of(&self.path).is_ok_and(|file| file == self.file)
    }
}

/// Factory of read-only connections for the pool.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) path: String,
    pub(super) busy_timeout_ms: u32,
    pub(super) mark: OpenMark,
}

impl ManageConnection for Readers {
    type Connection = FileConnection;
    type Error = Error;

    fn connect(&self) -> Result<FileConnection, Error> {
        let failed =
            |error: StoreError| Error::ConnectionError(diesel::ConnectionError::BadConnection(error.to_string()));
        let mut reader = FileConnection::open(&self.path, self.busy_timeout_ms, &self.mark).map_err(failed)?;
        reader.connection.batch_execute("PRAGMA query_only = ON").map_err(Error::QueryError)?;
        Ok(reader)
    }

    fn is_valid(&self, reader: &mut FileConnection) -> Result<(), Error> {
        if self.has_broken(reader) {
            return Err(Error::QueryError(diesel::result::Error::BrokenTransactionManager));
        }
        Ok(())
    }

    fn has_broken(&self, reader: &mut FileConnection) -> bool {
        !reader.is_current()
    }
}
