//! Writer thread with group commit: commits all queued changes in one transaction.
//!
//! SQLite allows one writer at a time, and a commit costs a disk sync, so changes are queued and share a sync. Each change has a
//! savepoint, so that a change that fails is rolled back alone. A failure of the database fails the whole batch, and the next
//! batch gets a new connection. A `SyncArbiter` actor could not batch, since it cannot see the messages waiting in its mailbox.

use super::file::FileConnection;
use crate::{metrics::Metrics, store::StoreError};
use diesel::{
    Connection, SqliteConnection,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{
    mpsc::{self, error::SendTimeoutError},
    oneshot,
};

/// Capacity of the queue. When it is full, callers wait.
const QUEUE: usize = 4_096;
/// Maximum number of changes in a commit.
const BATCH: usize = 512;

/// Steps in which the wait for locks is set: setting it costs as much as a small statement.
const LOCK_WAIT_STEP_MS: u64 = 100;
/// Delay before another attempt to begin a transaction.
const RETRY_DELAY: Duration = Duration::from_millis(20);

type Connect = Box<dyn Fn() -> Result<FileConnection, StoreError> + Send>;

#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<QueuedJob>,
    max_wait: Duration,
}

/// Queued change with the deadline for beginning its transaction.
struct QueuedJob {
    job: Box<dyn Job>,
    deadline: Instant,
}

impl Writer {
    /// Starts the thread, which ends when the last handle is dropped and the queue is empty. A change that cannot begin within
    /// `max_wait` fails.
    pub(super) fn start(connect: Connect, max_wait: Duration, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let connection = Some(connect()?);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || WriterThread { connect, connection, lock_wait_ms: None, metrics }.run(queue))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { jobs, max_wait })
    }

    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let stopped = || StoreError::Unavailable("the writer has stopped".to_owned());
        let job = Change { change: Some(change), outcome: None, reply };
        let queued = QueuedJob { job: Box::new(job), deadline: Instant::now() + self.max_wait };
        match self.jobs.send_timeout(queued, self.max_wait).await {
            Ok(()) => answer.await.map_err(|_| stopped())?,
            Err(SendTimeoutError::Timeout(_)) => {
                Err(StoreError::Unavailable(format!("the queue of {QUEUE} changes is full")))
            }
            Err(SendTimeoutError::Closed(_)) => Err(stopped()),
        }
    }
}

struct WriterThread {
    connect: Connect,
    /// `None` after a failure: SQLite may have rolled back by itself, so the state of the old connection is unknown.
    connection: Option<FileConnection>,
    /// Wait for locks that is set on the connection.
    lock_wait_ms: Option<u64>,
    metrics: Arc<Metrics>,
}

impl WriterThread {
    fn run(mut self, mut queue: mpsc::Receiver<QueuedJob>) {
        let mut batch = Vec::with_capacity(BATCH);
        while !batch.is_empty() || queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let began = Instant::now();
            match self.begin(&batch) {
                Ok(mut connection) => {
                    let committed = commit(&mut connection.connection, &mut batch);
                    if let Err(error) = &committed {
                        log::error!(changes = batch.len(), error:%; "could not commit changes");
                    } else {
                        self.connection = Some(connection);
                        self.metrics.store_commit.record(began.elapsed());
                        self.metrics.store_changes.add(batch.len() as u64);
                    }
                    for queued in batch.drain(..) {
                        queued.job.answer(&committed);
                    }
                }
                Err(error) => {
                    let now = Instant::now();
                    let failed: Vec<_> = batch.extract_if(.., |queued| queued.deadline <= now).collect();
                    if !failed.is_empty() {
                        log::error!(changes = failed.len(), error:%; "could not begin a transaction in time");
                    }
                    for queued in failed {
                        queued.job.answer(&Err(error.clone()));
                    }
                    // Failures other than a lock are immediate and would cause a busy loop.
                    if !batch.is_empty() {
                        std::thread::sleep(RETRY_DELAY);
                    }
                }
            }
        }
    }

    /// Begins a transaction on a connection to the current file. Waits for locks until the earliest deadline in the batch.
    fn begin(&mut self, batch: &[QueuedJob]) -> Result<FileConnection, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_current() => connection,
            _ => {
                self.lock_wait_ms = None;
                (self.connect)()?
            }
        };
        let deadline = batch.iter().map(|queued| queued.deadline).min();
        let wait = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()));
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).next_multiple_of(LOCK_WAIT_STEP_MS);
        if self.lock_wait_ms != Some(wait_ms) {
            connection.connection.batch_execute(&format!("PRAGMA busy_timeout = {wait_ms}"))?;
            self.lock_wait_ms = Some(wait_ms);
        }
        AnsiTransactionManager::begin_transaction_sql(&mut connection.connection, "BEGIN IMMEDIATE")?;
        Ok(connection)
    }
}

/// Runs the changes and commits them. A change that fails for its own reasons, such as a missing row, is rolled back alone. If the
/// database fails, the whole batch is rolled back: SQLite may have rolled back the earlier changes, and the later ones would be
/// committed individually.
fn commit(connection: &mut SqliteConnection, batch: &mut [QueuedJob]) -> Result<(), StoreError> {
    if let [alone] = batch {
        return alone.job.run_alone(connection);
    }
    for queued in batch {
        if let Err(error) = queued.job.run(connection) {
            // Fails if SQLite has already rolled back; the connection is discarded either way.
            let _ = AnsiTransactionManager::rollback_transaction(connection);
            return Err(error);
        }
    }
    Ok(AnsiTransactionManager::commit_transaction(connection)?)
}

/// Type-erased change.
trait Job: Send {
    /// Runs the change in a savepoint and keeps its result.
    ///
    /// # Errors
    /// Only when the database fails.
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError>;
    /// Runs the change as the only one of the transaction, without a savepoint, and ends the transaction.
    ///
    /// # Errors
    /// Only when the database fails.
    fn run_alone(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError>;
    /// Sends the result to the caller, after the commit.
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>);
}

struct Change<F, T> {
    change: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Change<F, T> {
    /// Keeps the result for the caller, unless the database has failed.
    fn keep(&mut self, outcome: Option<Result<T, StoreError>>) -> Result<(), StoreError> {
        match outcome {
            Some(Err(StoreError::Unavailable(cause))) => Err(StoreError::Unavailable(cause)),
            outcome => {
                self.outcome = outcome;
                Ok(())
            }
        }
    }
}

impl<F, T> Job for Change<F, T>
where
    T: Send,
    F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let outcome = self.change.take().map(|change| connection.transaction(change));
        self.keep(outcome)
    }

    fn run_alone(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let outcome = self.change.take().map(|change| change(connection));
        let is_accepted = matches!(outcome, Some(Ok(_)));
        let kept = self.keep(outcome);
        if is_accepted {
            return Ok(AnsiTransactionManager::commit_transaction(connection)?);
        }
        let rolled_back = AnsiTransactionManager::rollback_transaction(connection);
        // A rollback fails if SQLite has rolled back already because the database failed; that is the error to report.
        kept.and(rolled_back.map_err(StoreError::from))
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Err(error), _) => Err(error.clone()),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(StoreError::Unavailable("the change was not run".to_owned())),
        };
        // Fails only if the caller no longer waits.
        let _ = self.reply.send(outcome);
    }
}
