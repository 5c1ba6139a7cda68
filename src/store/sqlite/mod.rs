//! SQLite backend: WAL mode, a single writer with group commit, and a pool of readers.
//!
//! A write is durable when its future completes (`synchronous = FULL`); one sync covers all changes in a batch. Readers never
//! wait for the writer.

mod audit;
mod backup;
mod checkpoints;
mod conversation_list;
mod conversation_rows;
mod conversations;
mod documents;
mod end_turn;
mod events;
mod feedback;
mod file;
mod location;
mod migrate;
mod page;
mod refresh;
mod revocations;
mod schema;
mod serving;
mod serving_clock;
mod stored_turns;
mod summaries;
mod titles;
mod turn_rows;
mod usage;
mod user_list;
mod user_row;
mod users;
mod vectors;
mod writer;

use super::StoreError;
use crate::{
    config::DatabaseConfig,
    domain::UnixMillis,
    metrics::{Metrics, StoreOperation},
};
pub use backup::{Backup, backup};
use diesel::{Connection, ExpressionMethods, RunQueryDsl, SqliteConnection, connection::SimpleConnection, r2d2::Pool};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use file::{FileConnection, Readers};
use location::{Absent, locate};
pub use migrate::migrate;
use schema::store_checks;
pub use serving::ServingRight;
use std::{
    convert::Infallible,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, Semaphore, mpsc};
use writer::Writer;

/// Time for which the outcome of a check is cached.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Minimum time to wait for a free reader.
const MIN_READER_WAIT: Duration = Duration::from_secs(1);

/// Size of the WAL, in pages of 4 KiB, after which a commit performs a checkpoint. A checkpoint takes some milliseconds, for
/// which later changes wait. At SQLite's default of 1,000 pages, 200 questions per second cause more than one per second.
const WAL_PAGES: u32 = 8_192;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Handle to the database. Clones share it.
#[derive(Clone)]
pub struct SqliteStore {
    writer: Writer,
    readers: Pool<Readers>,
    /// A permit per reader, so that waiting for one does not block a thread.
    reader_permits: Arc<Semaphore>,
    max_wait: Duration,
    last_check: Arc<Mutex<Option<Check>>>,
    metrics: Arc<Metrics>,
    logged_kinds: Arc<events::LoggedKinds>,
    path: String,
    /// Closed when all connections are.
    open: Arc<Mutex<mpsc::Receiver<Infallible>>>,
}

/// Outcome of a check whether the store is writable.
struct Check {
    at: Instant,
    outcome: Result<(), StoreError>,
}

impl SqliteStore {
    /// Opens the database, creating it if absent, and migrates it to the current schema.
    ///
    /// # Errors
    /// When the URL is not `sqlite://path`, the file cannot be used, or a migration fails.
    pub fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        Self::open_measured(config, Arc::default())
    }

    /// Like [`SqliteStore::open`], for a database that must exist.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and when the database does not exist.
    pub fn open_existing(config: &DatabaseConfig) -> Result<Self, StoreError> {
        locate(config, Absent::Refuse)?;
        Self::open(config)
    }

    /// Like [`SqliteStore::open`], and records commits and failures in `metrics`.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_measured(config: &DatabaseConfig, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        migrate(config)?;
        let path = text_of(&locate(config, Absent::Refuse)?)?;
        let busy_timeout_ms = config.busy_timeout_ms;
        let max_wait = Duration::from_millis(u64::from(busy_timeout_ms));
        let (mark, open) = mpsc::channel(1);
        let readers = Readers { path: path.clone(), busy_timeout_ms, mark: mark.clone() };
        let file = path.clone();
        let connect = Box::new(move || FileConnection::open(&file, busy_timeout_ms, &mark));
        let writer = Writer::start(connect, max_wait, Arc::clone(&metrics))?;
        let max_wait = max_wait.max(MIN_READER_WAIT);
        let readers = Pool::builder()
            .max_size(config.readers)
            .connection_timeout(max_wait)
            .build(readers)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let reader_permits = Arc::new(Semaphore::new(config.readers as usize));
        Ok(Self {
            writer,
            readers,
            reader_permits,
            max_wait,
            last_check: Arc::default(),
            metrics,
            logged_kinds: Arc::default(),
            path,
            open: Arc::new(Mutex::new(open)),
        })
    }

    /// Closes all connections, so that SQLite removes the files of the write-ahead log. Does not wait long for clones of the
    /// store that are still in use.
    pub async fn close(self) {
        let Self { writer, readers, path, open, max_wait, .. } = self;
        drop((writer, readers));
        let all_closed = async { open.lock().await.recv().await };
        // Connections that are closed at the same time each take the other for a user of the files. This one is alone.
        match tokio::time::timeout(max_wait, all_closed).await {
            Ok(_) => drop(connect(&path, 0)),
            Err(_) => log::warn!("the database is still in use; the files of its write-ahead log remain"),
        }
    }

    /// Checks that the store is writable. The outcome is cached briefly, since each check syncs the disk and can be triggered by
    /// unauthenticated requests.
    async fn check_by_writing(&self) -> Result<(), StoreError> {
        let mut last_check = self.last_check.lock().await;
        if let Some(Check { at, outcome }) = &*last_check
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
        *last_check = Some(Check { at: Instant::now(), outcome: outcome.clone() });
        outcome
    }

    /// Runs `query` on a reader in the blocking thread pool.
    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        self.run_on_reader(query).await.inspect_err(|error| self.count(StoreOperation::Read, error))
    }

    async fn run_on_reader<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = match tokio::time::timeout(self.max_wait, Arc::clone(&self.reader_permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(StoreError::Unavailable("all readers are busy".to_owned())),
        };
        let readers = self.readers.clone();
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut connection = readers.get().map_err(|error| StoreError::Unavailable(error.to_string()))?;
            query(&mut connection.connection)
        });
        result.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    /// Runs `change` on the writer in a transaction of its own; durable on return.
    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.write(change).await.inspect_err(|error| self.count(StoreOperation::Write, error))
    }

    /// Counts failures of the database. `NotFound`, `Forbidden` and the like are regular results.
    fn count(&self, operation: StoreOperation, error: &StoreError) {
        if matches!(error, StoreError::Unavailable(_) | StoreError::Corrupt(_)) {
            self.metrics.store_errors.increment(operation);
        }
    }
}

/// Converts a path to UTF-8, as SQLite requires.
fn text_of(path: &Path) -> Result<String, StoreError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| StoreError::Unusable(format!("the path of the database, {}, is not UTF-8", path.display())))
}

/// Opens a connection without modifying the database.
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

/// Parses a stored id, role or other value.
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
