//! Reads the log while it grows, because its beginning is trimmed before the run ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::shared::Shared;
use crate::answers::Commit;
use crate::client::{ClientError, Node};
use crate::torture::TortureError;
use crate::torture::history::LogEntry;
use crate::wait::{Look, until};

const EVERY: Duration = Duration::from_millis(300);
const GIVE_UP: Duration = Duration::from_secs(3);
const END_WITHIN: Duration = Duration::from_secs(20);

/// A task that collects commits until it is asked to finish.
#[derive(Debug)]
pub(super) struct LogFollower {
    shared: Arc<Shared>,
    task: JoinHandle<Vec<Commit>>,
}

impl LogFollower {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let task = tokio::spawn(collect(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// The whole log, up to what the newest writer calls its head; nothing may be written any more. What was read before is
    /// compared with what is there now, where it still is: a commit never changes.
    ///
    /// # Errors
    /// When the log cannot be read, or a commit changed.
    pub(super) async fn finish(self) -> Result<Vec<LogEntry>, TortureError> {
        self.shared.end();
        let mut log = self.task.await.unwrap_or_default();
        let writer = self.shared.nodes().writer();
        until("the end of the log", END_WITHIN, async || {
            let head = match writer.status().await {
                Ok(status) => status.head.seq,
                Err(error) => return Look::NotYet(error.to_string()),
            };
            match extend(&mut log, &writer).await {
                Ok(()) if last(&log) >= head => Look::Found(()),
                Ok(()) => Look::NotYet(format!("at {} of {head}", last(&log))),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await?;
        for now in writer.commits(last(&log).saturating_sub(500)).await? {
            let before = log.iter().find(|commit| commit.seq == now.seq);
            if before.is_some_and(|before| *before != now) {
                let problem = format!(
                    "seq {} is another commit than it was: {before:?}, now {now:?}",
                    now.seq
                );
                return Err(TortureError::NotReached(problem));
            }
        }
        Ok(log.into_iter().map(entry).collect())
    }
}

async fn collect(shared: Arc<Shared>) -> Vec<Commit> {
    let mut log = Vec::new();
    let mut turn = 0;
    while !shared.is_over() {
        let nodes = shared.nodes().all();
        turn += 1;
        // One that is paused does not answer; the next turn asks another.
        let _ = timeout(GIVE_UP, extend(&mut log, &nodes[turn % nodes.len()])).await;
        sleep(EVERY).await;
    }
    log
}

async fn extend(log: &mut Vec<Commit>, node: &Node) -> Result<(), ClientError> {
    loop {
        let more = node.commits(last(log)).await?;
        if more.is_empty() {
            return Ok(());
        }
        log.extend(more);
    }
}

fn last(log: &[Commit]) -> u64 {
    log.last().map_or(0, |commit| commit.seq)
}

fn entry(commit: Commit) -> LogEntry {
    LogEntry {
        seq: commit.seq,
        tx_id: commit.tx_id,
        prev_tx_id: commit.prev_tx_id,
        epoch: commit.epoch,
        kind: commit.kind,
        notes: commit.notes,
    }
}
