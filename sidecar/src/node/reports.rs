//! What the background work of this node did last, for `/v1/status` and so for the resource's status.
//!
//! Owns: the shapes and the shared place to put them. Does not own: the work (`snapshot`, `optimizer`, `scrub`, `role`) and
//! the metrics, which each stage records itself.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{Seq, TxId};

/// The newest complete snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastSnapshot {
    pub seq: Seq,
    pub tx_id: TxId,
    /// When its meta data was stored.
    pub timestamp: DateTime<Utc>,
    /// Of all parts as stored, compressed.
    pub bytes: u64,
    /// From the pause of applying to the stored meta data; 0 where another node took it.
    pub duration_ms: u64,
}

/// Snapshots as this node sees them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotReport {
    pub last: Option<LastSnapshot>,
    /// When the schedule asks for the next one.
    pub next_due: Option<DateTime<Utc>>,
    /// Complete ones in the store.
    pub retained: u64,
    /// Whether this node takes one now.
    pub running: bool,
    /// Why the last attempt of this node failed; none after one that did not.
    pub error: Option<String>,
}

/// The newest run that made an `optimize` commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastOptimize {
    pub seq: Seq,
    pub tx_id: TxId,
    pub timestamp: DateTime<Utc>,
    /// Tables and what was done to them, in words.
    pub what: String,
    /// Why it ran, in words: the cadence, or what the statistics said.
    pub why: String,
    pub duration_ms: u64,
}

/// The optimizer; on the writer only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OptimizeReport {
    pub last: Option<LastOptimize>,
    pub next_due: Option<DateTime<Utc>>,
    /// What it is doing now; none between runs.
    pub running: Option<String>,
    /// Removed by cleaning since this process started.
    pub freed_bytes: u64,
    /// Commit records removed since this process started.
    pub trimmed_commits: u64,
    /// Runs that ended since this process started, whether they had something to do or not.
    pub runs: u64,
    pub error: Option<String>,
}

/// Outcome of one scrub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastScrub {
    /// The commit at which Lance and Kuzu were compared.
    pub seq: Seq,
    pub tx_id: TxId,
    pub timestamp: DateTime<Utc>,
    pub ok: bool,
    /// Rows compared.
    pub rows: u64,
    pub duration_ms: u64,
    /// What differed; none when nothing did.
    pub difference: Option<String>,
}

/// Scrubs of this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScrubReport {
    pub last: Option<LastScrub>,
    pub next_due: Option<DateTime<Utc>>,
    pub running: bool,
    pub error: Option<String>,
}

/// The config file as this process follows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SettingsReport {
    /// `generation` of the config that holds.
    pub generation: i64,
    /// Why the file as it is now is not used; none when it is.
    pub error: Option<String>,
    /// Settings that changed and that a running process cannot take up, each with when it will be.
    #[serde(default)]
    pub pending: Vec<String>,
}

/// Everything above.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportsView {
    pub snapshots: SnapshotReport,
    pub optimizer: OptimizeReport,
    pub scrub: ScrubReport,
    pub settings: SettingsReport,
}

/// The shared reports of one node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reports(Arc<Mutex<ReportsView>>);

impl Reports {
    /// All of them as they are now.
    pub fn view(&self) -> ReportsView {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes them; `change` must not block.
    pub fn update(&self, change: impl FnOnce(&mut ReportsView)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
