//! The optimizer's runs as the writer sees them: when one is due, which half is under way, and what it found.
//!
//! ```text
//!        due                  rewritten            indexed             cleaned
//! Idle ──────> Rewriting ──────────────> Indexing ─────────> Cleaning ─────────> Idle
//!                  │ nothing is worth it                                            ^
//!                  └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Owns: cadence, the task in the background, the report. Does not own: the commits in between (`optimize`), the work
//! (`crate::optimizer`).

use std::time::Duration;

use crds::{Optimizer, OptimizerInterval};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::commit_log::CommitRecord;
use crate::ids::{Seq, TxId};
use crate::lake::IndexWish;
use crate::node::{LastOptimize, Progress};
use crate::optimizer::{Cleaning, CleaningOutcome, OptimizeError, Prepared, Rewriting, index, rewrite};
use crate::settings::OptimizerSettings;

/// The first run comes this soon after a start, or after one interval where that is shorter.
const FIRST_RUN: Duration = Duration::from_secs(60);
/// How long a task may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(2);

/// What happens next.
#[derive(Debug)]
pub(super) enum Event {
    Due,
    Rewritten(Result<Option<Prepared>, OptimizeError>),
    Indexed(Result<Prepared, OptimizeError>),
    Cleaned(CleaningOutcome),
}

enum Running {
    Rewriting(JoinHandle<Result<Option<Prepared>, OptimizeError>>),
    Indexing(JoinHandle<Result<Prepared, OptimizeError>>),
    Cleaning(JoinHandle<CleaningOutcome>),
}

/// What the run under way did so far.
#[derive(Default)]
struct Run {
    started: Option<Instant>,
    what: Vec<String>,
    why: Vec<String>,
    committed: Option<(Seq, TxId)>,
}

/// The optimizer of one writer.
pub(super) struct Optimizing {
    config: watch::Receiver<Optimizer>,
    pub(super) settings: OptimizerSettings,
    pub(super) wishes: Vec<(String, IndexWish)>,
    progress: Progress,
    cancel: CancellationToken,
    running: Option<Running>,
    run: Run,
    /// When the last run began; the first one's place at the start.
    began: Instant,
    pub(super) cleaned_at: Seq,
    pub(super) tombstones_before: Option<TxId>,
}

impl Optimizing {
    /// Begins idle.
    pub(super) fn new(
        config: watch::Receiver<Optimizer>,
        settings: OptimizerSettings,
        wishes: Vec<(String, IndexWish)>,
        progress: Progress,
        head: Seq,
    ) -> Self {
        let mut fresh = Self {
            config,
            settings,
            wishes,
            progress,
            cancel: CancellationToken::new(),
            running: None,
            run: Run::default(),
            began: Instant::now(),
            cleaned_at: head,
            tombstones_before: None,
        };
        let interval = fresh.interval();
        // As if the last run had been so long ago that the first one is due soon.
        let early = interval.saturating_sub(FIRST_RUN);
        fresh.began = fresh.began.checked_sub(early).unwrap_or(fresh.began);
        fresh.report_due();
        fresh
    }

    /// The settings that hold now.
    pub(super) fn config(&self) -> Optimizer {
        self.config.borrow().clone()
    }

    fn interval(&self) -> Duration {
        match self.config.borrow().interval {
            OptimizerInterval::Auto => self.settings.auto_look,
            OptimizerInterval::Every(interval) => interval.as_std(),
        }
    }

