//! The file of the database: where it is, whether it may be made, and why it cannot be used.
//!
//! A mistyped path must not look like a server that has lost everything, so that a database is made only by commands which
//! are for that, and never in a folder that somebody named and that is not there. Every error names the file by its whole
//! path and the setting that led there, and says who can do what about it.

use super::MIGRATIONS;
use crate::{
    config::DatabaseConfig,
    private,
    store::StoreError::{self, Unusable},
};
use diesel::{
    Connection, QueryableByName, RunQueryDsl, SqliteConnection,
    migration::{Migration, MigrationSource},
    sql_types::{BigInt, Text},
    sqlite::Sqlite,
};
use diesel_migrations::MigrationHarness;
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The first bytes of every file of SQLite.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The restoring of a backup, for errors.
const RESTORE: &str = "restore a backup (docs/OPERATIONS.md says how) or correct `database.url`";

/// Behaviour when there is no database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is made, and that is logged.
    Create,
    Refuse,
}

/// The file that a database address names.
pub(super) fn path_of(url: &str) -> Result<&str, StoreError> {
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() && !path.contains(":memory:") && !path.contains('?') => Ok(path),
        _ => Err(Unusable(format!("`database.url` must be sqlite://path without parameters, not {url:?}"))),
    }
}

/// The whole path of the database's file, which is there when this returns.
///
/// # Errors
/// When it is not there and may not be made, is no file, or has several names.
pub(super) fn locate(config: &DatabaseConfig, absent: Absent) -> Result<PathBuf, StoreError> {
    let path = std::path::absolute(path_of(&config.url)?).map_err(|error| Unusable(error.to_string()))?;
    let named = Named { path: &path, config };
    match fs::metadata(&path) {
        Ok(found) => named.check(&found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => named.make(absent)?,
        Err(error) => return Err(named.unusable(&error.to_string())),
    }
    Ok(path)
}

/// A path with the setting that named it.
struct Named<'a> {
    path: &'a Path,
    config: &'a DatabaseConfig,
}

impl Named<'_> {
    fn unusable(&self, reason: &str) -> StoreError {
        let origin = self.config.url_origin.as_ref().map_or_else(String::new, |origin| format!(", from {origin}"));
        let (path, url) = (self.path.display(), &self.config.url);
        Unusable(format!("the database {path} (database.url = {url:?}{origin}) cannot be used: {reason}"))
    }

    fn check(&self, found: &fs::Metadata) -> Result<(), StoreError> {
        if found.is_dir() {
            return Err(self.unusable("it is a folder; name a file in it"));
        }
        if !found.is_file() {
            return Err(self.unusable("it is not a regular file"));
        }
        if found.nlink() > 1 {
            return Err(self.unusable(&format!(
                "the file has {} names (hard links). SQLite keeps the log of changes beside one of them, so that \
                 whoever opens it by another name loses data. Delete the other names; `find -samefile` finds them",
                found.nlink()
            )));
        }
        Ok(())
    }

    fn make(&self, absent: Absent) -> Result<(), StoreError> {
        if fs::symlink_metadata(self.path).is_ok() {
            return Err(self.unusable("it is a symbolic link to a file that is not there"));
        }
        if absent == Absent::Refuse {
            return Err(self.unusable(
                "it is not there, and this command does not make one. Run it in the server's folder, or name the \
                 server's database with --database-url; `switchboard migrate` makes a new database",
            ));
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let is_chosen = self.config.url_origin.is_some() && self.config.url != DatabaseConfig::default().url;
        if is_chosen && !folder.is_dir() {
            let folder = folder.display();
            return Err(self.unusable(&format!("there is no folder {folder}; make it, or correct the setting")));
        }
        private::create_folder(folder).map_err(|error| self.unusable(&error.to_string()))?;
        private::create_file(self.path).map_err(|error| self.unusable(&error.to_string()))?;
        log::warn!(path:% = self.path.display(); "created a new, empty database");
        Ok(())
    }
}

