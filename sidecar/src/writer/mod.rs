//! The one writer of a graph.
//!
//! Flow: client -> [`Transaction::parse`] -> queue -> [`group`] (several clients, one commit) -> [`validate`] against Kuzu ->
//! [`commit`] (Lance, Kuzu, commit record, Kuzu, doorbell) -> answer. [`takeover`] comes first, once.
//!
//! Owns: the queue, the order of commits, fencing, idempotency keys.
//! Does not own: HTTP, and how rows are decoded.

mod answers;
mod bulk;
mod catch_up;
mod commit;
mod commit_bulk;
mod commit_group;
mod group;
mod idempotency;
mod load_keys;
mod operation_form;
mod optimize;
mod optimizing;
mod own_graph;
mod reader_bell;
mod refusal;
mod session;
mod spool;
mod takeover;
mod takeover_order;
mod transaction;
mod validate;
mod validate_bulk;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use bulk::{BulkLoad, Spooler};
pub use commit::CommitError;
pub use refusal::{Refusal, WriteError};
pub(crate) use takeover::holds;
pub use takeover::{TakeoverError, WriterClaim};
pub use transaction::{
    OperationRequest, TableChanges, Transaction, TransactionRequest, idempotency_entry, unknown_table,
};

use crate::commit_log::{CommitRecord, VersionMap};
use crate::events::Publisher;
use crate::ids::{Seq, TxId};
use crate::lake::IndexWish;
use crate::schema::{Schema, TableSchema};

/// What a client is told about its commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitAnswer {
    pub tx_id: TxId,
    pub seq: Seq,
    pub timestamp: DateTime<Utc>,
    pub tables: VersionMap,
}

impl From<&CommitRecord> for CommitAnswer {
    fn from(record: &CommitRecord) -> Self {
        Self {
            tx_id: record.tx_id,
            seq: record.seq,
            timestamp: record.timestamp,
            tables: record.tables.clone(),
        }
    }
}

/// What waits in the queue.
enum Work {
    Transaction(Box<Transaction>),
    Bulk(BulkLoad),
}

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<CommitAnswer, WriteError>>,
}

/// The clients' side of a running writer. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    /// A permit per job that may wait for its commit, in the channel or in the session's hands: as many as the channel holds.
    places: Arc<Semaphore>,
    schema: Arc<Schema>,
    loading: bulk::Loading,
    /// By whom this writer was fenced, once it was: what a client is told when the queue is closed.
    fenced: Arc<OnceLock<String>>,
}

impl Writer {
    /// The schema that transactions are parsed with; a changed one comes with a restart of the writer.
    pub fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }

    /// Where bulk requests are spooled.
    pub fn spool_dir(&self) -> &PathBuf {
        self.loading.room.directory()
    }

    /// Begins a bulk request for rows of `table`; `digested` when it has an idempotency key, which stands for its rows.
    pub fn spooler(&self, table: Arc<TableSchema>, digested: bool) -> Spooler {
        Spooler::new(table, self.loading.clone(), digested)
    }

    /// Commits a transaction, perhaps together with others; returns once the commit is durable.
    ///
    /// # Errors
    /// [`WriteError::Overloaded`] at once when the queue is full; the others say what became of the transaction.
    pub async fn submit(&self, transaction: Transaction) -> Result<CommitAnswer, WriteError> {
        self.enqueue(Work::Transaction(Box::new(transaction))).await
    }

    /// Commits the rows of a bulk request as one commit of their own; returns once the commit is durable in Lance and the
    /// log. This node's own graph may follow later (`docs/decisions/0007-bulk-commits-run-ahead-of-the-writers-graph.md`).
    ///
    /// # Errors
    /// As [`Writer::submit`].
    pub async fn submit_bulk(&self, load: BulkLoad) -> Result<CommitAnswer, WriteError> {
        self.enqueue(Work::Bulk(load)).await
    }

    /// As [`Writer::submit_bulk`], but waits for room in the queue: back-pressure for a client that sends chunk after chunk.
    ///
    /// # Errors
    /// What became of the rows.
    pub async fn submit_bulk_when_free(&self, load: BulkLoad) -> Result<CommitAnswer, WriteError> {
        let place = tokio::select! {
            place = self.places.acquire() => place,
            () = self.queue.closed() => return Err(self.stopped()),
        };
        let place = place.map_err(|_| self.stopped())?;
        self.hand_over(Work::Bulk(load), place).await
    }

    /// Why nothing is taken any more. Nothing of what was handed over now was begun.
    fn stopped(&self) -> WriteError {
        match self.fenced.get() {
            Some(detail) => WriteError::Fenced {
                detail: detail.clone(),
            },
            None => WriteError::NotCommitted {
                detail: "the writer stopped".to_owned(),
            },
        }
    }

    async fn enqueue(&self, work: Work) -> Result<CommitAnswer, WriteError> {
        let place = self.places.try_acquire().map_err(|_| self.not_taken())?;
        self.hand_over(work, place).await
    }

    /// The place is given back by the session.
    async fn hand_over(&self, work: Work, place: SemaphorePermit<'_>) -> Result<CommitAnswer, WriteError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.try_send(Job { work, answer });
        sent.map_err(|_| self.not_taken())?;
        place.forget();
        answered.await.unwrap_or(Err(WriteError::Unknown))
    }

    fn not_taken(&self) -> WriteError {
        if self.queue.is_closed() {
            self.stopped()
        } else {
            WriteError::Overloaded {
                queued: self.queue.max_capacity(),
            }
        }
    }
}

/// A writer that has taken over and is ready to run.
pub struct RunningWriter {
    pub writer: Writer,
    session: session::Session,
    jobs: mpsc::Receiver<Job>,
    /// Indexes that the resource wants, by table.
    indexes: Vec<(String, IndexWish)>,
    /// `None`: the tables are left as they are.
    optimizing: Option<optimizing::Optimizing>,
    readers: reader_bell::ReaderBell,
}

impl RunningWriter {
    /// From now on the event of every commit is handed to `publisher`, the head's at once.
    pub fn publish_to(&mut self, publisher: Publisher) {
        self.session.publisher = Some(publisher);
        self.session.publish(&self.session.head);
    }

    /// From now on whoever rings `wake` makes the writer look at once whether its state is the newest.
    pub fn look_when_rung(&mut self, wake: Arc<Notify>) {
        self.readers = reader_bell::ReaderBell::new(wake);
    }

    /// From now on the tables are optimized as `config` says, which may change at any time.
    pub fn optimize_by(&mut self, config: tokio::sync::watch::Receiver<crds::Optimizer>) {
        self.optimizing = Some(optimizing::Optimizing::new(
            config,
            self.session.settings.optimizer,
            self.indexes.clone(),
            self.session.advancer.progress.clone(),
            self.session.head.seq,
        ));
    }

    /// Takes jobs until `shutdown`, then finishes the one at hand and refuses the rest.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] when a newer writer took over: the process exits non-zero.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), CommitError> {
        self.session
            .run(&mut self.jobs, self.optimizing, self.readers, shutdown)
            .await
    }
}
