//! A writer's life after its takeover: jobs in, commits out, a heartbeat beside.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::bulk::{Loading, Uploads};
use super::catch_up::CatchUp;
use super::group::{self, Next};
use super::idempotency::KnownKeys;
use super::load_keys::LoadKeys;
use super::optimizing::{Event, Optimizing};
use super::spool::SpoolRoom;
use super::takeover::{self, TakeoverError, WriterClaim};
use super::validate::{Plan, unavailable, validate};
use super::{CommitAnswer, CommitError, Job, RunningWriter, Transaction, Work, WriteError, Writer};
use crate::clock::Clock;
use crate::commit_log::CommitRecord;
use crate::events::Publisher;
use crate::graph::{Graph, GraphError, Watermark};
use crate::lake::{IndexWish, LakeError, TableAt};
use crate::node::NodeState;
use crate::replica::{AdvanceError, Advancer, changed_rows};
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
    publisher: Option<Publisher>,
    since_checkpoint: u64,
    fenced: Arc<OnceLock<String>>,
    pub(super) beaten_at: Instant,
    /// Cancelled when the process is asked to end.
    ending: CancellationToken,
}

impl RunningWriter {
    /// Takes over: epoch, barrier, settled tables, schema, local graph, idempotency keys. `found` is what the local graph
    /// holds, if there is one.
    ///
    /// # Errors
    /// [`TakeoverError`]; a new attempt is always safe.
    pub async fn take_over(
        store: Arc<dyn Store>,
        advancer: Advancer,
        settings: Settings,
        wanted: &crds::GraphSchema,
        found: Option<Watermark>,
    ) -> Result<Self, TakeoverError> {
        let clock = advancer.progress.clock().clone();
        fail::fail_point!("takeover::before_claim", |_| Err(TakeoverError::Crashed(
            "takeover::before_claim"
        )));
        let claim = takeover::claim(store.as_ref(), &advancer.log, &settings.holder, &clock).await?;
        advancer.progress.set_epoch(claim.epoch);
        fail::fail_point!("takeover::after_claim", |_| Err(TakeoverError::Crashed(
            "takeover::after_claim"
        )));
        let claimed = takeover::Claimed {
            store: store.as_ref(),
            log: &advancer.log,
            ours: &claim,
        };
        let barrier = takeover::barrier(claimed, &clock).await?;
        fail::fail_point!("takeover::after_barrier", |_| Err(TakeoverError::Crashed(
            "takeover::after_barrier"
        )));
        let mut bases = takeover::settle(&advancer.lake, &barrier).await?;
        fail::fail_point!("takeover::after_settle", |_| Err(TakeoverError::Crashed(
            "takeover::after_settle"
        )));
        let migrated =
            takeover::migrate(claimed, &advancer.lake, &barrier, wanted, &mut bases, &clock).await?;
        let head = migrated.unwrap_or(barrier);
        let graph_schema = takeover::schema_at(&advancer.log, &head).await?;
        let watermark = Watermark::of(&head, &graph_schema);
        fail::fail_point!("takeover::before_roll_forward", |_| Err(TakeoverError::Crashed(
            "takeover::before_roll_forward"
        )));
        Box::pin(roll_forward(&advancer, found, &watermark)).await?;
        fail::fail_point!("takeover::after_roll_forward", |_| Err(TakeoverError::Crashed(
            "takeover::after_roll_forward"
        )));
        let known_keys = KnownKeys::load(&advancer.log, &head, settings.idempotency_commits).await?;
        tracing::info!(epoch = %claim.epoch, seq = %head.seq, "took over as the writer");

        let spool_dir = settings.data_dir.join("spool");
        // Spools of an earlier process are of requests that got no answer.
        let _ = std::fs::remove_dir_all(&spool_dir);
        std::fs::create_dir_all(&spool_dir).map_err(|source| {
            TakeoverError::Local(
                GraphError::Files {
                    doing: "create",
                    path: spool_dir.clone(),
                    source,
                }
                .to_string(),
            )
        })?;
        let (queue, jobs) = mpsc::channel(settings.queue.max(1));
        let fenced = Arc::new(OnceLock::new());
        let schema = takeover::checked(&graph_schema)?;
        let loading = Loading {
            room: SpoolRoom::new(spool_dir),
            tables: Arc::new(bases.clone()),
            uploads: Uploads::default(),
        };
        let session = Session {
            store,
            advancer,
            clock,
            settings,
            claim,
            head,
            watermark,
            catch_up: CatchUp::default(),
            uploads: loading.uploads.clone(),
            bases,
            known_keys,
            publisher: None,
            since_checkpoint: 0,
            fenced: fenced.clone(),
            beaten_at: Instant::now(),
            ending: CancellationToken::new(),
        };
        session
            .advancer
            .progress
            .confirmed(session.head.seq, session.clock.now());
        Ok(Self {
            writer: Writer {
                queue,
                schema,
                loading,
                fenced,
            },
            session,
            jobs,
            indexes: declared_indexes(wanted),
            optimizing: None,
        })
    }
}

