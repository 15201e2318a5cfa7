//! A replica's part in snapshots, as a state machine between its passes.
//!
//! ```text
//!            due? asked? time to look?          due, duty held          between two passes
//!  Idle ───────────────────────────────> Looking ─────────────> Holding ─────────────────> Uploading ─┐
//!   ^                                       │ nothing, or busy     (pause: checkpoint, copy)           │
//!   └───────────────────────────────────────┴───────────────────────────────────────────────────────<─┘
//! ```
//!
//! Looking and uploading run beside the passes; only the pause is part of them. Owns: when to look, back-off, answers to
//! requests, report and metrics. Does not own: what is due (`due`), what goes (`retention`), how a snapshot is stored (`upload`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crds::Snapshots;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::due::{Newest, Why, due, next_due};
use super::duty::Duty;
use super::freeze::{Frozen, freeze};
use super::look::{Decision, Look, Looked, Memory};
use super::requests::Request;
use super::upload::{Upload, remove};
use super::{SnapshotAnswer, SnapshotError, SnapshotInbox, SnapshotLimits, SnapshotMeta, SnapshotRefusal};
use crate::clock::Clock;
use crate::ids::Seq;
use crate::node::LastSnapshot;
use crate::replica::Advancer;
use crate::store::Store;

/// Between two tries of a checkpoint that running queries put off.
const CHECKPOINT_RETRY: Duration = Duration::from_millis(50);
/// At most between two looks at the clock: a schedule is followed although the clock is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After finding another replica at it.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How long an interrupted upload may take to clean up after itself, and leaving may take.
const TIDYING: Duration = Duration::from_secs(3);

/// Takes snapshots when they are due, while it has the duty.
pub struct Snapshotter {
    store: Arc<dyn Store>,
    holder: String,
    limits: SnapshotLimits,
    settings: watch::Receiver<Snapshots>,
    inbox: SnapshotInbox,
    cancel: CancellationToken,
    memory: Arc<Mutex<Memory>>,
    state: State,
    waiting: Vec<Request>,
    newest: Option<Newest>,
    /// The first commit seen here was made then.
    since: Option<DateTime<Utc>>,
    looked_at: Option<Instant>,
    not_before: Instant,
    failures: u32,
    /// Of the last look or upload, for whoever steps through.
    outcome: Option<Result<Option<SnapshotMeta>, SnapshotError>>,
}

type LookEnd = Result<Box<Looked>, SnapshotError>;
type UploadEnd = Result<Box<(SnapshotMeta, Looked)>, SnapshotError>;

enum State {
    Idle,
    Looking(JoinHandle<LookEnd>),
    /// Has the duty, and waits for the pause.
    Holding {
        duty: Duty,
        why: Why,
        since: Instant,
    },
    Uploading(JoinHandle<UploadEnd>),
    /// A task ended; what it said is dealt with between passes.
    Ended(Ended),
}

enum Ended {
    Looked(LookEnd),
    Uploaded(UploadEnd),
}

