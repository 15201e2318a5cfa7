//! One commit: Lance, Kuzu, the record, Kuzu, the answer. The record is the commit point.
//!
//! Crash behaviour, by the last step done:
//! before the record — nothing happened; Lance versions in no commit are restored over at the next takeover;
//! after it — the commit stands; the local graph is rolled forward or rebuilt from Lance at start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::future::join_all;

use super::load_keys::LoadKeys;
use super::session::Session;
use super::takeover::{self, TakeoverError};
use super::validate::{Plan, TablePlan};
use crate::commit_log::{Append, CommitKind, CommitRecord, LogError, TableChange};
use crate::graph::{Graph, PreparedApply, Watermark};
use crate::ids::{LanceVersion, TxId};
use crate::lake::{CommitTag, LakeError, TableAt, TableWrite, tombstones_schema};
use crate::replica::{AdvanceError, feed};
use crate::schema::TOMBSTONES;

/// How often a commit is redone when another writer's stray version came in between.
const REDO_LIMIT: usize = 3;
/// Waits between attempts to learn what became of the record: first, and at most.
const READ_BACK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Why a commit was not made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Stop: a newer writer is there.
    #[error("fenced: {0}")]
    Fenced(String),
    /// Tell the clients, undo, go on: nothing was committed.
    #[error("{0}")]
    NotCommitted(String),
    /// Stop: the record was created below a log that a newer writer trimmed. Nobody reads it, and what it would have been is
    /// not this writer's to tell.
    #[error("fenced: {0}")]
    Stray(String),
    /// A crash point of a test.
    #[error("stopped at crash point {0}")]
    Crashed(&'static str),
}

/// The graph with the commit in it, not visible yet.
pub(super) enum PreparedGraph {
    Applied(PreparedApply),
    /// A fresh graph, built next to the served one.
    Built(Arc<Graph>),
    /// Nothing: a catch-up brings it after the record.
    Later,
}

impl From<LakeError> for CommitError {
    fn from(error: LakeError) -> Self {
        CommitError::NotCommitted(error.to_string())
    }
}

impl From<TakeoverError> for CommitError {
    fn from(error: TakeoverError) -> Self {
        match error {
            TakeoverError::Fenced { .. } => CommitError::Fenced(error.to_string()),
            other => CommitError::NotCommitted(other.to_string()),
        }
    }
}

