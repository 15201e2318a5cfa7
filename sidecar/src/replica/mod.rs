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

use crate::commit_log::{CommitRecord, LogError};
use crate::graph::{GraphError, Watermark};
use crate::ids::Seq;
use crate::lake::LakeError;
use crate::node::NodeState;
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
        }
    }

    /// Follows until `shutdown`; never gives up. Then it releases its lease: what it pinned may be cleaned.
    pub async fn run(mut self, mut doorbells: Vec<Box<dyn Doorbell>>, shutdown: CancellationToken) {
        let mut back_off = BACK_OFF.0;
        while !shutdown.is_cancelled() {
            let overdue = async {
                shutdown.cancelled().await;
                tokio::time::sleep(LEAVING.0).await;
            };
            let pass = tokio::select! {
                pass = self.run_once() => pass,
                // Whatever it was building can be built again.
                () = overdue => break,
            };
            self.note_store(&pass);
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
                    tokio::select! {
                        _ = select_all(rings) => {}
                        () = tokio::time::sleep(self.longest_wait()) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
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
            Err(AdvanceError::Log(LogError::Store(error))) => progress.store_failed(error),
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
            return self.join().await;
        };
        let reading = self
            .advancer
            .log
            .read_after(watermark.position.seq, self.coalesce);
        let records = self.advancer.progress.asking_store(reading).await?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            self.check_dense(watermark.position.seq).await?;
            self.advancer.progress.set_state(NodeState::Following);
            self.advancer.progress.confirmed(watermark.position.seq, asked_at);
            self.renew_lease().await;
            return Ok(false);
        };
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
        self.since_checkpoint += records.len() as u64;
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
                self.join().await.map(drop)
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

    /// Joins at the head of the log: from a single record, without the ones before it.
    async fn join(&mut self) -> Result<bool, AdvanceError> {
        let Some(head) = self.advancer.log.head(Seq(0)).await? else {
            return Ok(false);
        };
        self.advancer.progress.saw_head(head.position(), head.timestamp);
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
        match self.advancer.advance(from, &target, rows).await {
            Ok(()) => {
                tracing::debug!(seq = %target.position.seq, "applied");
                self.watermark = Some(target);
                self.renew_lease().await;
                Ok(())
            }
            // A version that the range starts or ends at was cleaned: join anew at the head.
            Err(error @ AdvanceError::Graph(GraphError::Lake(LakeError::VersionMissing { .. }))) => {
                match self.advancer.log.head(target.position.seq).await? {
                    Some(head) if head.seq > target.position.seq => {
                        let target = self.advancer.watermark_of(&head, None).await?;
                        self.advancer.rebuild(&target).await?;
                        self.watermark = Some(target);
                        Ok(())
                    }
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
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
        if !checkpoint(&self.advancer, since, self.checkpoint_commits).await? {
            self.since_checkpoint = since;
        }
        Ok(())
    }
}

/// A checkpoint that queries put off for this many times its cadence makes them wait.
const CHECKPOINT_OVERDUE: u64 = 10;

/// Merges the local graph's write-ahead log, `since` commits after the last time; `false` when queries put it off. A failure
/// puts the graph in doubt.
pub(crate) async fn checkpoint(advancer: &Advancer, since: u64, cadence: u64) -> Result<bool, AdvanceError> {
    let Some(graph) = advancer.local.current() else {
        return Ok(true);
    };
    let overdue = since >= cadence.saturating_mul(CHECKPOINT_OVERDUE);
    let done = tokio::task::spawn_blocking(move || graph.checkpoint(overdue)).await;
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
