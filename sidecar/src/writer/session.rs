//! A writer's life after its takeover: jobs in, commits out, a heartbeat beside. One task, so that none of these meet.
//!
//! ```text
//! jobs ─> gather ─> group ─> commit_group │ commit_bulk ─> answers ─> checkpoint
//! between two commits: a heartbeat │ a reader's ring │ a step of the catch-up │ an event of the optimizer │ a lost graph
//! ```
//!
//! Owns: what a writer holds between commits, what it does next, the heartbeat, and its end. Does not own: how it came to be
//! (`takeover_order`), the commits (`commit_group`, `commit_bulk`, `commit`, `optimize`), the graph (`own_graph`, `catch_up`),
//! what clients are told (`answers`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answers::refuse;
use super::bulk::Uploads;
use super::catch_up::CatchUp;
use super::group::{self, Next};
use super::idempotency::KnownKeys;
use super::optimizing::{Event, Optimizing};
use super::reader_bell::ReaderBell;
use super::takeover::{self, WriterClaim};
use super::{CommitError, Job};
use crate::clock::Clock;
use crate::commit_log::CommitRecord;
use crate::events::Publisher;
use crate::graph::Watermark;
use crate::lake::TableAt;
use crate::node::NodeState;
use crate::replica::Advancer;
use crate::settings::Settings;
use crate::store::Store;

/// Everything a writer holds between commits.
pub(super) struct Session {
    pub(super) store: Arc<dyn Store>,
    pub(super) advancer: Advancer,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) claim: WriterClaim,
    pub(super) head: CommitRecord,
    /// What the local graph holds: the head, or a commit before those that run ahead.
    pub(super) watermark: Watermark,
    pub(super) catch_up: CatchUp,
    pub(super) uploads: Uploads,
    /// What the next write of each table goes on top of: the committed content.
    pub(super) bases: HashMap<String, TableAt>,
    pub(super) known_keys: KnownKeys,
    pub(super) publisher: Option<Publisher>,
    pub(super) since_checkpoint: u64,
    pub(super) fenced: Arc<OnceLock<String>>,
    /// The queue's places; a job gives its own back when its commit begins.
    pub(super) places: Arc<Semaphore>,
    pub(super) beaten_at: Instant,
    /// Cancelled when the process is asked to end.
    pub(super) ending: CancellationToken,
}