impl Snapshotter {
    /// For the replica `holder`; `cancel` stops what runs in the background.
    pub fn new(
        store: Arc<dyn Store>,
        holder: &str,
        limits: SnapshotLimits,
        settings: watch::Receiver<Snapshots>,
        inbox: SnapshotInbox,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            store,
            holder: holder.to_owned(),
            limits,
            settings,
            inbox,
            cancel,
            memory: Arc::default(),
            state: State::Idle,
            waiting: Vec::new(),
            newest: None,
            since: None,
            looked_at: None,
            not_before: Instant::now(),
            failures: 0,
            outcome: None,
        }
    }

    /// Does what is to be done between two passes of the replica: nothing is applied before it returns. Long only when it
    /// pauses for a snapshot. `true`: it checkpointed.
    pub(crate) async fn between_passes(&mut self, advancer: &Advancer) -> bool {
        self.take_requests();
        let mut checkpointed = false;
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Looking(task) if task.is_finished() => {
                let looked = ended("look at the snapshots", task.await);
                self.after_look(advancer, looked)
            }
            State::Uploading(task) if task.is_finished() => {
                let uploaded = ended("upload a snapshot", task.await);
                self.after_upload(advancer, uploaded)
            }
            State::Ended(Ended::Looked(looked)) => self.after_look(advancer, looked),
            State::Ended(Ended::Uploaded(uploaded)) => self.after_upload(advancer, uploaded),
            state => state,
        };
        // Not before: what has ended began before they were asked.
        self.take_requests();
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.idle(advancer),
            State::Holding { duty, why, since } => {
                let overdue = since.elapsed() >= self.limits.patience;
                match freeze(advancer, overdue).await {
                    Ok(Some(frozen)) => {
                        checkpointed = true;
                        self.upload(advancer, frozen, duty, why)
                    }
                    Ok(None) => State::Holding { duty, why, since },
                    Err(error) => {
                        if !matches!(error, SnapshotError::Crashed(_)) {
                            tokio::spawn(duty.release());
                        }
                        self.failed(advancer, error)
                    }
                }
            }
            state => state,
        };
        checkpointed
    }

    /// Waits until [`Snapshotter::between_passes`] has something to do.
    pub(crate) async fn wake(&mut self, advancer: &Advancer) {
        let sleep = self.sleep(advancer);
        match &mut self.state {
            State::Looking(task) => {
                let looked = ended("look at the snapshots", task.await);
                self.state = State::Ended(Ended::Looked(looked));
            }
            State::Uploading(task) => {
                let uploaded = ended("upload a snapshot", task.await);
                self.state = State::Ended(Ended::Uploaded(uploaded));
            }
            State::Holding { .. } => tokio::time::sleep(CHECKPOINT_RETRY).await,
            State::Ended(_) => {}
            State::Idle => tokio::select! {
                Some(request) = self.inbox.0.recv() => self.waiting.push(request),
                Ok(()) = self.settings.changed() => {}
                () = tokio::time::sleep(sleep) => {}
            },
        }
    }

    /// One look at what is due, and all that comes of it: the snapshot that was taken, if one was.
    pub(crate) async fn run_once(
        &mut self,
        advancer: &Advancer,
    ) -> Result<Option<SnapshotMeta>, SnapshotError> {
        self.looked_at = None;
        self.not_before = Instant::now();
        self.outcome = None;
        loop {
            self.between_passes(advancer).await;
            if matches!(self.state, State::Idle) {
                return self.outcome.take().unwrap_or(Ok(None));
            }
            self.wake(advancer).await;
        }
    }

    /// Stops what runs, and waits for it a little.
    pub(crate) async fn leave(mut self) {
        self.cancel.cancel();
        let left = async {
            match self.state {
                State::Looking(task) => {
                    task.abort();
                }
                State::Holding { duty, .. } => duty.release().await,
                State::Uploading(task) => {
                    // What it says was said by its log lines.
                    let _ = task.await;
                }
                State::Idle | State::Ended(_) => {}
            }
        };
        if tokio::time::timeout(TIDYING * 2, left).await.is_err() {
            tracing::warn!("the snapshot that was being taken is left as it is");
        }
        self.waiting.clear();
    }

    fn take_requests(&mut self) {
        while let Ok(request) = self.inbox.0.try_recv() {
            self.waiting.push(request);
        }
    }

    /// Starts a look where there is a reason for one.
    fn idle(&mut self, advancer: &Advancer) -> State {
        let view = advancer.progress.view();
        let (Some(watermark), Some(timestamp)) = (view.watermark, view.watermark_timestamp) else {
            self.answer(&Err(SnapshotRefusal::NoGraph));
            return State::Idle;
        };
        let since = *self.since.get_or_insert(timestamp);
        let (now, settings) = (advancer.progress.clock().now(), self.settings.borrow().clone());
        let is_due = due(&settings, self.newest, since, watermark.seq, now).is_some();
        let is_time = self
            .looked_at
            .is_none_or(|looked_at| looked_at.elapsed() >= self.limits.look);
        let may = Instant::now() >= self.not_before;
        if self.waiting.is_empty() && !(may && (is_due || is_time)) {
            return State::Idle;
        }
        let look = self.look(advancer.progress.clock(), settings, watermark.seq, since);
        State::Looking(tokio::spawn(async move { look.run().await.map(Box::new) }))
    }

    fn look(&self, clock: &Clock, settings: Snapshots, watermark: Seq, since: DateTime<Utc>) -> Look {
        Look {
            store: self.store.clone(),
            holder: self.holder.clone(),
            limits: self.limits,
            clock: clock.clone(),
            settings,
            memory: self.memory.clone(),
            watermark,
            since,
            asked: !self.waiting.is_empty(),
        }
    }

    fn after_look(&mut self, advancer: &Advancer, looked: LookEnd) -> State {
        self.looked_at = Some(Instant::now());
        let looked = match looked {
            Ok(looked) => *looked,
            Err(error) => return self.failed(advancer, error),
        };
        self.saw(advancer, &looked, None);
        self.outcome = Some(Ok(None));
        match looked.decision {
            Decision::Nothing => State::Idle,
            Decision::Take(duty, why) => State::Holding {
                duty,
                why,
                since: Instant::now(),
            },
            Decision::Busy(holder) => {
                self.not_before = Instant::now() + BUSY_WAIT;
                self.answer(&Err(SnapshotRefusal::Busy { holder }));
                State::Idle
            }
            Decision::Exists(meta) => {
                let answer = SnapshotAnswer {
                    meta: *meta,
                    existed: true,
                };
                self.answer(&Ok(answer));
                State::Idle
            }
        }
    }

    /// Goes on in the background; the replica applies again.
    fn upload(&self, advancer: &Advancer, frozen: Frozen, mut duty: Duty, why: Why) -> State {
        let (seq, tx_id) = (frozen.watermark.position.seq, frozen.watermark.position.tx_id);
        tracing::info!(%seq, %tx_id, ?why, pause_ms = frozen.since.elapsed().as_millis(), "taking a snapshot");
        advancer
            .progress
            .reports()
            .update(|reports| reports.snapshots.running = true);
        let clock = advancer.progress.clock().clone();
        let look = self.look(&clock, self.settings.borrow().clone(), seq, frozen.taken_at);
        let upload = Upload {
            store: self.store.clone(),
            holder: self.holder.clone(),
            limits: self.limits,
            clock,
        };
        let cancel = self.cancel.clone();
        State::Uploading(tokio::spawn(async move {
            let uploaded = upload.run(&frozen, &mut duty, &cancel).await;
            let meta = match uploaded {
                Ok(meta) => meta,
                Err(error) => {
                    tidy(&upload, &tx_id.to_string(), duty, &error).await;
                    return Err(error);
                }
            };
            drop(frozen);
            look.memory.lock().await.verified.insert(meta.tx_id);
            let retained = look.retain(&mut duty).await;
            if !matches!(retained, Err(SnapshotError::Crashed(_))) {
                duty.release().await;
            }
            Ok(Box::new((meta, retained?)))
        }))
    }

    fn after_upload(&mut self, advancer: &Advancer, uploaded: UploadEnd) -> State {
        let (meta, looked) = match uploaded {
            Ok(uploaded) => *uploaded,
            Err(error) => return self.failed(advancer, error),
        };
        let took = (meta.completed_at - meta.taken_at).to_std().unwrap_or_default();
        tracing::info!(
            seq = %meta.seq, tx_id = %meta.tx_id, bytes = meta.stored_bytes(), file_bytes = meta.file.size,
            seconds = took.as_secs_f64(), retained = looked.retained, "took a snapshot"
        );
        metrics::counter!("slipstream_snapshots_total", "outcome" => "taken").increment(1);
        metrics::histogram!("slipstream_snapshot_duration_seconds").record(took.as_secs_f64());
        self.failures = 0;
        self.not_before = Instant::now();
        self.saw(advancer, &looked, Some((&meta, took)));
        self.answer(&Ok(SnapshotAnswer {
            meta: meta.clone(),
            existed: false,
        }));
        self.outcome = Some(Ok(Some(meta)));
        State::Idle
    }

    fn failed(&mut self, advancer: &Advancer, error: SnapshotError) -> State {
        if matches!(error, SnapshotError::Cancelled) {
            self.answer(&Err(SnapshotRefusal::Leaving));
            self.outcome = Some(Err(error));
            return State::Idle;
        }
        self.failures += 1;
        let factor = 2_u32.saturating_pow(self.failures.saturating_sub(1)).min(20);
        let wait = self.limits.back_off * factor;
        self.not_before = Instant::now() + wait;
        tracing::warn!(%error, retry_in = ?wait, "no snapshot was taken");
        metrics::counter!("slipstream_snapshots_total", "outcome" => "failed").increment(1);
        advancer.progress.reports().update(|reports| {
            reports.snapshots.running = false;
            reports.snapshots.error = Some(error.to_string());
        });
        self.answer(&Err(SnapshotRefusal::Failed(error.to_string())));
        self.outcome = Some(Err(error));
        State::Idle
    }

    /// Takes over what a look or an upload found, into report and metrics too.
    fn saw(&mut self, advancer: &Advancer, looked: &Looked, taken: Option<(&SnapshotMeta, Duration)>) {
        self.newest = looked.newest.as_ref().map(Newest::from);
        let (clock, watermark) = (advancer.progress.clock(), advancer.progress.view().watermark);
        let now = clock.now();
        let next = next_due(
            &self.settings.borrow(),
            self.newest,
            self.since.unwrap_or(now),
            watermark.map(|watermark| watermark.seq),
            now,
        );
        let last = looked.newest.as_ref().map(|meta| {
            let took = taken.filter(|(taken, _)| taken.tx_id == meta.tx_id);
            let took = took.map_or_else(
                || meta.completed_at - meta.taken_at,
                |(_, took)| chrono::Duration::from_std(took).unwrap_or_default(),
            );
            LastSnapshot {
                seq: meta.seq,
                tx_id: meta.tx_id,
                timestamp: meta.completed_at,
                bytes: meta.stored_bytes(),
                duration_ms: u64::try_from(took.num_milliseconds()).unwrap_or(0),
            }
        });
        if let Some(last) = &last {
            metrics::gauge!("slipstream_snapshot_bytes").set(last.bytes as f64);
            metrics::gauge!("slipstream_snapshot_timestamp_seconds")
                .set(last.timestamp.timestamp_millis() as f64 / 1000.0);
        }
        let retained = looked.retained;
        advancer.progress.reports().update(|reports| {
            let report = &mut reports.snapshots;
            (report.last, report.next_due, report.retained) = (last, next, retained);
            report.running = false;
            if taken.is_some() {
                report.error = None;
            }
        });
    }

    fn answer(&mut self, answer: &Result<SnapshotAnswer, SnapshotRefusal>) {
        for request in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = request.send(answer.clone());
        }
    }

    /// How long there is nothing to do, as far as can be known.
    fn sleep(&self, advancer: &Advancer) -> Duration {
        let Some(watermark) = advancer.progress.view().watermark else {
            return LONGEST_SLEEP;
        };
        let settings = self.settings.borrow();
        let clock = advancer.progress.clock();
        let (now, since) = (clock.now(), self.since.unwrap_or_else(|| clock.now()));
        let next = next_due(&settings, self.newest, since, Some(watermark.seq), now);
        let until_due = next.map_or(LONGEST_SLEEP, |next| (next - now).to_std().unwrap_or_default());
        let until_look = self
            .looked_at
            .map_or(Duration::ZERO, |at| self.limits.look.saturating_sub(at.elapsed()));
        let may_in = self.not_before.saturating_duration_since(Instant::now());
        // A little later than the moment itself, so that it has come when this looks.
        let sleep = until_due.min(until_look).max(may_in) + Duration::from_millis(5);
        sleep.min(LONGEST_SLEEP)
    }
}

/// After an upload that failed: its parts go, unless another may be at it now. A crash leaves them to retention.
async fn tidy(upload: &Upload, tx_id: &str, duty: Duty, error: &SnapshotError) {
    match error {
        SnapshotError::Crashed(_) | SnapshotError::DutyLost { .. } => {}
        _ => {
            let removing = async {
                if let Err(error) = remove(&*upload.store, tx_id).await {
                    tracing::warn!(%error, tx_id, "failed to remove the parts of a snapshot; retention will");
                }
                duty.release().await;
            };
            if tokio::time::timeout(TIDYING, removing).await.is_err() {
                tracing::warn!(tx_id, "the parts of a snapshot are left to retention");
            }
        }
    }
}

fn ended<T>(
    doing: &'static str,
    result: Result<Result<T, SnapshotError>, tokio::task::JoinError>,
) -> Result<T, SnapshotError> {
    result.unwrap_or_else(|error| {
        Err(SnapshotError::Internal {
            doing,
            detail: error.to_string(),
        })
    })
}
