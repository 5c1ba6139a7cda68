//! The right to serve a database, which one process has at a time: a second server would end the turns of the first.
//!
//! It is a lock on a file beside the database, not on the database itself: when a process closes any handle on a file, the
//! locks that SQLite holds there are gone. Commands that work beside a running server do not ask for it.

use super::location::{Absent, locate};
use crate::{config::DatabaseConfig, private, store::StoreError};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

/// Holds the right until it is dropped, or the process ends, however it ends.
#[derive(Debug)]
pub struct ServingRight(#[expect(dead_code, reason = "held for its drop")] File);

impl ServingRight {
    /// Makes the database's file when absent: its real path is needed.
    ///
    /// # Errors
    /// When another server has it, or the file cannot be made or locked.
    pub fn take(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let path = locate(config, Absent::Create)?;
        let lock = lock_beside(&path)?;
        let unavailable = |error| StoreError::Unavailable(format!("{}: {error}", lock.display()));
        private::create_file(&lock).map_err(unavailable)?;
        // Some network file systems lock only what may be written.
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

/// Two names of one file must not be two locks: a link is followed, as SQLite does for what it writes beside.
fn lock_beside(path: &Path) -> Result<PathBuf, StoreError> {
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
    fn one_at_a_time_under_whatever_name() {
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
    fn what_cannot_be_locked_is_not_served() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("a.db.lock")).unwrap();
        let refused = take(&folder.path().join("a.db")).unwrap_err().to_string();
        assert!(refused.contains("a.db.lock"), "{refused}");
    }
}
