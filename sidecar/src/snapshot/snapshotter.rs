//! A replica's part in snapshots, as a state machine between its passes.
//!
//! ```text
//!            due? asked? time to look?          due, duty held          between two passes
//!  Idle ───────────────────────────────> Looking ─────────────> Holding ─────────────────> Uploading ─┐
//!   ^                                       │ nothing, or busy     (pause: checkpoint, copy)           │
//!   └───────────────────────────────────────┴───────────────────────────────────────────────────────<─┘
//! ```
//!
//! Looking and uploading run beside the passes; only the pause is part of them. Owns: the states, what is done between two
//! passes, and leaving. Does not own: when to look and what follows from it (`looking`), the upload's place in it (`uploading`),
//! back-off, report and answers (`outcomes`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crds::Snapshots;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::due::{Newest, Why};
use super::duty::Duty;
use super::freeze::freeze;
use super::look::{Looked, Memory};
use super::requests::Request;
use super::uploading::TIDYING;
use super::{SnapshotError, SnapshotInbox, SnapshotLimits, SnapshotMeta};
use crate::replica::Advancer;
use crate::store::Store;

/// Between two tries of a checkpoint that running queries put off.
const CHECKPOINT_RETRY: Duration = Duration::from_millis(50);
/// After so many times its patience it gives the duty up.
const GIVES_UP: u32 = 6;

/// Takes snapshots when they are due, while it has the duty.
pub struct Snapshotter {
    pub(super) store: Arc<dyn Store>,
    pub(super) holder: String,
    pub(super) limits: SnapshotLimits,
    pub(super) settings: watch::Receiver<Snapshots>,
    inbox: SnapshotInbox,
    pub(super) cancel: CancellationToken,
    pub(super) memory: Arc<Mutex<Memory>>,
    state: State,
    pub(super) waiting: Vec<Request>,
    pub(super) newest: Option<Newest>,
    /// The first commit seen here was made then.
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) looked_at: Option<Instant>,
    pub(super) not_before: Instant,
    pub(super) failures: u32,
    /// Of the last look or upload, for whoever steps through.
    pub(super) outcome: Option<Result<Option<SnapshotMeta>, SnapshotError>>,
}

pub(super) type LookEnd = Result<Box<Looked>, SnapshotError>;
pub(super) type UploadEnd = Result<Box<(SnapshotMeta, Looked)>, SnapshotError>;

pub(super) enum State {
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

pub(super) enum Ended {
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
                    // Another replica may have a quiet moment.
                    Ok(None) if since.elapsed() >= self.limits.patience * GIVES_UP => {
                        tokio::spawn(duty.release());
                        let error = SnapshotError::Internal {
                            doing: "take a snapshot",
                            detail: "queries left no moment for a checkpoint".to_owned(),
                        };
                        self.failed(advancer, error)
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
