//! A replica follows the commit log and keeps its graph at the newest commit.
//!
//! Flow: a [`Doorbell`] rings -> read records after the watermark (dense) -> coalesce to the newest -> [`advance`] the graph
//! -> renew the [`lease`]. Level-triggered: after any error the position is derived again from the local graph.
//!
//! Owns: following, its back-off, the lease. Does not own: what is in a commit, HTTP.

mod advance;
mod doorbell;
mod feed;
mod lease;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::select_all;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use advance::{AdvanceError, Advancer};
pub use doorbell::{Doorbell, FileWatch, PollInterval, Wake};
pub use feed::feed;
pub use lease::{Lease, LeaseKeeper};

use crate::commit_log::{CommitKind, CommitRecord, LogError};
use crate::graph::{GraphError, Urgency, Watermark};
use crate::ids::Seq;
use crate::lake::LakeError;
use crate::node::NodeState;
use crate::snapshot::{SnapshotError, SnapshotLimits, SnapshotMeta, Snapshotter, bootstrap};
use crate::store::Store;

/// How often the end of the log is checked for a missing commit.
const DENSE_CHECK: Duration = Duration::from_secs(30);
/// Waits between failed attempts: first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Between two looks of a node that has no graph yet.
const WITHOUT_GRAPH: Duration = Duration::from_secs(1);

/// How long a pass may go on after shutdown was asked for, and how long giving the lease up may take.
const LEAVING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// A replica that follows the log.
pub struct Replica {
    advancer: Advancer,
    store: Arc<dyn Store>,
    lease: LeaseKeeper,
    watermark: Option<Watermark>,
    /// Commits applied as one range at most.
    coalesce: usize,
    checkpoint_commits: u64,
    since_checkpoint: u64,
    dense_checked_at: Instant,
    limits: SnapshotLimits,
    snapshots: Option<Snapshotter>,
}

impl Replica {
    /// A replica whose local graph, if it has one, is at `watermark`.
    pub fn new(
        advancer: Advancer,
        store: Arc<dyn Store>,
        lease: LeaseKeeper,
        watermark: Option<Watermark>,
        coalesce: usize,
        checkpoint_commits: u64,
    ) -> Self {
        Self {
            advancer,
            store,
            lease,
            watermark,
            coalesce,
            checkpoint_commits,
            since_checkpoint: 0,
            dense_checked_at: Instant::now(),
            limits: SnapshotLimits::default(),
            snapshots: None,
        }
    }

    /// The same replica, which also takes snapshots.
    pub fn with_snapshots(mut self, snapshots: Snapshotter, limits: SnapshotLimits) -> Self {
        self.snapshots = Some(snapshots);
        self.limits = limits;
        self
    }

    /// One look at whether a snapshot is due, and all that comes of it: the snapshot that was taken, if one was.
    pub async fn take_due_snapshot(&mut self) -> Result<Option<SnapshotMeta>, SnapshotError> {
        match &mut self.snapshots {
            Some(snapshots) => snapshots.run_once(&self.advancer).await,
            None => Ok(None),
        }
    }

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

