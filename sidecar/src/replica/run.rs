//! The loop around a replica's passes: a pass, what snapshots have to do between two of them, the wait for a doorbell.
//!
//! Crash behaviour: nothing of it outlives the process; a lease that was not released expires.
//!
//! Owns: the back-off after a failed pass, what a pass says about the store, and leaving. Does not own: a pass
//! ([`Replica::run_once`]), what rings (`doorbell`), when a snapshot is due (`snapshot`).

use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use tokio_util::sync::CancellationToken;

use super::{AdvanceError, Advancer, Doorbell, Replica};
use crate::commit_log::LogError;
use crate::graph::GraphError;
use crate::lake::LakeError;
use crate::node::NodeState;
use crate::snapshot::{SnapshotError, Snapshotter};

/// Waits between failed attempts: first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Between two looks of a node that has no graph yet.
const WITHOUT_GRAPH: Duration = Duration::from_secs(1);

/// How long a pass may go on after shutdown was asked for, and how long giving the lease up may take.
const LEAVING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

impl Replica {
    /// Follows until `shutdown`; never gives up. Then it releases its lease: what it pinned may be cleaned.
    pub async fn run(mut self, mut doorbells: Vec<Box<dyn Doorbell>>, shutdown: CancellationToken) {
        let mut back_off = BACK_OFF.0;
        while !shutdown.is_cancelled() {
            let pass = tokio::select! {
                pass = self.run_once() => pass,
                // Whatever it was building can be built again.
                () = overdue(&shutdown) => break,
            };
            self.note_store(&pass);
            if let Some(snapshots) = &mut self.snapshots {
                let checkpointed = tokio::select! {
                    checkpointed = snapshots.between_passes(&self.advancer) => checkpointed,
                    // A checkpoint may wait for a long query.
                    () = overdue(&shutdown) => break,
                };
                if checkpointed {
                    self.since_checkpoint = 0;
                }
            }
            let wait = match pass {
                // More may have come meanwhile: look again at once.
                Ok(true) => {
                    back_off = BACK_OFF.0;
                    continue;
                }
                Ok(false) => {
                    back_off = BACK_OFF.0;
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, retry_in = ?back_off, "cannot follow the log");
                    self.advancer
                        .progress
                        .set_state(NodeState::Degraded(error.to_string()));
                    metrics::counter!("slipstream_follow_errors_total").increment(1);
                    let wait = back_off;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                    Some(wait)
                }
            };
            match wait {
                Some(wait) => {
                    tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.cancelled() => {} }
                }
                None => {
                    let rings = doorbells.iter_mut().map(|doorbell| doorbell.rung().boxed());
                    let longest_wait = self.longest_wait();
                    tokio::select! {
                        _ = select_all(rings) => {}
                        () = tokio::time::sleep(longest_wait) => {}
                        () = snapshot_work(&mut self.snapshots, &self.advancer) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
        if let Some(snapshots) = self.snapshots.take() {
            snapshots.leave().await;
        }
        match tokio::time::timeout(LEAVING.1, self.lease.release(self.store.as_ref())).await {
            Ok(Ok(())) => tracing::info!("left: the lease is released"),
            Ok(Err(error)) => tracing::warn!(%error, "failed to release the lease; it expires"),
            Err(_) => tracing::warn!("the lease was not released in time; it expires"),
        }
    }

    /// A pass also renews the lease and tells whether the store answers, and a node without a graph serves nobody: neither
    /// waits for a long poll interval.
    fn longest_wait(&self) -> Duration {
        if self.watermark.is_none() {
            WITHOUT_GRAPH
        } else {
            self.lease.renew_within()
        }
    }

    /// Every pass reads the log first, so its outcome tells whether the store answers.
    fn note_store(&self, pass: &Result<bool, AdvanceError>) {
        let progress = &self.advancer.progress;
        match pass {
            Ok(_) => progress.store_answered(),
            Err(
                AdvanceError::Log(LogError::Store(error))
                | AdvanceError::Snapshot(SnapshotError::Store(error)),
            ) => progress.store_failed(error),
            Err(AdvanceError::Lake(error) | AdvanceError::Graph(GraphError::Lake(error))) => {
                if matches!(error, LakeError::Storage { .. } | LakeError::Connection { .. }) {
                    progress.store_failed(error);
                }
            }
            Err(_) => {}
        }
    }
}

/// Returns when the process should have left.
async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(LEAVING.0).await;
}

/// Waits for what there is to do for snapshots; for ever where none are taken.
async fn snapshot_work(snapshots: &mut Option<Snapshotter>, advancer: &Advancer) {
    match snapshots {
        Some(snapshots) => snapshots.wake(advancer).await,
        None => std::future::pending().await,
    }
}
