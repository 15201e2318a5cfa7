//! Brings the local graph to a commit: a delta in one transaction, or a rebuild next to the served graph and a swap.
//!
//! Owns: the choice between the two, and what happens when the engine or the comparison with Lance says that the graph is in
//! doubt (rebuild). The writer uses it at takeover and whenever it must throw its graph away.

use std::sync::Arc;
use std::time::Instant;

use crate::commit_log::{CommitLog, CommitRecord, LogError};
use crate::graph::{GraphError, Watermark};
use crate::ids::Seq;
use crate::lake::{Lake, LakeError};
use crate::node::{LocalGraph, NodeState, Progress};
use crate::snapshot::SnapshotError;

use super::feed::feed;

/// Below this many changed rows a delta is always applied in place.
const REBUILD_MIN_ROWS: u64 = 50_000;
/// In-place changes cost four to five times as much per row as a build, replaced edges some twenty-five times
/// (docs/benchmarks.md): from a fifth of the graph on, building it anew is faster.
const REBUILD_SHARE: u64 = 5;

/// Why a node could not reach a commit.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Log(#[from] LogError),
    /// The schema's commit was trimmed or is damaged.
    #[error("commit {seq} names schema version {version}, whose commit holds no schema")]
    SchemaMissing { seq: Seq, version: Seq },
    /// A snapshot could not be restored, for now: its own damage is no error, an older one or a rebuild serves instead.
    #[error("failed to restore a snapshot: {0}")]
    Snapshot(SnapshotError),
    /// A crash point of a test.
    #[error("stopped at crash point {0}")]
    Crashed(&'static str),
}

impl From<SnapshotError> for AdvanceError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Crashed(point) => Self::Crashed(point),
            SnapshotError::Graph(error) => Self::Graph(error),
            error => Self::Snapshot(error),
        }
    }
}

/// What bringing a node forward needs.
#[derive(Clone)]
pub struct Advancer {
    pub lake: Arc<Lake>,
    pub log: CommitLog,
    pub local: Arc<LocalGraph>,
    pub progress: Progress,
}

impl Advancer {
    /// The watermark of a node that holds `record`.
    pub async fn watermark_of(
        &self,
        record: &CommitRecord,
        known: Option<&Watermark>,
    ) -> Result<Watermark, AdvanceError> {
        if let Some(known) = known.filter(|known| known.schema_version == record.schema_version) {
            return Ok(Watermark::of(record, &known.graph_schema));
        }
        if record.schema_version == Seq(0) {
            return Ok(Watermark::of(
                record,
                &crds::GraphSchema {
                    nodes: Vec::new(),
                    edges: Vec::new(),
                },
            ));
        }
        let schema = match &record.schema {
            Some(schema) => Some(schema.clone()),
            None => self
                .log
                .read(record.schema_version)
                .await?
                .and_then(|record| record.schema),
        };
        let schema = schema.ok_or(AdvanceError::SchemaMissing {
            seq: record.seq,
            version: record.schema_version,
        })?;
        Ok(Watermark::of(record, &schema))
    }

    /// Whether `watermark` is a commit of this log: another history's graph must not be continued.
    pub async fn is_ours(&self, watermark: &Watermark) -> Result<bool, AdvanceError> {
        let record = self.log.read(watermark.position.seq).await?;
        Ok(record.is_some_and(|record| {
            record.tx_id == watermark.position.tx_id && record.tables == watermark.tables
        }))
    }

