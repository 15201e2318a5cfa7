//! The pause of a snapshot: checkpoint, then a private copy of the database file. Nothing is applied meanwhile, as this runs
//! between two passes of the replica; queries wait only while the checkpoint runs.
//!
//! Crash behaviour: the copy lies in a graph directory that `CURRENT` does not name, so the next start removes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::SnapshotError;
use crate::graph::{DATABASE_FILE, Graph, GraphError, Watermark};
use crate::replica::Advancer;

/// A copy of the graph that nobody changes; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Frozen {
    directory: PathBuf,
    pub(super) watermark: Watermark,
    /// When applying stopped for it.
    pub(super) taken_at: DateTime<Utc>,
    pub(super) since: Instant,
}

impl Frozen {
    /// The copied file.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(DATABASE_FILE)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "failed to remove the copy of a snapshot");
        }
    }
}

/// Checkpoints and copies; the caller applies nothing meanwhile. Where a query runs: `None`, to be tried again, or, when
/// `overdue`, waits for its end.
///
/// # Errors
/// After a failed checkpoint the local graph is discarded: it is in doubt. A failed copy leaves it as it is.
pub(super) async fn freeze(advancer: &Advancer, overdue: bool) -> Result<Option<Frozen>, SnapshotError> {
    let Some(graph) = advancer.local.writable() else {
        return Err(SnapshotError::Internal {
            doing: "take a snapshot",
            detail: "this node has no graph that is beyond doubt".to_owned(),
        });
    };
    let (since, taken_at) = (Instant::now(), advancer.progress.clock().now());
    if !checkpoint(advancer, graph.clone(), overdue).await? {
        return Ok(None);
    }
    fail::fail_point!("snapshot::after_checkpoint", |_| Err(SnapshotError::Crashed(
        "snapshot::after_checkpoint"
    )));
    let directory = advancer.local.fresh_directory()?;
    let copied =
        super::parts::blocking("copy the graph", move || copy(&graph, directory, taken_at, since)).await;
    metrics::histogram!("slipstream_snapshot_pause_duration_seconds").record(since.elapsed().as_secs_f64());
    let frozen = copied?;
    fail::fail_point!("snapshot::after_copy", |_| Err(SnapshotError::Crashed(
        "snapshot::after_copy"
    )));
    Ok(Some(frozen))
}

async fn checkpoint(advancer: &Advancer, graph: Arc<Graph>, overdue: bool) -> Result<bool, SnapshotError> {
    let checkpointed = super::parts::blocking("checkpoint", move || Ok(graph.checkpoint(overdue)?)).await;
    if checkpointed.is_err() {
        advancer.local.discard();
    }
    checkpointed
}

fn copy(
    graph: &Graph,
    directory: PathBuf,
    taken_at: DateTime<Utc>,
    since: Instant,
) -> Result<Frozen, SnapshotError> {
    let watermark = graph.watermark()?.ok_or_else(|| GraphError::Engine {
        doing: "read the watermark".to_owned(),
        detail: "the graph has none".to_owned(),
    })?;
    // Owned by the copy from here on, so that it goes when copying fails.
    let frozen = Frozen {
        directory,
        watermark,
        taken_at,
        since,
    };
    graph.copy_file(&frozen.file())?;
    Ok(frozen)
}
