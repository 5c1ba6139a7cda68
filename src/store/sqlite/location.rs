//! File of the database: its location, creation, and diagnosis of problems.
//!
//! A mistyped path must not look like lost data, so only some commands create a database, and never in a missing folder that was
//! configured explicitly. Every error contains the absolute path and the setting that it comes from, and says what to do.

use super::{MIGRATIONS, SqliteStore, plain_connection, text_of};
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

/// Magic number of SQLite files.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Table in which diesel lists the migrations that ran.
const MIGRATIONS_TABLE: &str = "__diesel_schema_migrations";
/// Advice at the end of errors.
const RESTORE: &str = "restore a backup (docs/OPERATIONS.md says how) or correct `database.url`";

/// Behaviour if the database does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Create it and log a warning.
    Create,
    Refuse,
}

/// Returns the path in a database URL.
pub(super) fn path_of(url: &str) -> Result<&str, StoreError> {
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() && !path.contains(":memory:") && !path.contains('?') => Ok(path),
        _ => Err(Unusable(format!("`database.url` must be sqlite://path without parameters, not {url:?}"))),
    }
}

/// Returns the absolute path of the database file, which exists on return.
///
/// # Errors
/// When the file does not exist and must not be created, is not a regular file, or has several hard links.
pub(super) fn locate(config: &DatabaseConfig, absent: Absent) -> Result<PathBuf, StoreError> {
    let path = std::path::absolute(path_of(&config.url)?).map_err(|error| Unusable(error.to_string()))?;
    let location = Location { path: &path, config };
    match fs::metadata(&path) {
        Ok(found) => location.check(&found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => location.create(absent)?,
        Err(error) => return Err(location.unusable(&error.to_string())),
    }
    Ok(path)
}

impl SqliteStore {
    /// Checks whether [`SqliteStore::open`] could open or create the database, and nothing more: an existing file is read, and
    /// nothing is created or migrated.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn check(config: &DatabaseConfig) -> Result<(), StoreError> {
        let path = std::path::absolute(path_of(&config.url)?).map_err(|error| Unusable(error.to_string()))?;
        let location = Location { path: &path, config };
        match fs::metadata(&path) {
            Ok(found) => location.check(&found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = location.folder_of_new(Absent::Create)?;
                return private::check_creatable(folder).map_err(|error| location.unusable(&error.to_string()));
            }
            Err(error) => return Err(location.unusable(&error.to_string())),
        }
        let checked = plain_connection(&unchanging_url(&text_of(&path)?), config.busy_timeout_ms)
            .and_then(|mut connection| check_schema(&mut connection, &path));
        checked.and_then(|()| check_access(&path)).map_err(|error| diagnose(&path, error))
    }
}

/// Returns the URL of a database that is read without changing any file. Without a write-ahead log, nobody has the database open,
/// and SQLite may assume that it does not change; otherwise it would create a log.
fn unchanging_url(path: &str) -> String {
    let has_log = fs::metadata(format!("{path}-wal")).is_ok_and(|log| log.len() > 0);
    let parameter = if has_log { "mode=ro" } else { "immutable=1" };
    format!("file:{}?{parameter}", percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC))
}

/// Path of the database with the setting that it comes from.
struct Location<'a> {
    path: &'a Path,
    config: &'a DatabaseConfig,
}

impl Location<'_> {
    fn unusable(&self, reason: &str) -> StoreError {
        let origin = self.config.url_origin.as_ref().map_or_else(String::new, |origin| format!(", from {origin}"));
        let (path, url) = (self.path.display(), &self.config.url);
        Unusable(format!("the database {path} (database.url = {url:?}{origin}) cannot be used: {reason}"))
    }

    fn check(&self, found: &fs::Metadata) -> Result<(), StoreError> {
        if found.is_dir() {
            return Err(self.unusable("it is a folder; specify a file in it"));
        }
        if !found.is_file() {
            return Err(self.unusable("it is not a regular file"));
        }
        if found.nlink() > 1 {
            return Err(self.unusable(&format!(
                "the file has {} names (hard links). SQLite keeps its write-ahead log beside one of them, so opening \
                 another one loses data. Delete the other names; `find -samefile` finds them",
                found.nlink()
            )));
        }
        Ok(())
    }

    /// Returns the folder of a database that does not exist, if it may be created.
    fn folder_of_new(&self, absent: Absent) -> Result<&Path, StoreError> {
        if fs::symlink_metadata(self.path).is_ok() {
            return Err(self.unusable("it is a symbolic link to a file that does not exist"));
        }
        if absent == Absent::Refuse {
            return Err(self.unusable(
                "it does not exist, and this command does not create it. Run the command in the server's folder or \
                 specify the server's database with --database-url; `switchboard migrate` creates a new database",
            ));
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let is_chosen = self.config.url_origin.is_some() && self.config.url != DatabaseConfig::default().url;
        if is_chosen && !folder.is_dir() {
            let folder = folder.display();
            return Err(self.unusable(&format!("there is no folder {folder}; create it or correct the setting")));
        }
        Ok(folder)
    }

    fn create(&self, absent: Absent) -> Result<(), StoreError> {
        let folder = self.folder_of_new(absent)?;
        private::create_folder(folder).map_err(|error| self.unusable(&error.to_string()))?;
        private::create_file(self.path).map_err(|error| self.unusable(&error.to_string()))?;
        log::warn!(path:% = self.path.display(); "created a new, empty database");
        Ok(())
    }
}

