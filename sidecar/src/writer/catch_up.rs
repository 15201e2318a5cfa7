//! The writer's own graph behind the head: commits that stand and are not in it yet, and the task that brings it there.
//!
//! ```text
//! bulk commit ─> Ahead ─┐ (quiet, or too far behind, or somebody needs the graph)
//! bulk commit ─> Ahead ─┴─> one catch-up to the newest of them, by the replicas' own code ─> watermark
//! ```
//!
//! Crash behaviour: the commits stand in log and Lance; the next takeover rolls the graph forward from where it is.
//!
//! Owns: when the graph is brought forward. Does not own: how (`replica::Advancer`), nor which commits may run ahead
//! (`session`).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::CommitError;
use super::load_keys::LoadKeys;
use super::session::Session;
use crate::commit_log::CommitRecord;
use crate::graph::Watermark;
use crate::ids::Seq;
use crate::node::NodeState;
use crate::replica::AdvanceError;

/// Memory for the keys of all commits ahead, in bytes; keys beyond it are forgotten, and who needs them waits for the graph.
const KEYS_MEMORY: usize = 64 << 20;
/// Waits after a failed catch-up: first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Where the local graph stands next to the head.
#[derive(Default)]
pub(super) struct CatchUp {
    /// Oldest first; empty when the graph holds the head.
    ahead: Vec<Ahead>,
    running: Option<Running>,
    /// When the newest of them was added, or an upload was last seen.
    busy_at: Option<Instant>,
    behind_since: Option<Instant>,
    hurried: bool,
    failures: u32,
    retry_at: Option<Instant>,
    /// What the last catch-up failed with.
    error: Option<String>,
}

/// A commit that the graph does not hold.
struct Ahead {
    seq: Seq,
    timestamp: DateTime<Utc>,
    rows: u64,
    keys: Arc<LoadKeys>,
}