    /// Waits for what happens next. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Event {
        let event = loop {
            match &mut self.running {
                None => {
                    let due = self.began + self.interval();
                    tokio::select! {
                        () = sleep_until(due) => return Event::Due,
                        changed = self.config.changed() => match changed {
                            Ok(()) => self.report_due(),
                            Err(_) => {
                                sleep_until(due).await;
                                return Event::Due;
                            }
                        }
                    }
                }
                Some(Running::Rewriting(task)) => {
                    let ended = task.await;
                    break Event::Rewritten(ended.unwrap_or_else(|error| Err(failed(&error))));
                }
                Some(Running::Indexing(task)) => {
                    let ended = task.await;
                    break Event::Indexed(ended.unwrap_or_else(|error| Err(failed(&error))));
                }
                Some(Running::Cleaning(task)) => {
                    let ended = task.await;
                    break Event::Cleaned(ended.unwrap_or_else(|error| CleaningOutcome {
                        error: Some(failed(&error)),
                        ..CleaningOutcome::default()
                    }));
                }
            }
        };
        self.running = None;
        event
    }

    pub(super) fn start_rewriting(&mut self, work: Rewriting) {
        self.began = Instant::now();
        self.run = Run {
            started: Some(self.began),
            ..Run::default()
        };
        if let OptimizerInterval::Every(interval) = work.config.interval {
            self.run.why.push(format!("every {interval}"));
        }
        self.say_running("compacting");
        self.running = Some(Running::Rewriting(tokio::spawn(rewrite(
            work,
            self.cancel.clone(),
        ))));
    }

    pub(super) fn start_indexing(&mut self, work: Rewriting) {
        self.say_running("indexing");
        self.running = Some(Running::Indexing(tokio::spawn(index(work, self.cancel.clone()))));
    }

    pub(super) fn start_cleaning(&mut self, work: Cleaning) {
        self.say_running("cleaning");
        self.cleaned_at = work.head.seq;
        self.running = Some(Running::Cleaning(tokio::spawn(work.run(self.cancel.clone()))));
    }

    /// Notes a commit of this run.
    pub(super) fn committed(&mut self, record: &CommitRecord, what: Vec<String>, why: Vec<String>) {
        self.run.what.extend(what);
        self.run.why.extend(why);
        self.run.committed = Some((record.seq, record.tx_id));
    }

    /// The run is over.
    pub(super) fn finish(&mut self, error: Option<&OptimizeError>) {
        let run = std::mem::take(&mut self.run);
        let seconds = run.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        let outcome = match (error, run.committed) {
            (Some(OptimizeError::Cancelled), _) => "cancelled",
            (Some(_), _) => "failed",
            (None, Some(_)) => "committed",
            (None, None) => "nothing",
        };
        metrics::counter!("slipstream_optimizes_total", "outcome" => outcome).increment(1);
        let now = self.progress.clock().now();
        if outcome == "committed" {
            metrics::histogram!("slipstream_optimize_duration_seconds").record(seconds);
            metrics::gauge!("slipstream_optimize_timestamp_seconds").set(now.timestamp() as f64);
        }
        self.progress.reports().update(|view| {
            view.optimizer.running = None;
            view.optimizer.runs += 1;
            view.optimizer.error = error
                .filter(|error| !matches!(error, OptimizeError::Cancelled))
                .map(ToString::to_string);
            if let Some((seq, tx_id)) = run.committed {
                view.optimizer.last = Some(LastOptimize {
                    seq,
                    tx_id,
                    timestamp: now,
                    what: run.what.join("; "),
                    why: run.why.join("; "),
                    duration_ms: (seconds * 1000.0) as u64,
                });
            }
        });
        self.report_due();
    }

    /// Notes what a cleaning removed.
    pub(super) fn cleaned(&mut self, outcome: &CleaningOutcome) {
        if let Some(floor) = outcome.floor {
            self.tombstones_before = Some(floor);
        }
        metrics::counter!("slipstream_optimize_freed_bytes_total").increment(outcome.bytes);
        metrics::counter!("slipstream_log_trimmed_commits_total").increment(outcome.commits);
        if outcome.versions + outcome.commits + outcome.leases > 0 {
            tracing::info!(
                versions = outcome.versions,
                bytes = outcome.bytes,
                commits = outcome.commits,
                leases = outcome.leases,
                "cleaned"
            );
        }
        self.progress.reports().update(|view| {
            view.optimizer.freed_bytes += outcome.bytes;
            view.optimizer.trimmed_commits += outcome.commits;
        });
    }

    pub(super) fn say_running(&self, what: &str) {
        self.progress
            .reports()
            .update(|view| view.optimizer.running = Some(what.to_owned()));
    }

    fn report_due(&self) {
        let is_auto = self.config.borrow().interval == OptimizerInterval::Auto;
        let left = (self.began + self.interval()).saturating_duration_since(Instant::now());
        let left = chrono::Duration::from_std(left).unwrap_or(chrono::Duration::MAX);
        // On `auto` nobody knows.
        let due = (!is_auto)
            .then(|| self.progress.clock().now().checked_add_signed(left))
            .flatten();
        self.progress
            .reports()
            .update(|view| view.optimizer.next_due = due);
    }

    /// Ends what runs in the background: nothing of it is named by any version.
    pub(super) async fn shutdown(mut self) {
        self.cancel.cancel();
        let ended = match self.running.take() {
            None => return,
            Some(Running::Rewriting(task)) => ended_within(task).await,
            Some(Running::Indexing(task)) => ended_within(task).await,
            Some(Running::Cleaning(task)) => ended_within(task).await,
        };
        if !ended {
            tracing::warn!("the optimizer did not end in time; aborted");
        }
        self.finish(Some(&OptimizeError::Cancelled));
    }
}

async fn ended_within<T>(mut task: JoinHandle<T>) -> bool {
    match tokio::time::timeout(PATIENCE, &mut task).await {
        Ok(_) => true,
        Err(_) => {
            task.abort();
            false
        }
    }
}

/// A writer that is killed takes its tasks along.
impl Drop for Optimizing {
    fn drop(&mut self) {
        match &self.running {
            Some(Running::Rewriting(task)) => task.abort(),
            Some(Running::Indexing(task)) => task.abort(),
            Some(Running::Cleaning(task)) => task.abort(),
            None => {}
        }
    }
}

fn failed(error: &tokio::task::JoinError) -> OptimizeError {
    OptimizeError::Task(error.to_string())
}