/// Indexes that a schema declares, by table. They are the resource's, not the log's: one that comes or goes is no change of
/// the tables.
fn declared_indexes(schema: &crds::GraphSchema) -> Vec<(String, IndexWish)> {
    let nodes = schema.nodes.iter().map(|table| (&table.name, &table.properties));
    let edges = schema.edges.iter().map(|table| (&table.name, &table.properties));
    let wish = |property: &crds::Property| {
        Some(IndexWish {
            column: property.name.clone(),
            kind: property.index?,
            dimension: property.dimension,
        })
    };
    nodes
        .chain(edges)
        .flat_map(|(table, properties)| {
            let wishes = properties.iter().filter_map(wish);
            wishes.map(|wish| (table.clone(), wish)).collect::<Vec<_>>()
        })
        .collect()
}

impl RunningWriter {
    /// From now on the event of every commit is handed to `publisher`, the head's at once.
    pub fn publish_to(&mut self, publisher: Publisher) {
        self.session.publisher = Some(publisher);
        self.session.publish(&self.session.head);
    }
}

/// The log decides: whatever the local graph holds, it is brought to the head.
async fn roll_forward(
    advancer: &Advancer,
    found: Option<Watermark>,
    head: &Watermark,
) -> Result<(), TakeoverError> {
    let failed = |error: AdvanceError| TakeoverError::Local(error.to_string());
    let usable = match found {
        Some(found) if advancer.is_ours(&found).await.map_err(failed)? => Some(found),
        Some(_) => {
            advancer.local.discard();
            None
        }
        None => None,
    };
    let missing = match &usable {
        Some(found) => {
            let records = advancer.log.read_after(found.position.seq, usize::MAX).await?;
            changed_rows(&records)
        }
        None => u64::MAX,
    };
    match advancer.advance(usable.as_ref(), head, missing).await {
        // Another writer cleaned what this graph would go on from: writers pin nothing.
        Err(AdvanceError::Graph(GraphError::Lake(LakeError::VersionMissing { .. }))) if usable.is_some() => {
            advancer.rebuild(head).await.map_err(failed)
        }
        advanced => advanced.map_err(failed),
    }
}

impl Session {
    pub(super) async fn run(
        &mut self,
        jobs: &mut mpsc::Receiver<Job>,
        mut optimizing: Option<Optimizing>,
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
                if waiting.len() >= self.settings.queue {
                    break;
                }
            }
            // Without a pause between jobs the tick above is never looked at.
            if self.beaten_at.elapsed() >= self.settings.heartbeat
                && let Err(error) = self.beat().await
            {
                break Err(error);
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
            let done = match group::take(&mut waiting, self.settings.group) {
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

    async fn commit_group(&mut self, jobs: Vec<Job>) -> Result<(), CommitError> {
        let mut open = Vec::new();
        for job in jobs {
            let Work::Transaction(transaction) = &job.work else {
                continue;
            };
            match transaction
                .idempotency
                .as_ref()
                .map(|entry| self.known_keys.find(entry))
            {
                Some(Ok(Some(answer))) => answer_to(job, Ok(answer)),
                Some(Err(error)) => answer_to(job, Err(error)),
                Some(Ok(None)) | None => open.push(job),
            }
        }
        let transactions: Vec<Arc<Transaction>> = open
            .iter_mut()
            .filter_map(|job| match &mut job.work {
                Work::Transaction(transaction) => Some(Arc::new(std::mem::take(transaction.as_mut()))),
                Work::Bulk(_) => None,
            })
            .collect();
        if transactions.is_empty() {
            return Ok(());
        }
        // Which rows these touch only the graph of the head can tell.
        if let Err(error) = self.reach_head().await {
            return refuse_all(open, error);
        }
        let checked = self
            .ask(move |graph| {
                let transactions: Vec<&Transaction> = transactions.iter().map(AsRef::as_ref).collect();
                validate(graph, &transactions)
            })
            .await;
        let (plan, verdicts) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                let detail = unavailable(&error).to_string();
                open.into_iter().for_each(|job| {
                    answer_to(
                        job,
                        Err(WriteError::NotCommitted {
                            detail: detail.clone(),
                        }),
                    )
                });
                return Ok(());
            }
        };
        let mut accepted = Vec::new();
        for (job, verdict) in open.into_iter().zip(verdicts) {
            match verdict {
                Ok(()) => accepted.push(job),
                Err(refusal) => answer_to(job, Err(refusal.into())),
            }
        }
        if accepted.is_empty() {
            return Ok(());
        }
        self.commit_and_answer(&plan, None, accepted).await
    }