struct Running {
    target: Watermark,
    task: JoinHandle<Result<(), AdvanceError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CatchUp {
    /// Whether commits stand that the graph does not hold.
    pub(super) fn is_behind(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The keys of those commits, oldest first.
    pub(super) fn keys(&self) -> Vec<Arc<LoadKeys>> {
        self.ahead.iter().map(|ahead| ahead.keys.clone()).collect()
    }

    /// When the oldest of them was made.
    pub(super) fn oldest(&self) -> Option<DateTime<Utc>> {
        self.ahead.first().map(|ahead| ahead.timestamp)
    }

    fn add(&mut self, record: &CommitRecord, rows: u64, keys: Arc<LoadKeys>) {
        let held: usize = self.ahead.iter().map(|ahead| ahead.keys.memory()).sum();
        let keys = if held + keys.memory() > KEYS_MEMORY {
            Arc::new(keys.forgotten())
        } else {
            keys
        };
        let now = Instant::now();
        self.behind_since.get_or_insert(now);
        self.busy_at = Some(now);
        self.ahead.push(Ahead {
            seq: record.seq,
            timestamp: record.timestamp,
            rows,
            keys,
        });
    }

    /// The graph holds `seq` now.
    fn reached(&mut self, seq: Seq) {
        self.ahead.retain(|ahead| ahead.seq > seq);
        (self.failures, self.retry_at, self.error) = (0, None, None);
        self.hurried &= self.is_behind();
        self.behind_since = self.is_behind().then(Instant::now);
    }

    /// When the next catch-up starts, as things stand.
    fn due(&self, quiet: Duration, at_most: Duration) -> Instant {
        let now = Instant::now();
        let wanted = if self.hurried {
            now
        } else {
            let calm = self.busy_at.map_or(now, |busy| busy + quiet);
            let overdue = self.behind_since.map_or(now, |since| since + at_most);
            calm.min(overdue)
        };
        self.retry_at.map_or(wanted, |retry| wanted.max(retry))
    }
}

impl Session {
    /// Notes a commit that stands in log and Lance only.
    pub(super) fn run_ahead(&mut self, record: &CommitRecord, rows: u64, keys: Arc<LoadKeys>) {
        self.catch_up.add(record, rows, keys);
        let oldest = self.catch_up.oldest().unwrap_or(record.timestamp);
        self.advancer.progress.saw_head(record.position(), oldest);
    }

    /// One step of the graph towards the head: waits until a catch-up is due and starts it, or for the end of the one that
    /// runs. Never ends while the graph holds the head. Cancelling it loses nothing.
    pub(super) async fn step_towards_head(&mut self) -> Result<(), CommitError> {
        if !self.catch_up.is_behind() {
            return std::future::pending().await;
        }
        if let Some(running) = &mut self.catch_up.running {
            let ended = (&mut running.task).await;
            let ended = ended.unwrap_or_else(|error| {
                Err(crate::graph::GraphError::Engine {
                    doing: "catch up".to_owned(),
                    detail: error.to_string(),
                }
                .into())
            });
            return self.caught_up(ended);
        }
        loop {
            let deferral = self.settings.deferral;
            let due = self.catch_up.due(deferral.quiet, deferral.at_most);
            if due > Instant::now() {
                sleep_until(due).await;
            } else if self.uploads.any() && !self.catch_up.hurried && !self.is_overdue() {
                // The next commit is on its way, and one catch-up does for both.
                self.catch_up.busy_at = Some(Instant::now());
            } else {
                self.start_catch_up();
                return Ok(());
            }
        }
    }

    /// Waits until the graph holds the head; the heartbeat goes on.
    ///
    /// # Errors
    /// [`CommitError::NotCommitted`] after a catch-up that failed, until the next one is due: nobody waits for ever.
    pub(super) async fn reach_head(&mut self) -> Result<(), CommitError> {
        while self.catch_up.is_behind() {
            if let (Some(error), Some(retry)) = (&self.catch_up.error, self.catch_up.retry_at)
                && self.catch_up.running.is_none()
                && retry > Instant::now()
            {
                let detail = format!("the writer's graph cannot be brought to the head: {error}");
                return Err(CommitError::NotCommitted(detail));
            }
            self.catch_up.hurried = true;
            let beat_at = self.beaten_at + self.settings.heartbeat;
            tokio::select! {
                biased;
                stepped = self.step_towards_head() => stepped?,
                () = sleep_until(beat_at) => self.beat().await?,
            }
        }
        Ok(())
    }

    fn is_overdue(&self) -> bool {
        let since = self.catch_up.behind_since;
        since.is_some_and(|since| since.elapsed() >= self.settings.deferral.at_most)
    }

    fn start_catch_up(&mut self) {
        let rows = self.catch_up.ahead.iter().map(|ahead| ahead.rows).sum();
        let target = Watermark::of(&self.head, &self.watermark.graph_schema);
        let (advancer, from, to) = (self.advancer.clone(), self.watermark.clone(), target.clone());
        let task = tokio::spawn(async move {
            fail::fail_point!("writer::before_catch_up", |_| Err(AdvanceError::Crashed(
                "writer::before_catch_up"
            )));
            advancer.advance(Some(&from), &to, rows).await?;
            fail::fail_point!("writer::after_catch_up", |_| Err(AdvanceError::Crashed(
                "writer::after_catch_up"
            )));
            Ok(())
        });
        self.catch_up.running = Some(Running { target, task });
    }

    fn caught_up(&mut self, ended: Result<(), AdvanceError>) -> Result<(), CommitError> {
        let Some(running) = self.catch_up.running.take() else {
            return Ok(());
        };
        match ended {
            Ok(()) => {
                self.watermark = running.target.clone();
                self.catch_up.reached(self.watermark.position.seq);
                let progress = &self.advancer.progress;
                match self.catch_up.oldest() {
                    Some(oldest) => progress.saw_head(self.head.position(), oldest),
                    None => progress.confirmed(self.head.seq, self.clock.now()),
                }
                Ok(())
            }
            Err(AdvanceError::Crashed(point)) => Err(CommitError::Crashed(point)),
            Err(error) => {
                let wait = (RETRY.0 * 2_u32.saturating_pow(self.catch_up.failures)).min(RETRY.1);
                self.catch_up.failures = (self.catch_up.failures + 1).min(16);
                self.catch_up.retry_at = Some(Instant::now() + wait);
                self.catch_up.error = Some(error.to_string());
                tracing::error!(%error, retry_in = ?wait, "failed to bring the local graph to the head");
                self.advancer
                    .progress
                    .set_state(NodeState::Degraded(error.to_string()));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(200);
    const AT_MOST: Duration = Duration::from_secs(5);

    #[test]
    fn a_catch_up_waits_for_quiet_but_not_for_ever() {
        let now = Instant::now();
        let mut behind = CatchUp {
            behind_since: Some(now),
            busy_at: Some(now + Duration::from_secs(1)),
            ..CatchUp::default()
        };
        assert_eq!(behind.due(QUIET, AT_MOST), now + Duration::from_millis(1200));
        behind.busy_at = Some(now + AT_MOST);
        assert_eq!(behind.due(QUIET, AT_MOST), now + AT_MOST);
        behind.hurried = true;
        assert!(behind.due(QUIET, AT_MOST) <= Instant::now());
        behind.retry_at = Some(now + AT_MOST);
        assert_eq!(
            behind.due(QUIET, AT_MOST),
            now + AT_MOST,
            "not even who waits shortens the wait after a failure"
        );
    }
}
