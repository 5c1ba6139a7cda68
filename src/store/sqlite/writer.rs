//! The one writer: a thread that commits all that has queued up in one transaction.
//!
//! SQLite lets one connection write at a time, and a commit costs a sync of the disk; so changes queue here, and each
//! sync carries as many as wait. A change that is refused is rolled back alone (a savepoint), its neighbours stay; trouble
//! with the database fails all of them, and the next ones get a new connection.
//! A `SyncArbiter` actor would take one message a transaction: it cannot look at what else waits in its mailbox.

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

/// Changes that may wait; one more waits in its caller.
const QUEUE: usize = 4_096;
/// The most changes in one commit.
const BATCH: usize = 512;

/// Between two tries to begin a transaction that failed at once.
const AGAIN: Duration = Duration::from_millis(20);

type Connect = Box<dyn Fn() -> Result<FileConnection, StoreError> + Send>;

#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Waiting>,
    patience: Duration,
}

/// A change and how long it may wait for a lock that somebody else holds.
struct Waiting {
    job: Box<dyn Job>,
    deadline: Instant,
}

impl Writer {
    /// Starts the thread. It ends when the last handle is dropped and the queue is empty. A change that could not begin
    /// within `patience` fails.
    pub(super) fn start(connect: Connect, patience: Duration, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let connection = Some(connect()?);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || WriterThread { connect, connection, metrics }.run(queue))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { jobs, patience })
    }

    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the writer has stopped".to_owned());
        let job = Change { change: Some(change), outcome: None, reply };
        let waiting = Waiting { job: Box::new(job), deadline: Instant::now() + self.patience };
        match self.jobs.send_timeout(waiting, self.patience).await {
            Ok(()) => answer.await.map_err(|_| gone())?,
            Err(SendTimeoutError::Timeout(_)) => Err(StoreError::Unavailable(format!("{QUEUE} changes wait already"))),
            Err(SendTimeoutError::Closed(_)) => Err(gone()),
        }
    }
}

struct WriterThread {
    connect: Connect,
    /// `None` after trouble: SQLite may have rolled back by itself, and only a new connection knows where it stands.
    connection: Option<FileConnection>,
    metrics: Arc<Metrics>,
}

impl WriterThread {
    fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH);
        while !batch.is_empty() || queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let began = Instant::now();
            match self.begin(&batch) {
                Ok(mut connection) => {
                    let committed = commit(&mut connection.connection, &mut batch);
                    if let Err(error) = &committed {
                        log::error!("the store could not take {} changes: {error}", batch.len());
                    } else {
                        self.connection = Some(connection);
                        self.metrics.store_commit.record(began.elapsed());
                        self.metrics.store_changes.add(batch.len() as u64);
                    }
                    for waiting in batch.drain(..) {
                        waiting.job.answer(&committed);
                    }
                }
                Err(error) => {
                    let now = Instant::now();
                    let failed: Vec<_> = batch.extract_if(.., |waiting| waiting.deadline <= now).collect();
                    if !failed.is_empty() {
                        log::error!("the store could not begin {} changes in time: {error}", failed.len());
                    }
                    for waiting in failed {
                        waiting.job.answer(&Err(error.clone()));
                    }
                    // A lock was waited for already; anything else fails at once.
                    if !batch.is_empty() {
                        std::thread::sleep(AGAIN);
                    }
                }
            }
        }
    }

    /// Begins a transaction on a connection that leads to the file of now. Waits for a lock no longer than the oldest
    /// change may.
    fn begin(&mut self, batch: &[Waiting]) -> Result<FileConnection, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_current() => connection,
            _ => (self.connect)()?,
        };
        let deadline = batch.iter().map(|waiting| waiting.deadline).min();
        let patience = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()));
        connection.connection.batch_execute(&format!("PRAGMA busy_timeout = {}", patience.as_millis()))?;
        AnsiTransactionManager::begin_transaction_sql(&mut connection.connection, "BEGIN IMMEDIATE")?;
        Ok(connection)
    }
}

/// Runs the changes and commits them. A change that is refused (it names what is not there, or is there twice) is rolled
/// back alone. Where the database itself cannot, nothing is kept: SQLite may have rolled back what came before, and what
/// came behind would commit by itself.
fn commit(connection: &mut SqliteConnection, batch: &mut [Waiting]) -> Result<(), StoreError> {
    for waiting in batch {
        if let Err(error) = waiting.job.run(connection) {
            // It fails when SQLite has rolled back already; the connection is given up either way.
            let _ = AnsiTransactionManager::rollback_transaction(connection);
            return Err(error);
        }
    }
    Ok(AnsiTransactionManager::commit_transaction(connection)?)
}

/// A change in the queue, whatever it returns.
trait Job: Send {
    /// # Errors
    /// Only when the database is at fault.
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError>;
    /// Tells the caller, once the commit is over.
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>);
}

struct Change<F, T> {
    change: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job for Change<F, T>
where
    T: Send,
    F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let outcome = self.change.take().map(|change| connection.transaction(change));
        match outcome {
            Some(Err(StoreError::Unavailable(cause))) => Err(StoreError::Unavailable(cause)),
            outcome => {
                self.outcome = outcome;
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Err(error), _) => Err(error.clone()),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(StoreError::Unavailable("the change did not run".to_owned())),
        };
        // A caller that has gone away does not need the answer.
        let _ = self.reply.send(outcome);
    }
}
