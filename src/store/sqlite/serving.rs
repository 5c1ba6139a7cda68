//! Exclusive lock for the server of a database: a second server would end the turns of the first.
//!
//! The lock is on a file beside the database, since closing any handle to the database file would release the locks that SQLite
//! holds. Commands that may run beside a server do not take it.

use super::location::{Absent, locate};
use crate::{config::DatabaseConfig, private, store::StoreError};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

/// Lock guard. The lock is released on drop or when the process ends.
#[derive(Debug)]
pub struct ServingRight(#[expect(dead_code, reason = "held for its drop")] File);

impl ServingRight {
    /// Takes the lock. Creates the database file if absent, since its canonical path is needed.
    ///
    /// # Errors
    /// When another server holds the lock, or the file cannot be created or locked.
    pub fn take(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let path = locate(config, Absent::Create)?;
        let lock = lock_path(&path)?;
        let unavailable = |error| StoreError::Unavailable(format!("{}: {error}", lock.display()));
        private::create_file(&lock).map_err(unavailable)?;
        // Some network file systems can lock only files opened for writing.
        let file = File::options().write(true).open(&lock).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "another server uses {}; it holds {}. Stop it first, or give this one its own `database.url`",
                path.display(),
                lock.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unavailable(error)),
        }
    }
}

/// Returns the path of the lock file. Resolves links, so that all names of a database share one lock.
fn lock_path(path: &Path) -> Result<PathBuf, StoreError> {
    let real =
        fs::canonicalize(path).map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    let mut name = real.into_os_string();
    name.push(".lock");
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    fn take(path: &Path) -> Result<ServingRight, StoreError> {
        ServingRight::take(&DatabaseConfig { url: format!("sqlite://{}", path.display()), ..DatabaseConfig::default() })
    }

    #[test]
    fn the_lock_is_exclusive_across_links() {
        let folder = TempDir::new().unwrap();
        let (file, link) = (folder.path().join("new/a.db"), folder.path().join("link.db"));
        let first = take(&file).unwrap();
        symlink(&file, &link).unwrap();
        for name in [&file, &link] {
            let refused = take(name).unwrap_err().to_string();
            assert!(refused.contains("new/a.db.lock") && refused.contains("Stop it first"), "{refused}");
        }
        let mode = fs::metadata(folder.path().join("new/a.db.lock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        take(&folder.path().join("new/b.db")).unwrap();
        drop(first);
        take(&link).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_locked_is_an_error() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("a.db.lock")).unwrap();
        let refused = take(&folder.path().join("a.db")).unwrap_err().to_string();
        assert!(refused.contains("a.db.lock"), "{refused}");
    }
}
