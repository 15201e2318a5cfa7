//! A replica follows the commit log and keeps its graph at the newest commit.
//!
//! Flow: a [`Doorbell`] rings -> read records after the watermark (dense) -> coalesce to the newest -> [`advance`] the graph
//! -> renew the [`lease`]. Level-triggered: after any error the position is derived again from the local graph.
//!
//! Owns: one pass, and when the lease is renewed. Does not own: the loop around passes (`run`), checkpoints (`checkpoint`), the way back
//! onto a log that cannot be followed (`join`), what is in a commit, HTTP.

mod advance;
mod checkpoint;
mod doorbell;
mod feed;
mod join;
mod lease;
mod range;
mod run;

use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument;

pub use advance::{AdvanceError, Advancer};
pub(crate) use checkpoint::{checkpoint, checkpoint_count, renew_outgrown};
pub use doorbell::{Doorbell, FileWatch, PollInterval, Wake};
pub use feed::feed;
pub use lease::{Lease, LeaseKeeper};
use range::apply_span;
pub use range::changed_rows;

use crate::commit_log::{CommitKind, LogError};
use crate::graph::{GraphError, Watermark};
use crate::ids::Seq;
use crate::lake::LakeError;
use crate::node::NodeState;
use crate::snapshot::{SnapshotError, SnapshotLimits, SnapshotMeta, Snapshotter};
use crate::store::Store;

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

    /// A lease that cannot be renewed costs a rebuild at worst, so following goes on.
    async fn renew_lease(&mut self) {
        let Some(watermark) = &self.watermark else { return };
        if let Err(error) = self.lease.renew(self.store.as_ref(), watermark).await {
            tracing::warn!(%error, "failed to renew the lease");
        }
    }
}
