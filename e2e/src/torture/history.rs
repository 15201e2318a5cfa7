//! What clients saw: every request with the times of its invocation and completion, and its answer.
//!
//! ```text
//! clients ─> Recorder ─> History (writes, reads) ─┐
//!                        log, as nodes list it  ──┴─> checker
//! ```
//!
//! Times are microseconds of one monotonic clock in one process, so they order operations of different clients. A write whose
//! answer never came, or says that nobody knows, stays open: it may take effect at any time after its invocation, once, or never.
//!
//! Owns: the form of histories, recording, and keeping them as a file. Does not own: what is right (`checker`).

use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::checker::state::{State, Transaction};

/// Microseconds since the history began.
pub type At = u64;

/// A write, whose transaction stands in the log under its `id`.
#[derive(Debug, Clone, Serialize)]
pub struct WriteOp {
    /// Unique in the history; the value of every row it upserts, and its notes in the log (`w17`).
    pub id: i64,
    pub session: usize,
    pub invoked: At,
    /// When the last answer came; `None` while the outcome is open.
    pub completed: Option<At>,
    pub transaction: Transaction,
    pub outcome: WriteOutcome,
}

/// What became of a write, as its client knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum WriteOutcome {
    Committed {
        seq: u64,
        tx_id: String,
    },
    /// The node promised that nothing was changed.
    Refused {
        problem: String,
    },
    /// No answer, or one that leaves it open.
    Unknown,
}

/// A read that was answered.
#[derive(Debug, Clone, Serialize)]
pub struct ReadOp {
    pub session: usize,
    pub node: String,
    pub invoked: At,
    pub completed: At,
    pub floor: Floor,
    /// The registers that were asked for; `None` for all.
    pub names: Option<Vec<String>>,
    /// The commit that the answer names.
    pub seq: u64,
    pub tx_id: String,
    pub seen: State,
}

/// What a read demanded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Floor {
    Nothing,
    /// A commit that somebody saw; `own` when it is the newest that this session saw.
    MinTx {
        tx_id: String,
        own: bool,
    },
    MaxStaleness {
        ms: u64,
    },
    Strong,
}

/// One entry of the log, as far as the checker needs it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogEntry {
    pub seq: u64,
    pub tx_id: String,
    pub prev_tx_id: String,
    pub epoch: u64,
    pub kind: String,
    pub notes: Option<String>,
}

/// A finished history.
#[derive(Debug, Clone, Default, Serialize)]
pub struct History {
    /// In the order of their completion.
    pub writes: Vec<WriteOp>,
    pub reads: Vec<ReadOp>,
    /// Reads that got no answer or a refusal: a floor that was not reached, a node that was away.
    pub unanswered_reads: u64,
    /// The whole log, read after the last operation.
    pub log: Vec<LogEntry>,
}

impl History {
    /// Keeps it for people: one JSON document per line, log first, then writes, then reads.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for entry in &self.log {
            line(&mut file, entry)?;
        }
        for write in &self.writes {
            line(&mut file, write)?;
        }
        for read in &self.reads {
            line(&mut file, read)?;
        }
        file.flush()
    }
}

fn line(file: &mut impl std::io::Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")
}

/// Collects what clients of one process see.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    history: Mutex<History>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            history: Mutex::new(History::default()),
        }
    }
}

impl Recorder {
    /// Now, for an invocation or a completion.
    pub fn now(&self) -> At {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(At::MAX)
    }

    /// Adds a write whose client waits no longer.
    pub fn write(&self, write: WriteOp) {
        self.change(|history| history.writes.push(write));
    }

    /// Adds an answered read.
    pub fn read(&self, read: ReadOp) {
        self.change(|history| history.reads.push(read));
    }

    /// Counts a read without an answer.
    pub fn unanswered(&self) {
        self.change(|history| history.unanswered_reads += 1);
    }

    /// Everything so far, with the log.
    pub fn finish(&self, log: Vec<LogEntry>) -> History {
        let mut history = History::default();
        self.change(|recorded| history = std::mem::take(recorded));
        history.log = log;
        history
    }

    fn change(&self, change: impl FnOnce(&mut History)) {
        change(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
