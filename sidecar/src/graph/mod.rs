//! The local Kuzu graph: derived from Lance, disposable.
//!
//! Flow: `build` fills a fresh database from pinned Lance versions; `apply` brings it from one commit to a later one in one
//! transaction; `lookup` is the writer's primary-key index; `query` runs users' Cypher in read-only transactions.
//!
//! Owns: every Kuzu type, the database files, the watermark inside the database.
//! Does not own: which commit is the right one, nor who may write.
//!
//! Rules of the engine that hold everywhere here: one write transaction at a time; `COPY` only in `build`; after any error in
//! a write the database is dropped and built again; calls block, so they run on blocking threads.

mod apply;
mod apply_cypher;
mod build;
mod digest;
mod error;
mod gate;
mod lookup;
mod outgrown;
mod query;
mod spill;
mod statement;
mod value;
mod watermark;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod fixture;

use std::io::Seek as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kuzu::{Connection, Database, SystemConfig};

pub use apply::{ApplySession, ApplyStep, PreparedApply};
pub use build::{BuildReport, build};
pub use digest::{DigestError, GraphDigest, GraphTableDigest};
pub use error::GraphError;
pub use gate::Urgency;
pub use lookup::{FoundEdge, Lookup, LookupAnswer};
pub use query::{Cell, QueryColumn, QueryEvent, QueryHead, QueryRequest};
pub use watermark::Watermark;

use crate::schema::Schema;

/// Name of the database file in a graph's directory; the engine's other files begin with it.
pub const DATABASE_FILE: &str = "graph.kuzu";

/// Limits of the engine in this process; its own defaults are for a whole machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    pub buffer_pool_bytes: u64,
    /// Threads for one statement.
    pub threads: u64,
    /// Address space reserved for one database.
    pub max_database_bytes: u64,
    /// A smaller database file is never called outgrown ([`Graph::is_outgrown`]).
    pub outgrown_from_bytes: u64,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            buffer_pool_bytes: 512 << 20,
            threads: 2,
            max_database_bytes: 1 << 38,
            outgrown_from_bytes: 64 << 20,
        }
    }
}

/// Who writes database files, and in which form. A file is read only where both are the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EngineVersion {
    pub name: String,
    pub version: String,
    pub storage_version: u64,
}

impl EngineVersion {
    /// Of the engine in this program.
    pub fn current() -> Self {
        Self {
            name: "ladybug".to_owned(),
            version: kuzu::VERSION.to_owned(),
            storage_version: kuzu::get_storage_version(),
        }
    }
}

impl std::fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} (storage version {})",
            self.name, self.version, self.storage_version
        )
    }
}

/// An open database. Cheap to share; its files are removed when the last user of a retired one lets go.
pub struct Graph {
    // Declared first: dropped (closed) before the directory may be removed.
    database: Option<Database>,
    directory: PathBuf,
    schema: Arc<Schema>,
    /// Passed by queries, comparisons and checkpoints.
    gate: gate::Gate,
    limits: EngineLimits,
    retired: std::sync::atomic::AtomicBool,
    /// For copies. Closed no sooner than the database: with any descriptor of the file that a process closes, it loses the
    /// engine's lock on it (fcntl(2)).
    source: std::sync::Mutex<Option<std::fs::File>>,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Graph {
    /// Opens the database in `directory` (created when missing) without looking at its content. Blocks.
    fn open_database(
        directory: &Path,
        schema: Arc<Schema>,
        limits: EngineLimits,
    ) -> Result<Self, GraphError> {
        std::fs::create_dir_all(directory).map_err(|source| GraphError::Files {
            doing: "create",
            path: directory.to_owned(),
            source,
        })?;
        let config = SystemConfig::default()
            .buffer_pool_size(limits.buffer_pool_bytes)
            .max_num_threads(limits.threads)
            .max_db_size(limits.max_database_bytes)
            .auto_checkpoint(false)
            .throw_on_wal_replay_failure(true);
        let database = Database::new(directory.join(DATABASE_FILE), config)
            .map_err(GraphError::engine(format!("open {}", directory.display())))?;
        Ok(Self {
            database: Some(database),
            directory: directory.to_owned(),
            schema,
            gate: gate::Gate::default(),
            limits,
            retired: std::sync::atomic::AtomicBool::new(false),
            source: std::sync::Mutex::default(),
        })
    }

    /// Opens a database that an earlier process built, and reads its watermark; `None` when none was finished there. Blocks.
    ///
    /// # Errors
    /// [`GraphError::Engine`] when it cannot be opened or read: it is to be discarded.
    pub fn open(directory: &Path, limits: EngineLimits) -> Result<Option<(Self, Watermark)>, GraphError> {
        if !directory.join(DATABASE_FILE).exists() {
            return Ok(None);
        }
        let mut graph = Self::open_database(directory, Arc::new(Schema::empty()), limits)?;
        let Some(watermark) = graph.watermark()? else {
            return Ok(None);
        };
        graph.schema = Arc::new(watermark.schema()?);
        Ok(Some((graph, watermark)))
    }

    /// A new connection. Connections are not shared between threads.
    fn connect(&self) -> Result<Connection<'_>, GraphError> {
        match &self.database {
            Some(database) => Connection::new(database).map_err(GraphError::engine("connect")),
            None => Err(GraphError::Engine {
                doing: "connect".to_owned(),
                detail: "the database is closed".to_owned(),
            }),
        }
    }