/// Checks that the database is one of ours, of this version or an older one. An empty file is.
///
/// # Errors
/// When it is not.
pub(super) fn check_schema(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let tables = tables(connection)?;
    if tables.is_empty() {
        return Ok(());
    }
    if !tables.iter().any(|table| table == "__diesel_schema_migrations") {
        let path = path.display();
        return Err(Unusable(format!("{path} is the database of another program; correct `database.url`")));
    }
    let known: Vec<Box<dyn Migration<Sqlite>>> =
        MIGRATIONS.migrations().map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let known: Vec<_> = known.iter().map(|migration| migration.name().version().as_owned()).collect();
    let applied = connection.applied_migrations().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    match applied.into_iter().find(|version| !known.contains(version)) {
        Some(version) => Err(Unusable(format!(
            "{} was written by a newer version of Switchboard (it has the migration {version}); run that version, or \
             restore a backup from before the update",
            path.display()
        ))),
        None => Ok(()),
    }
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let names =
        "SELECT name AS text FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    Ok(diesel::sql_query(names).load::<TextRow>(connection)?.into_iter().map(|row| row.text).collect())
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Checks every page of a database, and that every reference leads somewhere.
///
/// # Errors
/// When something is wrong; the error says what.
pub(super) fn check_integrity(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let problems = "SELECT integrity_check AS text FROM pragma_integrity_check";
    let problems: Vec<TextRow> = diesel::sql_query(problems).load(connection)?;
    if let Some(problem) = problems.into_iter().find(|row| row.text != "ok") {
        return Err(StoreError::Corrupt(problem.text));
    }
    let dangling = "SELECT count(*) AS count FROM pragma_foreign_key_check";
    match diesel::sql_query(dangling).get_result::<CountRow>(connection)?.count {
        0 => Ok(()),
        count => Err(StoreError::Corrupt(format!("{count} rows refer to rows that are not there"))),
    }
}

/// The reason why a database could not be opened, found by looking at the file; `error` when nothing is wrong with it.
///
/// SQLite's own error names neither the file nor the reason. Only for a start that has failed: to close a file releases the
/// locks that the process holds on it.
pub(super) fn diagnose(path: &Path, error: StoreError) -> StoreError {
    if matches!(error, Unusable(_)) {
        return error;
    }
    let shown = path.display();
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head)) {
        Ok(0) => {}
        Ok(_) if head != MAGIC => return Unusable(format!("{shown} is not a database of SQLite; {RESTORE}")),
        Ok(_) => {}
        Err(error) => return Unusable(format!("{shown} cannot be read: {error}; let this user read and write it")),
    }
    if let Err(error) = File::options().write(true).open(path) {
        return Unusable(format!("{shown} cannot be written: {error}; let this user write it"));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    if let Err(error) = tempfile::tempfile_in(folder) {
        let folder = folder.display();
        return Unusable(format!(
            "no file can be made in {folder}, where SQLite keeps its log of changes: {error}; let this user write there"
        ));
    }
    let checked = SqliteConnection::establish(&path.to_string_lossy())
        .map_err(|error| StoreError::Unavailable(error.to_string()))
        .and_then(|mut connection| check_integrity(&mut connection));
    match checked {
        Err(StoreError::Corrupt(problem)) => Unusable(format!("{shown} is damaged ({problem}); {RESTORE}")),
        // It holds for a lock of another program, too, which is nothing that SQLite's error can be told from.
        Err(_) => Unusable(format!(
            "{shown} cannot be used: {error}. If another program has locked it, stop that one; if it is damaged, {RESTORE}"
        )),
        Ok(()) => match error {
            StoreError::Unavailable(cause) => StoreError::Unavailable(format!("{shown}: {cause}")),
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{SqliteStore, migrate};
    use diesel::connection::SimpleConnection;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn config(path: &Path) -> DatabaseConfig {
        let url = format!("sqlite://{}", path.display());
        DatabaseConfig { url, url_origin: Some("--database-url".to_owned()), ..DatabaseConfig::default() }
    }

    /// The error for a file that was prepared like this; it names the file.
    fn refused(prepare: impl FnOnce(&Path)) -> String {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        prepare(&path);
        let error = SqliteStore::open(&config(&path)).err().expect("it was opened").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        error
    }

    #[test]
    fn a_database_is_made_only_where_one_is_meant() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("new/a.db");
        let error = locate(&config(&path), Absent::Create).unwrap_err().to_string();
        let named = format!("(database.url = \"sqlite://{}\", from --database-url)", path.display());
        assert!(error.contains(&named) && error.contains("there is no folder"), "{error}");
        assert!(!folder.path().join("new").exists());
        fs::create_dir(folder.path().join("new")).unwrap();
        let error = locate(&config(&path), Absent::Refuse).unwrap_err().to_string();
        assert!(error.contains(&named) && error.contains("`switchboard migrate`"), "{error}");
        assert!(!path.exists());
        assert_eq!(locate(&config(&path), Absent::Create).unwrap(), path);
        assert_eq!(locate(&config(&path), Absent::Refuse).unwrap(), path);
    }

    #[test]
    fn what_is_no_file_of_its_own_is_refused() {
        assert!(refused(|path| fs::create_dir(path).unwrap()).contains("it is a folder"));
        assert!(refused(|path| symlink("nowhere.db", path).unwrap()).contains("symbolic link"));
        let error = refused(|path| {
            migrate(&config(path)).unwrap();
            fs::hard_link(path, path.with_file_name("b.db")).unwrap();
        });
        assert!(error.contains("2 names") && error.contains("find -samefile"), "{error}");
        let parameters = DatabaseConfig { url: "sqlite://a.db?mode=ro".to_owned(), ..DatabaseConfig::default() };
        assert!(locate(&parameters, Absent::Create).unwrap_err().to_string().contains("without parameters"));
    }

    #[test]
    fn a_file_that_is_no_database_of_ours_is_left_alone() {
        let text = "this is no database, however long one reads".repeat(100);
        let error = refused(|path| fs::write(path, &text).unwrap());
        assert!(error.contains("not a database of SQLite") && error.contains("restore a backup"), "{error}");
        let error = refused(|path| {
            let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            other.batch_execute("CREATE TABLE songs (id INTEGER PRIMARY KEY)").unwrap();
        });
        assert!(error.contains("another program"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let error = refused(|path| {
            migrate(&config(path)).unwrap();
            let mut bytes = fs::read(path).unwrap();
            // The header stays, the schema does not.
            bytes[100..4_096].fill(0xaa);
            fs::write(path, bytes).unwrap();
        });
        assert!(error.contains("damaged") && error.contains("restore a backup"), "{error}");
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let error = refused(|path| {
            migrate(&config(path)).unwrap();
            let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')";
            connection.batch_execute(newer).unwrap();
        });
        assert!(error.contains("newer version of Switchboard") && error.contains("20991231000001"), "{error}");
    }

    #[test]
    fn a_file_that_nobody_may_write_is_named() {
        // A superuser may write any file; one whose format says that it is only for reading is not written by SQLite either.
        let error = refused(|path| {
            fs::write(path, b"").unwrap();
            let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            connection.batch_execute("CREATE TABLE __diesel_schema_migrations (version TEXT PRIMARY KEY)").unwrap();
            drop(connection);
            let mut bytes = fs::read(path).unwrap();
            bytes[18] = 3;
            fs::write(path, bytes).unwrap();
        });
        assert!(error.contains("readonly"), "{error}");
    }
}
