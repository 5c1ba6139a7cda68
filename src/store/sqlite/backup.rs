//! Online backup: a consistent copy of the database, made while the server runs.
//!
//! `VACUUM INTO` reads in one transaction, so the copy contains exactly what was committed before. Writers continue meanwhile;
//! their changes stay in the write-ahead log until the copy is complete. SQLite's backup API is not available through diesel and
//! restarts whenever another process writes.

use super::{
    location::{Absent, check_integrity, check_schema, locate},
    plain_connection, text_of,
};
use crate::{
    config::DatabaseConfig,
    store::StoreError::{self, Unusable},
};
use diesel::{RunQueryDsl, sql_types::Text};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Completed backup.
#[derive(Debug)]
pub struct Backup {
    /// Path of the database.
    pub source: PathBuf,
    pub target: PathBuf,
    pub bytes: u64,
}

/// Copies the database to `target`, which must not exist, and checks the copy. The target appears only when it is complete,
/// checked and durable.
///
/// # Errors
/// When there is no database, the target exists or cannot be written, or the copy fails the integrity check.
pub fn backup(config: &DatabaseConfig, target: &Path) -> Result<Backup, StoreError> {
    let source = locate(config, Absent::Refuse)?;
    let target = std::path::absolute(target).map_err(|error| Unusable(error.to_string()))?;
    let cannot_write =
        |error: io::Error| Unusable(format!("the backup {} cannot be written: {error}", target.display()));
    if fs::symlink_metadata(&target).is_ok() {
        return Err(exists(&target));
    }
    let copy = checked_copy(&source, &target, config.busy_timeout_ms)?;
    let bytes = copy.as_file().metadata().map_err(cannot_write)?.len();
    persist(copy, &target).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(&target),
        _ => cannot_write(error),
    })?;
    Ok(Backup { source, target, bytes })
}

/// Copies the database before the migration to `version`; returns the path of the copy, `<file>.before-<version>`.
///
/// A failed migration leaves the copy, and nothing overwrites it: a copy of the same content is used again, so that a server
/// that is restarted again and again does not fill the disk; for different content a number is appended to the name.
///
/// # Errors
/// When the copy cannot be written or fails the integrity check.
pub(super) fn back_up_before(source: &Path, version: &str, busy_timeout_ms: u32) -> Result<PathBuf, StoreError> {
    let source = fs::canonicalize(source).map_err(|error| Unusable(format!("{}: {error}", source.display())))?;
    let mut name = source.clone().into_os_string();
    name.push(format!(".before-{version}"));
    let cannot_write = |error: io::Error| {
        let name = Path::new(&name).display();
        Unusable(format!("the backup {name}, which is made before a migration, cannot be written: {error}"))
    };
    let mut copy = checked_copy(&source, Path::new(&name), busy_timeout_ms)?;
    for number in 1.. {
        let mut target = name.clone();
        if number > 1 {
            target.push(format!("-{number}"));
        }
        let target = PathBuf::from(target);
        copy = match copy.persist_noclobber(&target) {
            Ok(_) => {
                sync_folder(&target).map_err(cannot_write)?;
                return Ok(target);
            }
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => failed.file,
            Err(failed) => return Err(cannot_write(failed.error)),
        };
        if has_same_content(copy.path(), &target).map_err(cannot_write)? {
            return Ok(target);
        }
    }
    unreachable!("some name is free")
}

/// Copies the database to a temporary file beside `target`, checks the copy and syncs it to disk.
fn checked_copy(source: &Path, target: &Path, busy_timeout_ms: u32) -> Result<NamedTempFile, StoreError> {
    let cannot_write =
        |error: io::Error| Unusable(format!("the backup {} cannot be written: {error}", target.display()));
    let folder = target.parent().unwrap_or(Path::new("/"));
    // Readable by its owner only, like the database.
    let copy = tempfile::Builder::new().prefix(".switchboard-backup-").tempfile_in(folder).map_err(cannot_write)?;
    let copy_path = text_of(copy.path())?;

    let mut connection = plain_connection(&text_of(source)?, busy_timeout_ms)?;
    let name_source = |error: StoreError| match error {
        StoreError::Unavailable(cause) => StoreError::Unavailable(format!("{}: {cause}", source.display())),
        other => other,
    };
    check_schema(&mut connection, source).map_err(name_source)?;
    let copied = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(&copy_path).execute(&mut connection);
    copied.map_err(|error| Unusable(format!("cannot copy {} to {}: {error}", source.display(), target.display())))?;
    drop(connection);

    let mut connection = plain_connection(&copy_path, busy_timeout_ms)?;
    check_integrity(&mut connection).map_err(|error| {
        Unusable(format!("the copy of {} is damaged and has been deleted: {error}", source.display()))
    })?;
    drop(connection);
    copy.as_file().sync_all().map_err(cannot_write)?;
    Ok(copy)
}

/// Gives a copy its name, durably.
fn persist(copy: NamedTempFile, target: &Path) -> io::Result<()> {
    copy.persist_noclobber(target).map_err(|failed| failed.error)?;
    sync_folder(target)
}

/// Makes the directory entry of a file durable.
fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(file.parent().unwrap_or(Path::new("/"))).and_then(|folder| folder.sync_all())
}

fn has_same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        one.consume(length);
        other.consume(length);
    }
}

fn exists(target: &Path) -> StoreError {
    Unusable(format!(
        "{} already exists; choose another name, since a backup does not overwrite files",
        target.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ConversationStore, sqlite::SqliteStore};
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn config(folder: &TempDir) -> DatabaseConfig {
        let url = format!("sqlite://{}", folder.path().join("a.db").display());
        DatabaseConfig { url, ..DatabaseConfig::default() }
    }

    fn names(folder: &TempDir) -> Vec<String> {
        let names = fs::read_dir(folder.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_backup_is_complete_and_private_and_overwrites_nothing() {
        let (folder, backups) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let store = SqliteStore::open(&config(&folder)).unwrap();
        store.check().await.unwrap();
        let target = backups.path().join("b.db");
        let made = backup(&config(&folder), &target).unwrap();
        assert_eq!((made.bytes, &made.target), (fs::metadata(&target).unwrap().len(), &target));
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = backup(&config(&folder), &target).unwrap_err().to_string();
        assert!(refused.contains("already exists") && refused.contains("b.db"), "{refused}");
        assert_eq!(names(&backups), ["b.db"]);
        let url = format!("sqlite://{}", target.display());
        let restored = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
        restored.check().await.unwrap();
    }

    #[test]
    fn a_failed_backup_leaves_no_files() {
        let (folder, backups) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let refused = backup(&config(&folder), &backups.path().join("b.db")).unwrap_err().to_string();
        assert!(refused.contains("a.db") && refused.contains("it does not exist"), "{refused}");
        let store = SqliteStore::open(&config(&folder)).unwrap();
        let refused = backup(&config(&folder), &backups.path().join("nowhere/b.db")).unwrap_err().to_string();
        assert!(refused.contains("nowhere/b.db cannot be written"), "{refused}");
        drop(store);
        let mut bytes = fs::read(folder.path().join("a.db")).unwrap();
        // Keeps the header and the schema.
        bytes[4_096..].fill(0xaa);
        fs::write(folder.path().join("a.db"), bytes).unwrap();
        let refused = backup(&config(&folder), &backups.path().join("b.db")).unwrap_err().to_string();
        assert!(refused.contains("a.db"), "{refused}");
        assert_eq!(names(&backups), Vec::<String>::new());
    }
}
