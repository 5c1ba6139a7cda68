//! The embedded database: SQLite in WAL mode, one writer that groups commits, a pool of readers.
//!
//! Every write is durable when its future is ready: the file is synced once for all that was queued meanwhile
//! (`synchronous = FULL`). Readers never wait for the writer.

mod audit;
mod backup;
mod checkpoints;
mod conversation_list;
mod conversation_rows;
mod conversations;
mod documents;
mod end_turn;
mod file;
mod location;
mod page;
mod refresh;
mod revocations;
mod schema;
mod search;
mod serving;
mod serving_clock;
mod stored_turns;
mod turn_rows;
mod user_list;
mod user_row;
mod users;
mod writer;

use super::StoreError;
use crate::{
    config::DatabaseConfig,
    domain::UnixMillis,
    metrics::{Metrics, StoreOperation},
};
pub use backup::{Backup, backup};
use diesel::{Connection, ExpressionMethods, RunQueryDsl, SqliteConnection, connection::SimpleConnection, r2d2::Pool};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use file::{FileConnection, Readers};
use location::{Absent, check_schema, diagnose, locate};
use schema::store_checks;
pub use serving::ServingRight;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, Semaphore};
use writer::Writer;

/// How long what came of a check is true enough.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Others read, too: nobody is refused sooner than this because every reader is busy.
const MIN_READER_WAIT: Duration = Duration::from_secs(1);

/// Pages (4 KiB each) in the WAL before a commit moves them to the database, for which it takes some milliseconds, and
/// those behind it wait. At SQLite's 1,000 pages, 200 questions a second make more than one such commit a second.
const WAL_PAGES: u32 = 8_192;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct SqliteStore {
    writer: Writer,
    readers: Pool<Readers>,
    /// One for each reader: who waits for one, for so long, waits here and not on a thread.
    reading: Arc<Semaphore>,
    patience: Duration,
    checked: Arc<Mutex<Option<Checked>>>,
    metrics: Arc<Metrics>,
}

/// When it was tried last whether the store can write, and what came of it.
struct Checked {
    at: Instant,
    outcome: Result<(), StoreError>,
}

impl SqliteStore {
    /// Opens the database, making it when absent, and brings it to the current schema.
    ///
    /// # Errors
    /// When the address is not `sqlite://path`, the file cannot be used, or a migration fails.
    pub fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        Self::open_measured(config, Arc::default())
    }

    /// The same for a database that must be there.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and when there is none.
    pub fn open_existing(config: &DatabaseConfig) -> Result<Self, StoreError> {
        locate(config, Absent::Refuse)?;
        Self::open(config)
    }

    /// The same, with commits and failures in `metrics`.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_measured(config: &DatabaseConfig, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        migrate(config)?;
        let path = text_of(&locate(config, Absent::Refuse)?)?;
        let busy_timeout_ms = config.busy_timeout_ms;
        let patience = Duration::from_millis(u64::from(busy_timeout_ms));
        let readers = Readers { path: path.clone(), busy_timeout_ms };
        let connect = Box::new(move || FileConnection::open(&path, busy_timeout_ms));
        let writer = Writer::start(connect, patience, Arc::clone(&metrics))?;
        let patience = patience.max(MIN_READER_WAIT);
        let readers = Pool::builder()
            .max_size(config.readers)
            .connection_timeout(patience)
            .build(readers)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let reading = Arc::new(Semaphore::new(config.readers as usize));
        Ok(Self { writer, readers, reading, patience, checked: Arc::default(), metrics })
    }

    /// Whether the store can write. Those who ask in quick succession share one try: anybody may ask, and each try is a
    /// sync of the disk.
    async fn check_by_writing(&self) -> Result<(), StoreError> {
        let mut checked = self.checked.lock().await;
        if let Some(Checked { at, outcome }) = &*checked
            && at.elapsed() < CHECK_INTERVAL
        {
            return outcome.clone();
        }
        let outcome = self
            .write(|connection| {
                diesel::update(store_checks::table)
                    .set(store_checks::checked_at_ms.eq(UnixMillis::now().0))
                    .execute(connection)?;
                Ok(())
            })
            .await;
        *checked = Some(Checked { at: Instant::now(), outcome: outcome.clone() });
        outcome
    }

    /// Runs `query` on a reader, off the caller's thread.
    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        self.ask_reader(query).await.inspect_err(|error| self.count(StoreOperation::Read, error))
    }

    async fn ask_reader<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        let place = match tokio::time::timeout(self.patience, Arc::clone(&self.reading).acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => return Err(StoreError::Unavailable("every reader is busy".to_owned())),
        };
        let readers = self.readers.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _place = place;
            let mut connection = readers.get().map_err(|error| StoreError::Unavailable(error.to_string()))?;
            query(&mut connection.connection)
        });
        answer.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    /// Runs `change` on the writer in a transaction of its own; ready when it is on disk.
    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.write(change).await.inspect_err(|error| self.count(StoreOperation::Write, error))
    }

    /// That something is not there, or somebody else's, is an answer and no failure.
    fn count(&self, operation: StoreOperation, error: &StoreError) {
        if matches!(error, StoreError::Unavailable(_) | StoreError::Corrupt(_)) {
            self.metrics.store_errors.increment(operation);
        }
    }
}