    /// One pass: applies what follows the watermark, at most one range. Tells whether there was anything.
    pub async fn run_once(&mut self) -> Result<bool, AdvanceError> {
        let asked_at = self.advancer.progress.clock().now();
        self.verify_start().await?;
        if self.advancer.local.current().is_none() {
            self.watermark = None;
        }
        let Some(watermark) = self.watermark.clone() else {
            return Box::pin(self.join(Seq(0))).await;
        };
        fail::fail_point!("replica::before_read", |_| Err(AdvanceError::Crashed(
            "replica::before_read"
        )));
        let reading = self
            .advancer
            .log
            .read_after(watermark.position.seq, self.coalesce);
        let records = self.advancer.progress.asking_store(reading).await?;
        // Only afterwards does it prove that nothing of what was read, or not found, was trimmed.
        let own = self.advancer.log.read(watermark.position.seq);
        match self.advancer.progress.asking_store(own).await {
            Ok(Some(own)) if own.tx_id == watermark.position.tx_id => {
                // The commit of the schema in force is never trimmed: it proves nothing about what followed it.
                if own.kind == CommitKind::Schema
                    && let Err(error @ LogError::Gap { .. }) =
                        self.advancer.log.check_dense_after(own.seq).await
                {
                    tracing::warn!(%error, "what followed the own commit is gone, joining anew");
                    return Box::pin(self.join(own.seq)).await;
                }
            }
            // Somebody wrote it, and nobody trimmed it.
            Err(LogError::Damaged { .. }) => {}
            Ok(found) => {
                // The log is trimmed from its beginning: what follows the watermark may be gone too.
                tracing::warn!(seq = %watermark.position.seq, "the own commit is not in the log any more, joining anew");
                let newer_than = found.map_or(watermark.position.seq, |_| Seq(0));
                return Box::pin(self.join(newer_than)).await;
            }
            Err(error) => return Err(error.into()),
        }
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            self.check_dense(watermark.position.seq).await?;
            self.advancer.progress.set_state(NodeState::Following);
            self.advancer.progress.confirmed(watermark.position.seq, asked_at);
            self.renew_lease().await;
            return Ok(false);
        };
        fail::fail_point!("replica::after_read", |_| Err(AdvanceError::Crashed(
            "replica::after_read"
        )));
        self.advancer.progress.saw_head(last.position(), first.timestamp);
        let target = self.advancer.watermark_of(last, Some(&watermark)).await?;
        let span = apply_span(&records);
        self.advance(Some(&watermark), target, changed_rows(&records))
            .instrument(span)
            .await?;
        if records.len() < self.coalesce {
            // The log was read to its end, even if commits keep coming and no read is ever empty.
            self.advancer.progress.confirmed(last.seq, asked_at);
        }
        self.since_checkpoint += checkpoint_count(records.len() as u64, changed_rows(&records));
        self.checkpoint().await?;
        Ok(true)
    }

    /// At the end of the log, now and then: is it the end, or is a commit missing? Then this node joins anew at the head.
    async fn check_dense(&mut self, seq: Seq) -> Result<(), AdvanceError> {
        if self.dense_checked_at.elapsed() < DENSE_CHECK {
            return Ok(());
        }
        self.dense_checked_at = Instant::now();
        match self.advancer.log.check_dense_after(seq).await {
            Err(error @ LogError::Gap { .. }) => {
                tracing::error!(%error, "joining anew at the head");
                Box::pin(self.join(seq)).await.map(drop)
            }
            other => Ok(other?),
        }
    }

    /// The first pass of a process: is the graph that was found here a commit of this log?
    async fn verify_start(&mut self) -> Result<(), AdvanceError> {
        let Some(found) = self.watermark.clone() else {
            return Ok(());
        };
        if self.advancer.progress.view().watermark.is_some() {
            return Ok(());
        }
        if self.advancer.is_ours(&found).await? {
            self.advancer
                .progress
                .applied(found.position, found.timestamp, found.epoch);
        } else {
            tracing::warn!(seq = %found.position.seq, "the local graph is not of this log, rebuilding");
            self.advancer.local.discard();
            self.watermark = None;
        }
        Ok(())
    }

    /// Joins the log anew: at a snapshot of a commit after `newer_than`, or else at the head, from a single record, without
    /// the ones before it.
    async fn join(&mut self, newer_than: Seq) -> Result<bool, AdvanceError> {
        let Some(head) = self.advancer.log.head(Seq(0)).await? else {
            return Ok(false);
        };
        self.advancer.progress.saw_head(head.position(), head.timestamp);
        if self.restore(&head, newer_than).await? {
            return Ok(true);
        }
        let target = self.advancer.watermark_of(&head, None).await?;
        let span = apply_span(std::slice::from_ref(&head));
        self.advance(None, target, u64::MAX).instrument(span).await?;
        Ok(true)
    }

    async fn advance(
        &mut self,
        from: Option<&Watermark>,
        target: Watermark,
        rows: u64,
    ) -> Result<(), AdvanceError> {
        // Boxed, as are the other long ways from here: without optimization each level's future is copied on the stack.
        let advancing = Box::pin(self.advancer.advance(from, &target, rows));
        // Where a graph is built anew, the one before it is served meanwhile.
        let (store, held) = (self.store.as_ref(), from.or(self.watermark.as_ref()));
        match self.lease.while_reading(store, held, &target, advancing).await {
            Ok(()) => {
                tracing::debug!(seq = %target.position.seq, "applied");
                self.watermark = Some(target);
                self.renew_lease().await;
                Ok(())
            }
            // A version that the range starts or ends at was cleaned: join anew at the head.
            Err(
                error @ (AdvanceError::Lake(LakeError::VersionMissing { .. })
                | AdvanceError::Graph(GraphError::Lake(LakeError::VersionMissing { .. }))),
            ) => {
                let Some(head) = self.advancer.log.head(target.position.seq).await? else {
                    return Err(error);
                };
                tracing::warn!(%error, head = %head.seq, "what this node needs was cleaned, joining anew");
                let newer_than = from.map_or(Seq(0), |from| from.position.seq);
                if self.restore(&head, newer_than).await? {
                    return Ok(());
                }
                let target = self.advancer.watermark_of(&head, None).await?;
                let rebuilding = Box::pin(self.advancer.rebuild(&target));
                let store = self.store.as_ref();
                self.lease.while_reading(store, from, &target, rebuilding).await?;
                self.watermark = Some(target);
                self.renew_lease().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Restores the newest usable snapshot of a commit after `newer_than`; `false` when there is none.
    async fn restore(&mut self, head: &CommitRecord, newer_than: Seq) -> Result<bool, AdvanceError> {
        let restored = Box::pin(bootstrap(
            &self.advancer,
            &self.store,
            head,
            newer_than,
            &self.limits,
        ))
        .await?;
        let is_restored = restored.is_some();
        if is_restored {
            self.watermark = restored;
            self.renew_lease().await;
        }
        Ok(is_restored)
    }

    /// A lease that cannot be renewed costs a rebuild at worst, so following goes on.
    async fn renew_lease(&mut self) {
        let Some(watermark) = &self.watermark else { return };
        if let Err(error) = self.lease.renew(self.store.as_ref(), watermark).await {
            tracing::warn!(%error, "failed to renew the lease");
        }
    }

    async fn checkpoint(&mut self) -> Result<(), AdvanceError> {
        if self.since_checkpoint < self.checkpoint_commits {
            return Ok(());
        }
        let since = std::mem::take(&mut self.since_checkpoint);
        fail::fail_point!("replica::before_checkpoint", |_| Err(AdvanceError::Crashed(
            "replica::before_checkpoint"
        )));
        if !checkpoint(&self.advancer, since, self.checkpoint_commits).await? {
            self.since_checkpoint = since;
            return Ok(());
        }
        fail::fail_point!("replica::after_checkpoint", |_| Err(AdvanceError::Crashed(
            "replica::after_checkpoint"
        )));
        Ok(())
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

/// A checkpoint that queries put off for this many times its cadence waits for them, a little; for this many, it ends them, if
/// the buffer pool is in danger by then.
const CHECKPOINT_OVERDUE: u64 = 2;
const CHECKPOINT_VITAL: u64 = 3;
/// So many changed rows count as a commit. Until a checkpoint the engine keeps the old content of every vector of 2048 values that
/// holds a changed one: some 50 KiB of the buffer pool for a row of three properties, wherever it lies (measured: a pool of 384 MiB was
/// full after 8,000 rows). Then statements fail, and the engine may end the process.
const ROWS_PER_COUNT: u64 = 4;
const POOL_BYTES_PER_COUNT: u64 = ROWS_PER_COUNT * (50 << 10);
/// Of the buffer pool, what old content may take; queries and applies need the rest.
const POOL_SHARE: u64 = 2;
/// One load alone does not make a checkpoint overdue.
const MOST_PER_APPLY: u64 = 500;

/// By how much `commits` that changed `rows` bring the next checkpoint nearer.
pub(crate) fn checkpoint_count(commits: u64, rows: u64) -> u64 {
    commits.max((rows / ROWS_PER_COUNT).min(MOST_PER_APPLY))
}

/// How urgent a checkpoint is, `since` commits after the last one.
fn urgency(since: u64, cadence: u64, pool_bytes: u64) -> Urgency {
    let bearable = pool_bytes / POOL_SHARE / POOL_BYTES_PER_COUNT;
    if since >= bearable.max(cadence.saturating_mul(CHECKPOINT_VITAL)) {
        Urgency::Vital
    } else if since >= cadence.saturating_mul(CHECKPOINT_OVERDUE) {
        Urgency::Overdue
    } else {
        Urgency::Due
    }
}

/// Merges the local graph's write-ahead log, `since` commits after the last time; `false` when queries put it off, for which
/// commits wait two seconds at most. A failure puts the graph in doubt.
pub(crate) async fn checkpoint(advancer: &Advancer, since: u64, cadence: u64) -> Result<bool, AdvanceError> {
    let Some(graph) = advancer.local.current() else {
        return Ok(true);
    };
    let urgency = urgency(since, cadence, graph.buffer_pool_bytes());
    let done = tokio::task::spawn_blocking(move || graph.checkpoint_as(urgency)).await;
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            advancer.local.discard();
            Err(error.into())
        }
        Err(error) => Err(crate::graph::GraphError::Engine {
            doing: "checkpoint".to_owned(),
            detail: error.to_string(),
        }
        .into()),
    }
}

/// Traces that one apply may belong to.
const MAX_LINKS: usize = 32;

/// The span of applying a range: a part of the newest commit's trace, linked to those of the others.
fn apply_span(records: &[CommitRecord]) -> tracing::Span {
    let seq = |record: Option<&CommitRecord>| record.map_or(0, |record| record.seq.0);
    let span = tracing::info_span!(
        "apply",
        from_seq = seq(records.first()),
        seq = seq(records.last()),
        commits = records.len(),
        rows = changed_rows(records),
    );
    let mut traces = records
        .iter()
        .rev()
        .filter_map(|record| record.traceparent.as_deref());
    if let Some(newest) = traces.next() {
        telemetry::set_parent(&span, newest);
    }
    traces
        .take(MAX_LINKS)
        .for_each(|trace| telemetry::link(&span, trace));
    span
}

/// Rows that a range of commits changed, by their own account.
pub fn changed_rows(records: &[CommitRecord]) -> u64 {
    records
        .iter()
        .flat_map(|record| &record.changed)
        .map(|change| change.upserted + change.deleted)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_ends_queries_only_when_the_buffer_pool_is_in_danger() {
        const MIB: u64 = 1 << 20;
        for (since, cadence, pool_mib, expected) in [
            (500, 500, 512, Urgency::Due),
            (999, 500, 512, Urgency::Due),
            (1000, 500, 512, Urgency::Overdue),
            (1499, 500, 512, Urgency::Overdue),
            (1500, 500, 512, Urgency::Vital),
            // A large pool bears more, a small one no more often than before.
            (1500, 500, 4096, Urgency::Overdue),
            (10_485, 500, 4096, Urgency::Vital),
            (1499, 500, 64, Urgency::Overdue),
            (1500, 500, 64, Urgency::Vital),
            // A short cadence alone endangers nothing.
            (100, 2, 64, Urgency::Overdue),
            (163, 2, 64, Urgency::Vital),
            (u64::MAX - 1, u64::MAX, 64, Urgency::Due),
        ] {
            let found = urgency(since, cadence, pool_mib * MIB);
            assert_eq!(found, expected, "{since} of {cadence} in {pool_mib} MiB");
        }
    }
}
