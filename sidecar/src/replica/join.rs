//! Where a replica cannot go on from its local graph: it finds that out, and joins the log anew.
//!
//! Flow: the found graph is of another log, or commits after it are gone -> the head -> the newest usable snapshot, or else a build
//! from the head's record alone.
//!
//! Owns: these checks, and the choice between snapshot and build. Does not own: restoring a snapshot (`snapshot::bootstrap`), the
//! build (`advance`), and a delta whose Lance versions were cleaned: only applying it tells (`Replica::advance`).

use std::time::{Duration, Instant};

use tracing::Instrument;

use super::range::apply_span;
use super::{AdvanceError, Replica};
use crate::commit_log::{CommitRecord, LogError};
use crate::ids::Seq;
use crate::snapshot::bootstrap;

/// How often the end of the log is checked for a missing commit.
const DENSE_CHECK: Duration = Duration::from_secs(30);

impl Replica {
    /// The first pass of a process: is the graph that was found here a commit of this log?
    pub(super) async fn verify_start(&mut self) -> Result<(), AdvanceError> {
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

    /// At the end of the log, now and then: is it the end, or is a commit missing? Then this node joins anew at the head.
    pub(super) async fn check_dense(&mut self, seq: Seq) -> Result<(), AdvanceError> {
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

    /// Joins the log anew: at a snapshot of a commit after `newer_than`, or else at the head, from a single record, without
    /// the ones before it.
    pub(super) async fn join(&mut self, newer_than: Seq) -> Result<bool, AdvanceError> {
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

    /// Restores the newest usable snapshot of a commit after `newer_than`; `false` when there is none.
    pub(super) async fn restore(
        &mut self,
        head: &CommitRecord,
        newer_than: Seq,
    ) -> Result<bool, AdvanceError> {
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
}