impl Session {
    /// Writes one plan as one commit.
    ///
    /// With `ahead`, the keys of a bulk request, the local graph is left where it is and follows later; without, it must hold
    /// the head.
    ///
    /// Guarantees: on `Ok` the record exists for ever, and without `ahead` this writer's readers see it. On `NotCommitted`
    /// nothing is visible anywhere, and Lance and Kuzu are back where they were. On `Fenced` nothing was restored or cleaned.
    pub(super) async fn commit(
        &mut self,
        plan: &Plan,
        ahead: Option<Arc<LoadKeys>>,
    ) -> Result<CommitRecord, CommitError> {
        let started = Instant::now();
        let tx_id = TxId::after(self.head.tx_id, self.clock.unix_millis());
        fail::fail_point!("writer::before_lance", |_| Err(CommitError::Crashed(
            "writer::before_lance"
        )));
        let mut redone = 0;
        let (record, written) = loop {
            match self.write_lance(plan, tx_id).await {
                Ok(done) => break done,
                Err(LakeError::Interference {
                    table,
                    expected,
                    found,
                }) if redone < REDO_LIMIT => {
                    redone += 1;
                    tracing::warn!(table, expected, found, "another writer touched a table");
                    self.undo(touched(plan)).await?;
                }
                Err(error) => {
                    self.undo(touched(plan)).await?;
                    return Err(error.into());
                }
            }
        };
        fail::fail_point!("writer::after_lance", |_| Err(CommitError::Crashed(
            "writer::after_lance"
        )));

        let target = Watermark::of(&record, &self.watermark.graph_schema);
        let prepared = match &ahead {
            Some(_) => PreparedGraph::Later,
            None => match self.prepare_graph(&target, plan.rows()).await {
                Ok(prepared) => prepared,
                Err(error) => {
                    self.advancer.local.doubt();
                    self.undo(touched(plan)).await?;
                    return Err(CommitError::NotCommitted(error.to_string()));
                }
            },
        };
        fail::fail_point!("writer::before_record", |_| Err(CommitError::Crashed(
            "writer::before_record"
        )));

        if let Err(error) = self.put_record(&record).await {
            roll_back(prepared).await;
            return Err(error);
        }
        fail::fail_point!("writer::after_record", |_| Err(CommitError::Crashed(
            "writer::after_record"
        )));

        self.bases.extend(written);
        self.head = record.clone();
        self.known_keys.add(&record);
        match ahead {
            Some(keys) => self.run_ahead(&record, plan.rows(), keys),
            None => self.finish_graph(prepared, target).await,
        }
        fail::fail_point!("writer::before_publish", |_| Err(CommitError::Crashed(
            "writer::before_publish"
        )));
        self.publish(&record);
        metrics::histogram!("slipstream_commit_duration_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("slipstream_commits_total").increment(1);
        metrics::counter!("slipstream_rows_written_total").increment(plan.rows());
        Ok(record)
    }

    /// Step 2: every touched table on top of its base, at the same time.
    async fn write_lance(
        &self,
        plan: &Plan,
        tx_id: TxId,
    ) -> Result<(CommitRecord, Vec<(String, TableAt)>), LakeError> {
        let tag = CommitTag {
            tx_id,
            epoch: self.claim.epoch,
        };
        let now = self.clock.now();
        let tombstones = TablePlan {
            append: tombstone_rows(plan, tx_id, now.timestamp_micros())?
                .into_iter()
                .collect(),
            ..TablePlan::default()
        };
        let touched = plan.tables.iter().map(|(name, table)| (name.as_str(), table));
        let touched = touched.chain((!tombstones.append.is_empty()).then_some((TOMBSTONES, &tombstones)));
        let writes = touched
            .filter(|(_, table)| table.writes())
            .map(|(name, table)| async move {
                let base = self.base(name)?;
                let written = if let Some(staged) = &table.staged {
                    base.write_staged(&table.delete, Some(staged), tag).await?
                } else {
                    let (delete, append) = (table.delete.clone(), table.reader());
                    base.write(TableWrite { delete, append }, tag).await?
                };
                fail::fail_point!("writer::between_tables");
                Ok((name.to_owned(), written))
            });
        // All are awaited, also after a failure: none may go on writing while the others are undone.
        let written: Vec<(String, TableAt)> = join_all(writes)
            .await
            .into_iter()
            .collect::<Result<_, LakeError>>()?;
        let (mut tables, mut manifests) = (self.head.tables.clone(), self.head.manifests.clone());
        for (_, table) in &written {
            table.record_in(&mut tables, &mut manifests)?;
        }
        let changed = plan
            .tables
            .iter()
            .filter(|(_, table)| table.upserted + table.deleted > 0);
        let record = CommitRecord {
            seq: self.head.seq.next(),
            tx_id,
            prev_tx_id: self.head.tx_id,
            epoch: self.claim.epoch,
            timestamp: now,
            kind: CommitKind::Data,
            tables,
            manifests,
            changed: changed
                .map(|(name, table)| TableChange {
                    table: name.clone(),
                    upserted: table.upserted,
                    deleted: table.deleted,
                })
                .collect(),
            schema_version: self.head.schema_version,
            schema: None,
            notes: plan.notes.clone(),
            idempotency: plan.idempotency.clone(),
            traceparent: telemetry::current_traceparent().or_else(|| plan.traceparent.clone()),
        };
        Ok((record, written))
    }

    /// Step 3: the same change in the local graph, by the replicas' own code.
    pub(super) async fn prepare_graph(
        &self,
        target: &Watermark,
        rows: u64,
    ) -> Result<PreparedGraph, AdvanceError> {
        let advancer = &self.advancer;
        if let Some(graph) = advancer.local.writable()
            && !advancer.prefers_rebuild(rows, target).await?
        {
            let session = graph.begin_apply();
            let fed = feed(&session, &advancer.lake, graph.schema(), &self.watermark, target).await;
            let prepared = session.prepare().await;
            return match (fed, prepared) {
                (Ok(()), Ok(prepared)) => Ok(PreparedGraph::Applied(prepared)),
                (Err(crate::graph::GraphError::Abandoned) | Ok(()), Err(error)) => Err(error.into()),
                (Err(error), prepared) => {
                    if let Ok(prepared) = prepared {
                        roll_back(PreparedGraph::Applied(prepared)).await;
                    }
                    Err(error.into())
                }
            };
        }
        let (graph, _) = advancer.local.build(&advancer.lake, target).await?;
        Ok(PreparedGraph::Built(graph))
    }

    /// Step 4, the commit point. Returns only when the outcome is known: an unknown one is never an abort.
    pub(super) async fn put_record(&self, record: &CommitRecord) -> Result<(), CommitError> {
        let mut wait = READ_BACK.0;
        loop {
            let claimed = takeover::Claimed {
                store: self.store.as_ref(),
                log: &self.advancer.log,
                ours: &self.claim,
            };
            match claimed.append(record).await {
                Ok(Append::Committed) => return Ok(()),
                Ok(Append::Taken(other)) => {
                    return Err(CommitError::Fenced(format!(
                        "epoch {} committed seq {} before epoch {} could",
                        other.epoch, other.seq, record.epoch
                    )));
                }
                Err(error @ TakeoverError::Log(LogError::Damaged { .. })) => {
                    return Err(CommitError::Fenced(error.to_string()));
                }
                Err(error @ TakeoverError::Stray(_)) => return Err(CommitError::Stray(error.to_string())),
                Err(error) => {
                    tracing::warn!(%error, seq = %record.seq, retry_in = ?wait, "the outcome of a commit is not known yet");
                    self.advancer.progress.store_failed(&error);
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(READ_BACK.1);
                }
            }
        }
    }

    /// Step 5: makes the commit visible here. It stands already, so a failing graph is built again from Lance.
    pub(super) async fn finish_graph(&mut self, prepared: PreparedGraph, target: Watermark) {
        fail::fail_point!("writer::before_graph_commit");
        let local = &self.advancer.local;
        let done = match prepared {
            PreparedGraph::Applied(prepared) => prepared.commit().await,
            PreparedGraph::Built(graph) => local.install(graph),
            PreparedGraph::Later => return,
        };
        fail::fail_point!("writer::after_graph_commit");
        self.watermark = target;
        match done {
            Ok(()) => {
                let at = &self.watermark;
                self.advancer
                    .progress
                    .applied(at.position, at.timestamp, at.epoch);
                self.advancer
                    .progress
                    .confirmed(at.position.seq, self.clock.now());
            }
            Err(error) => {
                tracing::error!(%error, "the commit stands, but the local graph is in doubt");
                local.doubt();
                self.rebuild_graph().await;
            }
        }
    }

    /// Back to the head after a failure before the record: tables restored, graph rebuilt if it is in doubt.
    ///
    /// Also where a file could not be synced ([`LakeError::NotDurable`]): what was written then is in no version that any later
    /// commit names, so it does not matter that nobody can know any more whether it is on the disk.
    pub(super) async fn undo(&mut self, names: Vec<String>) -> Result<(), CommitError> {
        if !takeover::holds(self.store.as_ref(), &self.claim).await? {
            return Err(CommitError::Fenced("writer.json names another writer".to_owned()));
        }
        for name in names {
            // A base that was restored before is the newest version, although its number is not in any commit.
            let base = self.base(&name)?.version();
            let newest = self.advancer.lake.newest(&name).await?;
            if newest.version() != base {
                let committed = self.head.tables.get(&name).unwrap_or(LanceVersion(base.0));
                let restored = newest.checkout(committed).await?.restore().await?;
                self.bases.insert(name, restored);
            }
        }
        Ok(())
    }

    pub(super) fn base(&self, name: &str) -> Result<&TableAt, LakeError> {
        self.bases.get(name).ok_or_else(|| LakeError::Mismatch {
            table: name.to_owned(),
            version: 0,
            found: "no base version".to_owned(),
            expected: "one from the takeover".to_owned(),
        })
    }
}

/// Tables that a plan may have written.
fn touched(plan: &Plan) -> Vec<String> {
    plan.tables
        .keys()
        .cloned()
        .chain([TOMBSTONES.to_owned()])
        .collect()
}

/// A rolled back apply leaves the graph as it was; a built one is thrown away.
pub(super) async fn roll_back(prepared: PreparedGraph) {
    match prepared {
        PreparedGraph::Applied(prepared) => {
            if let Err(error) = prepared.roll_back().await {
                tracing::warn!(%error, "failed to roll the local graph back");
            }
        }
        PreparedGraph::Built(graph) => graph.retire(),
        PreparedGraph::Later => {}
    }
}

fn tombstone_rows(plan: &Plan, tx_id: TxId, micros: i64) -> Result<Option<RecordBatch>, LakeError> {
    let rows = plan.tombstones.len();
    if rows == 0 {
        return Ok(None);
    }
    let tables = || StringArray::from_iter_values(plan.tombstones.iter().map(|(table, _)| table));
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(StringArray::from(vec![tx_id.to_string(); rows])),
        Arc::new(tables()),
        Arc::new(tables()),
        Arc::new(StringArray::from_iter_values(
            plan.tombstones.iter().map(|(_, key)| key.to_json().to_string()),
        )),
        Arc::new(TimestampMicrosecondArray::from(vec![micros; rows]).with_timezone("UTC")),
    ];
    Ok(Some(RecordBatch::try_new(tombstones_schema(), columns)?))
}