    /// The schema of the commit that this graph holds.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Where the database's files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The commit that this graph holds. Blocks.
    pub fn watermark(&self) -> Result<Option<Watermark>, GraphError> {
        watermark::read(&self.connect()?)
    }

    /// [`Graph::checkpoint_as`] of one that is due, or overdue.
    pub fn checkpoint(&self, overdue: bool) -> Result<bool, GraphError> {
        self.checkpoint_as(if overdue { Urgency::Overdue } else { Urgency::Due })
    }

    /// Merges the write-ahead log into the database file, while no query runs. Where one does, it waits for the end of that one
    /// or brings it about, as `urgency` says, but two seconds at most: `false`, to be tried again. Not while an apply is open.
    /// Blocks.
    pub fn checkpoint_as(&self, urgency: Urgency) -> Result<bool, GraphError> {
        let Some(_alone) = self.gate.claim(urgency) else {
            return Ok(false);
        };
        let done = self.connect()?.query("CHECKPOINT").map(drop);
        done.map(|()| true).map_err(GraphError::engine("checkpoint"))
    }

    /// Size of the engine's buffer pool.
    pub fn buffer_pool_bytes(&self) -> u64 {
        self.limits.buffer_pool_bytes
    }

    /// Copies the database file to `to`, which must not exist. Right after a checkpoint, with nothing applied since, the file
    /// alone is the whole graph; queries may run meanwhile. Gives its bytes. Blocks.
    ///
    /// # Errors
    /// [`GraphError::Engine`] when the write-ahead log is not merged: the file alone would lack commits.
    pub fn copy_file(&self, to: &Path) -> Result<u64, GraphError> {
        let from = self.directory.join(DATABASE_FILE);
        for log in ["wal", "wal.checkpoint"] {
            let log = self.directory.join(format!("{DATABASE_FILE}.{log}"));
            let unmerged = std::fs::metadata(&log).map_or(0, |file| file.len());
            if unmerged > 0 {
                return Err(GraphError::Engine {
                    doing: "copy the database file".to_owned(),
                    detail: format!("{} still has {unmerged} bytes", log.display()),
                });
            }
        }
        let failed = |source| GraphError::Files {
            doing: "copy the database file to",
            path: to.to_owned(),
            source,
        };
        let mut source = self
            .source
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let source = match &mut *source {
            Some(source) => source,
            none => none.insert(std::fs::File::open(&from).map_err(failed)?),
        };
        let copied = source.seek(std::io::SeekFrom::Start(0)).and_then(|_| {
            // Shares blocks where the file system can, and copies inside the kernel where it cannot.
            std::io::copy(source, &mut std::fs::File::create_new(to)?)
        });
        copied.map_err(failed)
    }

    /// Bytes of the database's files, the write-ahead log among them.
    pub fn bytes_on_disk(&self) -> u64 {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return 0;
        };
        entries
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|file| file.len())
            .sum()
    }

    /// Marks the graph as replaced: its files go when its last reader is done.
    pub fn retire(&self) {
        self.retired.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        drop(self.database.take());
        if self.retired.load(std::sync::atomic::Ordering::Relaxed)
            && let Err(error) = std::fs::remove_dir_all(&self.directory)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "failed to remove a retired graph");
        }
    }
}
