//! `/v1/status` (where this node stands), `/v1/schema` and `/v1/commits` (the graph's timeline).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiState;
use super::probes;
use super::problem::{Problem, ProblemKind};
use super::request::url_parameters;
use crate::commit_log::{CommitLog, CommitRecord, LogError};
use crate::ids::Seq;
use crate::node::{LocalGraph, NodeState};

const DEFAULT_COMMITS: usize = 100;
const MAX_COMMITS: usize = 1000;
/// Records behind a gap that are read at a time.
const READS: usize = 16;

/// The node's position, and what the node adds to it.
pub(super) async fn status(State(state): State<Arc<ApiState>>) -> Json<Value> {
    let (view, now) = (state.progress.view(), state.progress.clock().now());
    let shown = shown_state(&view.state, &state.local);
    let (name, detail) = state_name(&shown);
    let own = json!({
        "graph": {"namespace": state.graph_name.namespace, "name": state.graph_name.name},
        "role": state.role,
        "state": name,
        "state_detail": detail,
        "seq": view.watermark.map(|watermark| watermark.seq),
        "tx_id": view.watermark.map(|watermark| watermark.tx_id),
        "timestamp": view.watermark_timestamp,
        "head": view.head,
        "lag_commits": view.lag_commits(),
        "lag_ms": view.lag_ms(now),
        "staleness_ms": view.staleness_ms(now),
        "epoch": view.epoch,
        "store": view.store,
        "ready": probes::ready(&state).is_ok(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let mut fields = (state.status_extra)();
    let reports = serde_json::to_value(state.progress.reports().view());
    for part in [own, reports.unwrap_or_default()] {
        if let Value::Object(part) = part {
            fields.extend(part);
        }
    }
    Json(Value::Object(fields))
}

/// What a node is doing, for people. A difference stays until another graph is there, whatever is done about it meanwhile.
pub(super) fn shown_state(state: &NodeState, local: &LocalGraph) -> NodeState {
    match (state, local.difference()) {
        (NodeState::Fenced(_), _) | (_, None) => state.clone(),
        (_, Some(difference)) => NodeState::Diverged(difference),
    }
}

/// A word for the state, and why, where there is a reason.
pub(super) fn state_name(state: &NodeState) -> (&'static str, Option<&str>) {
    match state {
        NodeState::Starting => ("starting", None),
        NodeState::Building => ("building", None),
        NodeState::Following => ("following", None),
        NodeState::Diverged(detail) => ("diverged", Some(detail)),
        NodeState::Degraded(detail) => ("degraded", Some(detail)),
        NodeState::Fenced(detail) => ("fenced", Some(detail)),
    }
}

/// The schema of the commit that readers see, in the resource's form.
pub(super) async fn schema(State(state): State<Arc<ApiState>>) -> Result<Json<crds::GraphSchema>, Problem> {
    let graph = state.local.current();
    let graph = graph.ok_or_else(|| Problem::new(ProblemKind::NotReady, "this node has no graph yet"))?;
    Ok(Json(graph.schema().source().clone()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitsParameters {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// The commits after `after` that the log still holds, oldest first.
pub(super) async fn commits(State(state): State<Arc<ApiState>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let parameters: CommitsParameters = url_parameters(&uri)?;
    let limit = parameters.limit.unwrap_or(DEFAULT_COMMITS);
    if !(1..=MAX_COMMITS).contains(&limit) {
        let detail = format!("limit: expected a number from 1 to {MAX_COMMITS}, found {limit}");
        return Err(Problem::new(ProblemKind::MalformedRequest, detail));
    }
    let commits = held_after(&state.log, Seq(parameters.after), limit).await?;
    Ok(Json(json!({"commits": commits})))
}

/// The log is dense but at its old end: what was trimmed there, and what follows it, only a listing tells apart from the end
/// of the log.
async fn held_after(log: &CommitLog, after: Seq, limit: usize) -> Result<Vec<CommitRecord>, LogError> {
    let mut records = log.read_after(after, limit).await?;
    if records.len() < limit {
        let end = records.last().map_or(after, |record| record.seq);
        let listed = log.listed_after(end, limit - records.len()).await?;
        let behind_gap: Vec<Option<CommitRecord>> = stream::iter(listed)
            .map(|seq| log.read(seq))
            .buffered(READS)
            .try_collect()
            .await?;
        // One that was trimmed since it was listed is not there.
        records.extend(behind_gap.into_iter().flatten());
    }
    Ok(records)
}
