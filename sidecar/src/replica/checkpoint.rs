//! The local graph's checkpoints between passes: when one is due, how urgent it is, and the attempt, which queries may put off. And
//! after one, a graph whose file has outgrown its content is built anew.
//!
//! Crash behaviour: a checkpoint changes no row, and a process that dies in one opens the graph at the same commit
//! (`graph::contract::crash`).
//!
//! Owns: these; the writer counts and attempts in the same way (`writer::own_graph`). Does not own: who gives way (`graph::gate`), the one
//! that a snapshot makes (`snapshot::freeze`).

use super::{AdvanceError, Advancer, Replica};
use crate::graph::{Urgency, Watermark};
use crate::node::NodeState;

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

impl Replica {
    pub(super) async fn checkpoint(&mut self) -> Result<(), AdvanceError> {
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
        self.renew_outgrown().await
    }

    /// Builds the graph of the same commit anew where its file has become too large; the one before is served meanwhile.
    async fn renew_outgrown(&mut self) -> Result<(), AdvanceError> {
        let Some(watermark) = self.watermark.clone() else {
            return Ok(());
        };
        let renewing = Box::pin(renew_outgrown(&self.advancer, &watermark));
        let (store, held) = (self.store.as_ref(), Some(&watermark));
        self.lease.while_reading(store, held, &watermark, renewing).await
    }
}

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

/// Builds the local graph anew, at the commit `held` that it holds, if its file is much larger than its content. Where that
/// fails the graph stays as it is, until the next checkpoint.
///
/// # Errors
/// A crash point of a test.
pub(crate) async fn renew_outgrown(advancer: &Advancer, held: &Watermark) -> Result<(), AdvanceError> {
    let Some(graph) = advancer.local.writable() else {
        return Ok(());
    };
    let looked = tokio::task::spawn_blocking(move || {
        let is_outgrown = graph.is_outgrown().map_err(|error| error.to_string())?;
        Ok(is_outgrown.then(|| graph.bytes_on_disk()))
    });
    let before = match looked.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(Some(before)) => before,
        Ok(None) => return Ok(()),
        Err(error) => {
            tracing::warn!(error, "cannot tell how much of the graph's file is used");
            return Ok(());
        }
    };
    match advancer.rebuild(held).await {
        Ok(()) => {
            let after = advancer.local.current().map_or(0, |graph| graph.bytes_on_disk());
            tracing::info!(
                before,
                after,
                "the graph's file had outgrown its content and was built anew"
            );
            Ok(())
        }
        Err(error @ AdvanceError::Crashed(_)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "cannot build anew the graph whose file has outgrown its content");
            advancer.progress.set_state(NodeState::Following);
            Ok(())
        }
    }
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