/// Brings the database to the current schema and returns the names of the migrations that ran.
///
/// # Errors
/// When the address is not `sqlite://path`, the file cannot be opened, or a migration fails.
pub fn migrate(config: &DatabaseConfig) -> Result<Vec<String>, StoreError> {
    let path = locate(config, Absent::Create)?;
    run_migrations(&path, config.busy_timeout_ms).map_err(|error| diagnose(&path, error))
}

fn run_migrations(path: &Path, busy_timeout_ms: u32) -> Result<Vec<String>, StoreError> {
    let text = text_of(path)?;
    // Looked at before anything is written, and that includes the mode of the journal.
    let mut connection = plain_connection(&text, busy_timeout_ms)?;
    check_schema(&mut connection, path)?;
    drop(connection);
    let mut connection = connect(&text, busy_timeout_ms)?;
    let ran = connection
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| StoreError::Unavailable(format!("migrating: {error}")))?;
    let ran: Vec<_> = ran.iter().map(ToString::to_string).collect();
    if !ran.is_empty() {
        connection.immediate_transaction(users::normalise_emails)?;
    }
    Ok(ran)
}

/// A path as SQLite takes it.
fn text_of(path: &Path) -> Result<String, StoreError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| StoreError::Unusable(format!("the path of the database, {}, is not UTF-8", path.display())))
}

/// A connection that changes nothing by being opened.
fn plain_connection(path: &str, busy_timeout_ms: u32) -> Result<SqliteConnection, StoreError> {
    let mut connection =
        SqliteConnection::establish(path).map_err(|error| StoreError::Unavailable(format!("{path}: {error}")))?;
    connection.batch_execute(&format!("PRAGMA busy_timeout = {busy_timeout_ms};"))?;
    Ok(connection)
}

fn connect(path: &str, busy_timeout_ms: u32) -> Result<SqliteConnection, StoreError> {
    let mut connection = plain_connection(path, busy_timeout_ms)?;
    connection.batch_execute(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA wal_autocheckpoint = {WAL_PAGES}; PRAGMA foreign_keys = ON;"
    ))?;
    Ok(connection)
}

/// A stored text as the id, role or other value that it stands for.
fn parse<T: std::str::FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| StoreError::Corrupt(format!("{text:?}: {error}")))
}

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error};
        match error {
            Error::NotFound => Self::NotFound("row"),
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Conflict("row"),
            Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => Self::NotFound("row"),
            Error::DeserializationError(cause) => Self::Corrupt(cause.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