/// Checks that the database is empty or was written by this version of Switchboard or an older one.
///
/// # Errors
/// When it belongs to another program or a newer version.
pub(super) fn check_schema(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let tables = tables(connection)?;
    if tables.is_empty() {
        return Ok(());
    }
    if !tables.iter().any(|table| table == MIGRATIONS_TABLE) {
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

/// Whether a database has no tables, or only the list of its migrations, without entries.
pub(super) fn is_empty(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    Ok(tables(connection)?.iter().all(|table| table == MIGRATIONS_TABLE))
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

/// Checks the integrity of all pages and foreign keys of a database.
///
/// # Errors
/// `Corrupt` with the first problem.
pub(super) fn check_integrity(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let problems = "SELECT integrity_check AS text FROM pragma_integrity_check";
    let problems: Vec<TextRow> = diesel::sql_query(problems).load(connection)?;
    if let Some(problem) = problems.into_iter().find(|row| row.text != "ok") {
        return Err(StoreError::Corrupt(problem.text));
    }
    let dangling = "SELECT count(*) AS count FROM pragma_foreign_key_check";
    match diesel::sql_query(dangling).get_result::<CountRow>(connection)?.count {
        0 => Ok(()),
        count => Err(StoreError::Corrupt(format!("{count} rows refer to missing rows"))),
    }
}

/// Checks that the file, and the folder in which SQLite keeps its write-ahead log, can be written to.
fn check_access(path: &Path) -> Result<(), StoreError> {
    let can_write = rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(io::Error::from);
    can_write.map_err(|error| {
        Unusable(format!("{} cannot be written: {error}; give this user write access", path.display()))
    })?;
    private::check_creatable(path.parent().unwrap_or(Path::new("/"))).map_err(|error| {
        Unusable(format!(
            "cannot create files where SQLite keeps its write-ahead log: {error}; give this user write access"
        ))
    })
}

/// Diagnoses why a database could not be opened by examining the file; returns `error` if the file is fine.
///
/// SQLite's own error contains neither the path nor the reason. Only for use after a failed start, since closing a file releases
/// all locks of the process on it.
pub(super) fn diagnose(path: &Path, error: StoreError) -> StoreError {
    if matches!(error, Unusable(_)) {
        return error;
    }
    let shown = path.display();
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head)) {
        Ok(0) => {}
        Ok(_) if head != MAGIC => return Unusable(format!("{shown} is not an SQLite database; {RESTORE}")),
        Ok(_) => {}
        Err(error) => {
            return Unusable(format!("{shown} cannot be read: {error}; give this user read and write access"));
        }
    }
    if let Err(unusable) = check_access(path) {
        return unusable;
    }
    let checked = SqliteConnection::establish(&path.to_string_lossy())
        .map_err(|error| StoreError::Unavailable(error.to_string()))
        .and_then(|mut connection| check_integrity(&mut connection));
    match checked {
        Err(StoreError::Corrupt(problem)) => Unusable(format!("{shown} is damaged ({problem}); {RESTORE}")),
        // SQLite's error does not distinguish damage from a lock of another program.
        Err(_) => Unusable(format!(
            "{shown} cannot be used: {error}. If another program has locked it, stop that program; if it is damaged, {RESTORE}"
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

    /// Prepares a file and returns the error of opening it, which must contain the path.
    fn refused(prepare: impl FnOnce(&Path)) -> String {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        prepare(&path);
        let error = SqliteStore::open(&config(&path)).err().expect("it was opened").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        error
    }

    #[test]
    fn a_database_is_created_only_in_an_existing_or_default_folder() {
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
    fn folders_links_and_urls_with_parameters_are_rejected() {
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
    fn files_and_databases_of_other_programs_are_rejected() {
        let text = "this is not a database".repeat(200);
        let error = refused(|path| fs::write(path, &text).unwrap());
        assert!(error.contains("not an SQLite database") && error.contains("restore a backup"), "{error}");
        let error = refused(|path| {
            let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            other.batch_execute("CREATE TABLE songs (id INTEGER PRIMARY KEY)").unwrap();
        });
        assert!(error.contains("another program"), "{error}");
    }

    #[test]
    fn a_check_reads_the_log_and_changes_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a %3f#.db");
        let files = || {
            let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            files.map(|file| (file.clone(), fs::read(file).unwrap())).collect::<std::collections::BTreeMap<_, _>>()
        };
        let config = config(&path);
        SqliteStore::check(&config).unwrap();
        assert!(files().is_empty(), "a check created something");
        migrate(&config).unwrap();
        let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let before = files();
        SqliteStore::check(&config).unwrap();
        assert!(files() == before, "a check changed something");
        // Only in the log.
        let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')";
        connection.batch_execute(newer).unwrap();
        let before = files();
        let refused = SqliteStore::check(&config).unwrap_err().to_string();
        assert!(refused.contains("20991231000001"), "{refused}");
        assert!(files().keys().eq(before.keys()) && files()[&path] == before[&path], "a check changed the database");
    }

    #[test]
    fn a_damaged_file_is_reported() {
        let error = refused(|path| {
            migrate(&config(path)).unwrap();
            let mut bytes = fs::read(path).unwrap();
            // Keeps the header and overwrites the schema.
            bytes[100..4_096].fill(0xaa);
            fs::write(path, bytes).unwrap();
        });
        assert!(error.contains("damaged") && error.contains("restore a backup"), "{error}");
    }

    #[test]
    fn a_file_of_a_newer_version_is_rejected() {
        let error = refused(|path| {
            migrate(&config(path)).unwrap();
            let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')";
            connection.batch_execute(newer).unwrap();
        });
        assert!(error.contains("newer version of Switchboard") && error.contains("20991231000001"), "{error}");
    }

    #[test]
    fn a_read_only_file_is_reported() {
        // Set in the file's header, since the superuser can write to any file.
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