    /// Brings the graph from `from` (`None`: there is none) to `target`; `changed_rows` estimates the delta.
    ///
    /// Guarantees: on `Ok` readers see exactly `target`. On `Err` they see what they saw before, or nothing if that graph is
    /// in doubt; the watermark that holds then is `self.local.current()`'s.
    pub async fn advance(
        &self,
        from: Option<&Watermark>,
        target: &Watermark,
        changed_rows: u64,
    ) -> Result<(), AdvanceError> {
        let in_place = match from {
            Some(from) if from.schema_version == target.schema_version => {
                !self.prefers_rebuild(changed_rows, target).await?
            }
            _ => false,
        };
        if let (Some(from), Some(graph), true) = (from, self.local.writable(), in_place) {
            match Box::pin(self.apply(&graph, from, target)).await {
                Ok(()) => {
                    self.applied(target);
                    return Ok(());
                }
                Err(AdvanceError::Crashed(point)) => return Err(AdvanceError::Crashed(point)),
                // Storage trouble: the graph is fine, the same delta is tried again later.
                Err(
                    error @ AdvanceError::Graph(GraphError::Lake(
                        LakeError::Storage { .. }
                        | LakeError::Connection { .. }
                        | LakeError::VersionMissing { .. },
                    )),
                ) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, seq = %target.position.seq, "cannot apply in place, rebuilding");
                    self.local.doubt();
                    metrics::counter!("slipstream_apply_failures_total").increment(1);
                    if matches!(error, AdvanceError::Graph(GraphError::Diverged { .. })) {
                        metrics::counter!("slipstream_divergences_total").increment(1);
                    }
                }
            }
        }
        Box::pin(self.rebuild(target)).await
    }

    /// Whether the delta is large next to the graph.
    pub async fn prefers_rebuild(&self, changed_rows: u64, target: &Watermark) -> Result<bool, AdvanceError> {
        if changed_rows < REBUILD_MIN_ROWS {
            return Ok(false);
        }
        let mut rows = 0;
        for table in target
            .graph_schema
            .nodes
            .iter()
            .map(|node| &node.name)
            .chain(target.graph_schema.edges.iter().map(|edge| &edge.name))
        {
            if let Some(version) = target.tables.get(table) {
                rows += self.lake.at(table, version).await?.count_rows().await?;
            }
        }
        Ok(changed_rows.saturating_mul(REBUILD_SHARE) > rows)
    }

    async fn apply(
        &self,
        graph: &Arc<crate::graph::Graph>,
        from: &Watermark,
        target: &Watermark,
    ) -> Result<(), AdvanceError> {
        let started = Instant::now();
        let session = graph.begin_apply();
        let fed = feed(&session, &self.lake, graph.schema(), from, target).await;
        let prepared = session.prepare().await;
        let prepared = match (fed, prepared) {
            (Ok(()), Ok(prepared)) => prepared,
            // The engine's own error says more than "the other side went away".
            (Err(GraphError::Abandoned) | Ok(()), Err(error)) | (Err(error), _) => return Err(error.into()),
        };
        fail::fail_point!("replica::before_graph_commit", |_| Err(AdvanceError::Crashed(
            "replica::before_graph_commit"
        )));
        prepared.commit().await?;
        fail::fail_point!("replica::after_graph_commit", |_| Err(AdvanceError::Crashed(
            "replica::after_graph_commit"
        )));
        metrics::histogram!("slipstream_apply_duration_seconds").record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Builds the graph of `target` from Lance and swaps it in under readers.
    pub async fn rebuild(&self, target: &Watermark) -> Result<(), AdvanceError> {
        self.progress.set_state(NodeState::Building);
        fail::fail_point!("replica::before_build", |_| Err(AdvanceError::Crashed(
            "replica::before_build"
        )));
        let (graph, report) = Box::pin(self.local.build(&self.lake, target)).await?;
        fail::fail_point!("replica::before_swap", |_| Err(AdvanceError::Crashed(
            "replica::before_swap"
        )));
        self.local.install(graph)?;
        metrics::counter!("slipstream_rebuilds_total").increment(1);
        let seconds = report.elapsed.as_secs_f64();
        metrics::histogram!("slipstream_rebuild_duration_seconds").record(seconds);
        tracing::info!(seq = %target.position.seq, rows = report.rows, seconds, "built the graph from Lance");
        self.applied(target);
        Ok(())
    }

    fn applied(&self, target: &Watermark) {
        self.progress
            .applied(target.position, target.timestamp, target.epoch);
        self.progress.set_state(NodeState::Following);
    }
}
