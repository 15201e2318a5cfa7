//! `POST /v1/query` on either role: guard, floors, one of the permits, then the graph.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::ApiState;
use super::accept::AnswerFormat;
use super::answer::{self, AnswerHead};
use super::drain::DrainedBody;
use super::floors::{self, Floor};
use super::json_body::json_body;
use super::problem::{Problem, ProblemKind};
use super::query_run::{RunningQuery, timed_out};
use crate::graph::{QueryEvent, QueryRequest};
use crate::ids::TxId;
use crate::query_guard;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryBody {
    query: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    min_tx: Option<TxId>,
    max_staleness_ms: Option<u64>,
    #[serde(default)]
    strong: bool,
    timeout_ms: Option<u64>,
    limit: Option<u64>,
}

/// Answers in the form that `Accept` names. The timeout covers everything: waiting, running and sending the answer.
pub(super) async fn answer(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = DrainedBody::from(body);
    let format = AnswerFormat::of(&headers)?;
    let body = json_body::<QueryBody>(&headers, body, state.settings.max_body_bytes).await?;
    query_guard::check(&body.query)?;
    let limits = &state.settings;
    let limit = within("limit", body.limit, limits.default_limit, limits.max_limit)?;
    let (default_ms, max_ms) = (millis(limits.default_timeout), millis(limits.max_timeout));
    let timeout_ms = within("timeout_ms", body.timeout_ms, default_ms, max_ms)?;
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);

    let min_seq = if body.strong {
        Some(floors::head_of_log(&state, deadline).await?)
    } else {
        None
    };
    let floor = Floor {
        min_tx: body.min_tx,
        min_seq,
        max_staleness_ms: body.max_staleness_ms,
    };
    floors::wait(&state, &floor, deadline).await?;
    let permit = timeout_at(deadline, state.queries.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = permit else {
        return Err(Problem::new(
            ProblemKind::Busy,
            format!("no other query ended within {timeout_ms} ms"),
        ));
    };
    // The state may have grown too old while other queries ran.
    floors::wait(&state, &floor, deadline).await?;

    let graph = state.local.current().ok_or_else(|| no_graph(&state))?;
    let timeout = deadline.saturating_duration_since(Instant::now());
    let request = QueryRequest {
        text: body.query,
        parameters: body.parameters,
        timeout,
        limit,
    };
    let mut query = RunningQuery::start(move |events| graph.query(&request, events), deadline, permit);
    let head = match query.next().await {
        Some(Ok(QueryEvent::Head(head))) => head,
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(_)) => {
            return Err(Problem::new(
                ProblemKind::Internal,
                "the graph's answer began without its columns",
            ));
        }
        None => return Err(timed_out()),
    };
    let (view, now) = (state.progress.view(), state.progress.clock().now());
    let position = head.watermark.position;
    if !floor.holds_at(position) {
        return Err(floor.not_reached(&view, now));
    }
    let lag_ms = if position.seq >= view.head.seq {
        0
    } else {
        view.lag_ms(now)
    };
    answer::respond(
        format,
        AnswerHead {
            columns: head.columns,
            position,
            lag_ms,
        },
        query,
    )
    .await
}

/// A number from 1 to `max`.
fn within(name: &str, asked: Option<u64>, default: u64, max: u64) -> Result<u64, Problem> {
    match asked {
        None => Ok(default),
        Some(number) if (1..=max).contains(&number) => Ok(number),
        Some(number) => {
            let detail = format!("{name}: expected a number from 1 to {max}, found {number}");
            Err(Problem::new(ProblemKind::MalformedRequest, detail))
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn no_graph(state: &ApiState) -> Problem {
    let why = match state.local.difference() {
        Some(_) => "this node's graph differed from Lance and is given up; another is being built",
        None => "this node has no graph yet; it is being built from the store",
    };
    Problem::new(ProblemKind::NoGraph, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept_and_never_bent() {
        assert_eq!(within("limit", None, 10, 20), Ok(10));
        assert_eq!(within("limit", Some(20), 10, 20), Ok(20));
        for wrong in [0, 21] {
            let problem = within("limit", Some(wrong), 10, 20).unwrap_err();
            assert_eq!(
                problem.detail(),
                format!("limit: expected a number from 1 to 20, found {wrong}")
            );
        }
    }

    #[test]
    fn unknown_fields_and_a_min_tx_that_is_no_uuid_are_refused() {
        let parse = serde_json::from_str::<QueryBody>;
        assert!(parse(r#"{"query": "RETURN 1"}"#).is_ok());
        assert!(
            parse(r#"{"query": "RETURN 1", "qurey": 1}"#)
                .unwrap_err()
                .to_string()
                .contains("qurey")
        );
        assert!(parse(r#"{"query": "RETURN 1", "min_tx": "42"}"#).is_err());
    }
}
