//! How a node without a usable graph gets one: the newest usable snapshot, else the next older, else (the caller) a rebuild
//! from Lance. Both roles.
//!
//! ```text
//! meta data ─> same engine? newer than what is here? of this log, which still has what follows? same schema?
//!  ─> download, checked; versions there? ─> open ─> watermark as the meta data says ─> install
//! ```
//!
//! Guarantees: what is installed is exactly the snapshot's commit. Crash behaviour: the download lies in a graph directory that
//! `CURRENT` does not name until it is whole and synced.

use std::sync::Arc;
use std::time::Instant;

use super::catalog::{Catalog, FoundState};
use super::restore::download;
use super::{SnapshotError, SnapshotLimits, SnapshotMeta};
use crate::commit_log::{CommitRecord, LogError};
use crate::graph::{EngineVersion, Graph, GraphError, Watermark};
use crate::ids::Seq;
use crate::lake::LakeError;
use crate::node::NodeState;
use crate::replica::{AdvanceError, Advancer};
use crate::store::Store;

/// Restores the newest usable snapshot of a commit after `newer_than`, and makes it the node's graph. `None`: there is none,
/// and the graph is to be built from Lance.
///
/// # Errors
/// When the store or the local disk does not let it be known, to be tried again.
pub async fn bootstrap(
    advancer: &Advancer,
    store: &Arc<dyn Store>,
    head: &CommitRecord,
    newer_than: Seq,
    limits: &SnapshotLimits,
) -> Result<Option<Watermark>, AdvanceError> {
    let started = Instant::now();
    // A scrub found the graph that was here to differ from Lance; a snapshot of it may differ just so.
    if advancer.local.must_build() {
        return Ok(None);
    }
    let catalog = Catalog::read(&**store, &mut Default::default()).await?;
    for found in &catalog.found {
        let meta = match &found.state {
            FoundState::Whole(meta) => meta,
            FoundState::Damaged(why) => {
                skipped("damaged", why);
                continue;
            }
            FoundState::Foreign(why) => {
                skipped("unusable", why);
                continue;
            }
            FoundState::Unfinished(_) => continue,
        };
        // The rest is older still.
        if meta.seq <= newer_than {
            break;
        }
        let mut why = unlike(head, meta);
        if why.is_none() {
            why = gone_from_log(advancer, meta).await?;
        }
        if let Some(why) = why {
            skipped("unusable", &format!("snapshot {}: {why}", meta.tx_id));
            continue;
        }
        match restore(advancer, store, meta, limits, started).await {
            Ok(watermark) => return Ok(Some(watermark)),
            Err(error @ SnapshotError::Unusable { .. }) => skipped("unusable", &error.to_string()),
            Err(error) if error.blames_the_snapshot() => skipped("damaged", &error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn skipped(outcome: &'static str, why: &str) {
    tracing::warn!(why, "a snapshot is not used; trying an older one, then a rebuild");
    metrics::counter!("slipstream_restores_total", "outcome" => outcome).increment(1);
}

/// Why a whole snapshot does not help this node by what it says of itself, if it does not.
fn unlike(head: &CommitRecord, meta: &SnapshotMeta) -> Option<String> {
    let engine = EngineVersion::current();
    if meta.engine != engine {
        return Some(format!("it is of {}, this program has {engine}", meta.engine));
    }
    if meta.seq > head.seq {
        return Some(format!("its commit {} is not in the log", meta.seq));
    }
    (meta.schema_version != head.schema_version).then(|| {
        format!(
            "it has schema version {}, the head has {}",
            meta.schema_version, head.schema_version
        )
    })
}

/// Why what follows the snapshot cannot be read from the log, if it cannot.
async fn gone_from_log(advancer: &Advancer, meta: &SnapshotMeta) -> Result<Option<String>, AdvanceError> {
    let record = advancer.log.read(meta.seq).await?;
    if record.is_none_or(|record| record.tx_id != meta.tx_id || record.tables != meta.tables) {
        return Ok(Some(format!(
            "its commit {} is not in the log (any more)",
            meta.seq
        )));
    }
    match advancer.log.check_dense_after(meta.seq).await {
        Ok(()) => Ok(None),
        Err(error @ LogError::Gap { .. }) => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Whether the versions that the next delta begins at are there. The handles that this opens are those it will use.
async fn check_versions(advancer: &Advancer, meta: &SnapshotMeta) -> Result<(), SnapshotError> {
    for (table, version) in meta.tables.iter() {
        match advancer.lake.at(table, version).await {
            Ok(_) => {}
            Err(error @ LakeError::VersionMissing { .. }) => {
                return Err(SnapshotError::Unusable {
                    tx_id: meta.tx_id.to_string(),
                    detail: error.to_string(),
                });
            }
            Err(error) => return Err(GraphError::from(error).into()),
        }
    }
    Ok(())
}

async fn restore(
    advancer: &Advancer,
    store: &Arc<dyn Store>,
    meta: &SnapshotMeta,
    limits: &SnapshotLimits,
    started: Instant,
) -> Result<Watermark, SnapshotError> {
    advancer.progress.set_state(NodeState::Building);
    let directory = advancer.local.fresh_directory()?;
    let restored = async {
        tokio::try_join!(
            download(store, meta, &directory, limits),
            check_versions(advancer, meta)
        )?;
        fail::fail_point!("restore::before_open", |_| Err(SnapshotError::Crashed(
            "restore::before_open"
        )));
        open(advancer, meta, &directory).await
    };
    let (graph, watermark) = match restored.await {
        Ok(restored) => restored,
        Err(error) => {
            if !matches!(error, SnapshotError::Crashed(_)) {
                // Where it stays, the next start removes it.
                let _ = std::fs::remove_dir_all(&directory);
            }
            return Err(error);
        }
    };
    fail::fail_point!("restore::before_install", |_| Err(SnapshotError::Crashed(
        "restore::before_install"
    )));
    advancer.local.install(graph)?;
    advancer
        .progress
        .applied(watermark.position, watermark.timestamp, watermark.epoch);
    let (seconds, bytes) = (started.elapsed().as_secs_f64(), meta.file.size);
    metrics::histogram!("slipstream_restore_duration_seconds").record(seconds);
    metrics::counter!("slipstream_restores_total", "outcome" => "restored").increment(1);
    tracing::info!(seq = %meta.seq, tx_id = %meta.tx_id, bytes, seconds, "restored the graph from a snapshot");
    Ok(watermark)
}

/// Opens the downloaded graph and compares the commit that it holds with the one that the meta data names.
async fn open(
    advancer: &Advancer,
    meta: &SnapshotMeta,
    directory: &std::path::Path,
) -> Result<(Arc<Graph>, Watermark), SnapshotError> {
    let damaged = |detail: String| SnapshotError::Damaged {
        tx_id: meta.tx_id.to_string(),
        object: meta.file.name.clone(),
        detail,
    };
    let opened = advancer.local.open_fresh(directory).await;
    let (graph, watermark) = opened
        .map_err(|error| damaged(error.to_string()))?
        .ok_or_else(|| damaged("it holds no finished graph".to_owned()))?;
    if watermark.position != meta.position()
        || watermark.tables != meta.tables
        || watermark.schema_version != meta.schema_version
    {
        // Its files go with it.
        graph.retire();
        return Err(damaged(format!(
            "it holds commit {} ({}), expected {} ({})",
            watermark.position.seq, watermark.position.tx_id, meta.seq, meta.tx_id
        )));
    }
    Ok((graph, watermark))
}