impl Session {
    pub(super) async fn run(
        &mut self,
        jobs: &mut mpsc::Receiver<Job>,
        mut optimizing: Option<Optimizing>,
        mut readers: ReaderBell,
        shutdown: CancellationToken,
    ) -> Result<(), CommitError> {
        self.ending = shutdown.clone();
        let mut waiting = VecDeque::new();
        let mut heartbeat = tokio::time::interval(self.settings.heartbeat);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let local = self.advancer.local.clone();
        let ended = loop {
            if waiting.is_empty() {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break Ok(()),
                    _ = heartbeat.tick() => {
                        if let Err(error) = self.beat().await { break Err(error) }
                        continue;
                    }
                    () = readers.rung() => {
                        let confirmed = self.confirm_head().await;
                        readers.answered();
                        if let Err(error) = confirmed { break Err(error) }
                        continue;
                    }
                    stepped = self.step_towards_head() => {
                        if let Err(error) = stepped { break Err(error) }
                        continue;
                    }
                    event = next_of(&mut optimizing) => {
                        if let Err(error) = self.optimize_if_any(&mut optimizing, event).await { break Err(error) }
                        continue;
                    }
                    // A scrub found that the graph is not what Lance holds.
                    () = local.lost() => {
                        self.ensure_graph().await;
                        continue;
                    }
                    job = jobs.recv() => match job {
                        Some(job) => waiting.push_back(job),
                        None => break Ok(()),
                    },
                }
                self.gather(jobs, &mut waiting).await;
            }
            while let Ok(job) = jobs.try_recv() {
                waiting.push_back(job);
            }
            // Without a pause between jobs the tick above is never looked at.
            if self.beaten_at.elapsed() >= self.settings.heartbeat
                && let Err(error) = self.beat().await
            {
                break Err(error);
            }
            // Nor are the readers that ring: a commit answers them, but not every turn ends in one.
            if readers.rung().now_or_never().is_some() {
                let confirmed = self.confirm_head().await;
                readers.answered();
                if let Err(error) = confirmed {
                    break Err(error);
                }
            }
            // Nor is the graph's way to the head.
            if let Some(Err(error)) = self.step_towards_head().now_or_never() {
                break Err(error);
            }
            // Nor are the optimizer's results.
            if let Some(event) = next_of(&mut optimizing).now_or_never()
                && let Err(error) = self.optimize_if_any(&mut optimizing, event).await
            {
                break Err(error);
            }
            // Nothing is validated against a graph that a scrub gave up.
            self.ensure_graph().await;
            let waited = waiting.len();
            let next = group::take(&mut waiting, self.settings.group);
            self.places.add_permits(waited - waiting.len());
            let done = match next {
                Next::Group(group) => Box::pin(self.commit_group(group)).await,
                Next::Bulk(job) => Box::pin(self.commit_bulk(*job)).await,
                Next::Nothing => Ok(()),
            };
            if let Err(error) = done {
                break Err(error);
            }
            self.checkpoint().await;
        };
        if let Err(CommitError::Fenced(detail)) = &ended {
            self.advancer
                .progress
                .set_state(NodeState::Fenced(detail.clone()));
            // Set before the queue closes, so that whoever finds it closed knows why; only this session sets it.
            let _ = self.fenced.set(detail.clone());
        }
        jobs.close();
        if let Some(optimizing) = optimizing {
            optimizing.shutdown().await;
        }
        while let Ok(job) = jobs.try_recv() {
            waiting.push_back(job);
        }
        for job in waiting {
            refuse(job, &ended);
        }
        ended
    }

    async fn optimize_if_any(
        &mut self,
        optimizing: &mut Option<Optimizing>,
        event: Event,
    ) -> Result<(), CommitError> {
        self.ensure_graph().await;
        match optimizing {
            // Boxed: a run is rare, and its future is large.
            Some(optimizing) => Box::pin(self.optimize(optimizing, event)).await,
            None => Ok(()),
        }
    }

    /// Waits a moment for more transactions, so that they share a commit.
    async fn gather(&self, jobs: &mut mpsc::Receiver<Job>, waiting: &mut VecDeque<Job>) {
        let deadline = tokio::time::Instant::now() + self.settings.group.wait;
        while let Ok(Some(job)) = tokio::time::timeout_at(deadline, jobs.recv()).await {
            waiting.push_back(job);
        }
    }

    pub(super) async fn beat(&mut self) -> Result<(), CommitError> {
        self.beaten_at = Instant::now();
        fail::fail_point!("writer::before_beat", |_| Err(CommitError::Crashed(
            "writer::before_beat"
        )));
        let beating = takeover::beat(self.store.as_ref(), &mut self.claim, &self.clock);
        match self.advancer.progress.asking_store(beating).await {
            Ok(true) => {
                fail::fail_point!("writer::after_beat", |_| Err(CommitError::Crashed(
                    "writer::after_beat"
                )));
                self.advancer.progress.store_answered();
                self.advancer.progress.confirmed(self.head.seq, self.clock.now());
                Ok(())
            }
            Ok(false) => Err(CommitError::Fenced("writer.json names another writer".to_owned())),
            // The commit log fences as well; a store that is away shows at the next commit.
            Err(error) => {
                tracing::warn!(%error, "failed to renew the heartbeat");
                self.advancer.progress.store_failed(&error);
                Ok(())
            }
        }
    }

    /// Hands the commit's event over; nobody waits for it.
    pub(super) fn publish(&self, record: &CommitRecord) {
        if let Some(publisher) = &self.publisher {
            publisher.publish(record);
        }
    }
}

/// What the optimizer has next; never anything where there is none.
async fn next_of(optimizing: &mut Option<Optimizing>) -> Event {
    match optimizing {
        Some(optimizing) => optimizing.next().await,
        None => std::future::pending().await,
    }
}
