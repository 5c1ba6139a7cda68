//! The one writer: a thread that commits all that has queued up in one transaction.
//!
//! SQLite lets one connection write at a time, and a commit costs a sync of the disk; so changes queue here, and each
//! sync carries as many as wait. A change that fails is rolled back alone (a savepoint), its neighbours stay.
//! A `SyncArbiter` actor would take one message a transaction: it cannot look at what else waits in its mailbox.

use crate::store::StoreError;
use diesel::{
    Connection, SqliteConnection,
    connection::{AnsiTransactionManager, TransactionManager},
};
use tokio::sync::{mpsc, oneshot};

/// Changes that may wait; one more waits in its caller.
const QUEUE: usize = 4_096;
/// The most changes in one commit.
const BATCH: usize = 512;

type Connect = Box<dyn Fn() -> Result<SqliteConnection, StoreError> + Send>;

#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread. It ends when the last handle is dropped and the queue is empty.
    pub(super) fn start(connect: Connect) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let connection = connect()?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(queue, connection, &connect))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { jobs })
    }

    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the writer has stopped".to_owned());
        let job = Change { change: Some(change), outcome: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn run(mut queue: mpsc::Receiver<Box<dyn Job>>, mut connection: SqliteConnection, connect: &Connect) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let committed = connection.immediate_transaction(|connection| {
            for job in &mut batch {
                job.run(connection);
            }
            Ok::<(), StoreError>(())
        });
        for job in batch.drain(..) {
            job.answer(&committed);
        }
        // After an I/O error diesel cannot tell in which transaction the connection is; a new one can.
        if AnsiTransactionManager::is_broken_transaction_manager(&mut connection) {
            match connect() {
                Ok(fresh) => connection = fresh,
                Err(error) => log::error!("the database cannot be opened again: {error}"),
            }
        }
    }
}

/// A change in the queue, whatever it returns.
trait Job: Send {
    fn run(&mut self, connection: &mut SqliteConnection);
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
    fn run(&mut self, connection: &mut SqliteConnection) {
        if let Some(change) = self.change.take() {
            self.outcome = Some(connection.transaction(change));
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