    pub(super) async fn commit_and_answer(
        &mut self,
        plan: &Plan,
        ahead: Option<Arc<LoadKeys>>,
        jobs: Vec<Job>,
    ) -> Result<(), CommitError> {
        let span = tracing::info_span!("commit", rows = plan.rows());
        if let Some(parent) = &plan.traceparent {
            telemetry::set_parent(&span, parent);
        }
        match Box::pin(self.commit(plan, ahead)).instrument(span).await {
            Ok(record) => {
                self.since_checkpoint += crate::replica::checkpoint_count(1, plan.rows());
                fail::fail_point!("writer::before_answer", |_| Err(CommitError::Crashed(
                    "writer::before_answer"
                )));
                jobs.into_iter()
                    .for_each(|job| answer_to(job, Ok(CommitAnswer::from(&record))));
                Ok(())
            }
            Err(CommitError::NotCommitted(detail)) => {
                tracing::warn!(detail, "a commit failed and was undone");
                jobs.into_iter().for_each(|job| {
                    answer_to(
                        job,
                        Err(WriteError::NotCommitted {
                            detail: detail.clone(),
                        }),
                    )
                });
                self.ensure_graph().await;
                Ok(())
            }
            Err(error) => {
                let ended = Err(error);
                jobs.into_iter().for_each(|job| refuse(job, &ended));
                ended
            }
        }
    }

    /// Hands the commit's event over; nobody waits for it.
    pub(super) fn publish(&self, record: &CommitRecord) {
        if let Some(publisher) = &self.publisher {
            publisher.publish(record);
        }
    }

    /// Runs a question to the graph on a blocking thread.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Graph) -> Result<T, GraphError> + Send + 'static,
    ) -> Result<T, GraphError> {
        let graph = self.advancer.local.writable().ok_or_else(|| GraphError::Engine {
            doing: "validate".to_owned(),
            detail: "the local graph is being rebuilt".to_owned(),
        })?;
        let answered = tokio::task::spawn_blocking(move || question(&graph)).await;
        answered.unwrap_or_else(|error| {
            Err(GraphError::Engine {
                doing: "validate".to_owned(),
                detail: error.to_string(),
            })
        })
    }

    /// After a commit that failed inside the engine the graph is in doubt (rules of the engine).
    pub(super) async fn ensure_graph(&mut self) {
        if self.advancer.local.writable().is_none() && !self.catch_up.is_behind() {
            self.rebuild_graph().await;
        }
    }

    /// Builds the graph of the head from Lance, until it works: without it nothing can be validated.
    pub(super) async fn rebuild_graph(&mut self) {
        let mut wait = std::time::Duration::from_millis(100);
        while let Err(error) = self.advancer.rebuild(&self.watermark).await {
            tracing::error!(%error, retry_in = ?wait, "failed to rebuild the local graph");
            self.advancer
                .progress
                .set_state(NodeState::Degraded(error.to_string()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // The next process builds it: a store that is away must not hold this one.
                () = self.ending.cancelled() => return,
            }
            wait = (wait * 2).min(std::time::Duration::from_secs(10));
        }
    }

    async fn checkpoint(&mut self) {
        // A graph that is being brought forward is not touched from here.
        if self.since_checkpoint < self.settings.checkpoint_commits || self.catch_up.is_behind() {
            return;
        }
        let since = std::mem::take(&mut self.since_checkpoint);
        fail::fail_point!("writer::before_checkpoint");
        match crate::replica::checkpoint(&self.advancer, since, self.settings.checkpoint_commits).await {
            Ok(true) => {
                fail::fail_point!("writer::after_checkpoint");
            }
            Ok(false) => self.since_checkpoint = since,
            Err(error) => {
                tracing::warn!(%error, "failed to checkpoint the local graph");
                self.rebuild_graph().await;
            }
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

/// Where the client is gone, nobody wants the answer; its idempotency key finds it.
pub(super) fn answer_to(job: Job, answer: Result<CommitAnswer, WriteError>) {
    let _ = job.answer.send(answer);
}

/// Tells the clients why; what is not the end of the writer ends here.
pub(super) fn refuse_all(jobs: Vec<Job>, error: CommitError) -> Result<(), CommitError> {
    let ended = match error {
        CommitError::NotCommitted(detail) => {
            for job in jobs {
                let detail = detail.clone();
                answer_to(job, Err(WriteError::NotCommitted { detail }));
            }
            return Ok(());
        }
        error => Err(error),
    };
    jobs.into_iter().for_each(|job| refuse(job, &ended));
    ended
}

fn refuse(job: Job, ended: &Result<(), CommitError>) {
    let error = match ended {
        Ok(()) => WriteError::NotCommitted {
            detail: "the writer is shutting down".to_owned(),
        },
        Err(CommitError::Fenced(detail)) => WriteError::Fenced {
            detail: detail.clone(),
        },
        Err(_) => WriteError::Unknown,
    };
    answer_to(job, Err(error));
}
