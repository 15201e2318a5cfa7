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

pub use advance::{AdvanceError, Advancer};
pub use doorbell::{Doorbell, FileWatch, PollInterval, Wake};
pub use feed::feed;
pub use lease::{Lease, LeaseKeeper};

use crate::commit_log::{CommitRecord, LogError};
use crate::graph::Watermark;
use crate::ids::Seq;
use crate::node::NodeState;
use crate::store::Store;

/// How often the end of the log is checked for a missing commit.
const DENSE_CHECK: Duration = Duration::from_secs(30);
/// Waits between failed attempts: first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

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

    /// Follows until `shutdown`; never gives up.
    pub async fn run(mut self, mut doorbells: Vec<Box<dyn Doorbell>>, shutdown: CancellationToken) {
        let mut back_off = BACK_OFF.0;
        while !shutdown.is_cancelled() {
            let wait = match self.run_once().await {
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
                    tokio::select! { _ = select_all(rings) => {}, () = shutdown.cancelled() => {} }
                }
            }
        }
        if let Err(error) = self.lease.release(self.store.as_ref()).await {
            tracing::warn!(%error, "failed to release the lease");
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
        let records = self
            .advancer
            .log
            .read_after(watermark.position.seq, self.coalesce)
            .await?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            self.check_dense(watermark.position.seq).await?;
            self.advancer.progress.set_state(NodeState::Following);
            self.advancer.progress.confirmed(watermark.position.seq, asked_at);
            self.renew_lease().await;
            return Ok(false);
        };
        self.advancer.progress.saw_head(last.position(), first.timestamp);
        let target = self.advancer.watermark_of(last, Some(&watermark)).await?;
        self.advance(Some(&watermark), target, changed_rows(&records))
            .await?;
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
        self.advance(None, target, u64::MAX).await?;
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
            Err(
                error @ AdvanceError::Graph(crate::graph::GraphError::Lake(
                    crate::lake::LakeError::VersionMissing { .. },
                )),
            ) => match self.advancer.log.head(target.position.seq).await? {
                Some(head) if head.seq > target.position.seq => {
                    let target = self.advancer.watermark_of(&head, None).await?;
                    self.advancer.rebuild(&target).await?;
                    self.watermark = Some(target);
                    Ok(())
                }
                _ => Err(error),
            },
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

/// Rows that a range of commits changed, by their own account.
pub fn changed_rows(records: &[CommitRecord]) -> u64 {
    records
        .iter()
        .flat_map(|record| &record.changed)
        .map(|change| change.upserted + change.deleted)
        .sum()
}
