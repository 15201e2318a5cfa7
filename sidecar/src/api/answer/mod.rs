//! A query's answer on the wire: the same pieces, in the form that the client accepts.
//!
//! NDJSON and Arrow are streamed: a failure after the first byte can only end them (`Encoder::failure`). JSON is one value
//! whose status must be right, so its text is collected, up to a bound.

mod arrow_stream;
mod cells;
mod json;
mod ndjson;

use std::io;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::accept::AnswerFormat;
use super::problem::{Problem, ProblemKind};
use super::query_run::{RunningQuery, timed_out};
use crate::commit_log::Position;
use crate::graph::{Cell, QueryColumn, QueryEvent};

/// Largest answer in JSON; larger ones can be had as NDJSON or Arrow.
const MAX_JSON_BYTES: usize = 64 << 20;

/// What every form of answer begins with.
#[derive(Debug, Clone)]
pub(super) struct AnswerHead {
    pub(super) columns: Vec<QueryColumn>,
    /// The commit that the answer is computed at.
    pub(super) position: Position,
    pub(super) lag_ms: u64,
}

/// One form of answer. Called in order: `head`, `rows` any number of times, then `end` or `failure`.
trait Encoder: Send {
    fn head(&mut self, head: &AnswerHead) -> io::Result<Bytes>;
    fn rows(&mut self, rows: Vec<Vec<Cell>>) -> io::Result<Bytes>;
    fn end(&mut self, truncated: bool) -> io::Result<Bytes>;
    /// The last bytes after a failure; an error breaks the response off, so that nobody takes it for whole.
    fn failure(&mut self, problem: &Problem) -> io::Result<Bytes>;
}

/// Answers with what `query` brings after its head.
pub(super) async fn respond(
    format: AnswerFormat,
    head: AnswerHead,
    query: RunningQuery,
) -> Result<Response, Problem> {
    let body = match format {
        AnswerFormat::Json => Body::from(collect(&head, query).await?),
        AnswerFormat::Ndjson => stream(ndjson::Ndjson, &head, query)?,
        AnswerFormat::ArrowStream => stream(
            arrow_stream::ArrowStream::new(&head).map_err(broken)?,
            &head,
            query,
        )?,
    };
    let mut response = body.into_response();
    set_headers(response.headers_mut(), format, &head);
    Ok(response)
}

fn set_headers(headers: &mut HeaderMap, format: AnswerFormat, head: &AnswerHead) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(
        HeaderName::from_static("slipstream-seq"),
        HeaderValue::from(head.position.seq.0),
    );
    headers.insert(
        HeaderName::from_static("slipstream-lag-ms"),
        HeaderValue::from(head.lag_ms),
    );
    // A UUID is always a valid header value.
    if let Ok(tx_id) = HeaderValue::from_str(&head.position.tx_id.to_string()) {
        headers.insert(HeaderName::from_static("slipstream-tx-id"), tx_id);
    }
}

async fn collect(head: &AnswerHead, mut query: RunningQuery) -> Result<Vec<u8>, Problem> {
    let mut encoder = json::Json::default();
    let mut text = encoder.head(head).map_err(broken)?.to_vec();
    loop {
        match query.next().await {
            Some(Ok(QueryEvent::Rows(rows))) => text.extend_from_slice(&encoder.rows(rows).map_err(broken)?),
            Some(Ok(QueryEvent::End { truncated })) => {
                text.extend_from_slice(&encoder.end(truncated).map_err(broken)?);
                return Ok(text);
            }
            Some(Ok(QueryEvent::Head(_))) => return Err(second_head()),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(timed_out()),
        }
        if text.len() > MAX_JSON_BYTES {
            let detail = format!(
                "expected at most {MAX_JSON_BYTES} bytes, found more; accept {} or {}, or set a lower limit",
                AnswerFormat::Ndjson.media_type(),
                AnswerFormat::ArrowStream.media_type()
            );
            return Err(Problem::new(ProblemKind::AnswerTooLarge, detail));
        }
    }
}

fn stream(
    mut encoder: impl Encoder + 'static,
    head: &AnswerHead,
    query: RunningQuery,
) -> Result<Body, Problem> {
    let first = encoder.head(head).map_err(broken)?;
    let rest = stream::unfold(Some((query, encoder)), |running| async {
        let (mut query, mut encoder) = running?;
        let (bytes, last) = match query.next().await {
            Some(Ok(QueryEvent::Rows(rows))) => (encoder.rows(rows), false),
            Some(Ok(QueryEvent::End { truncated })) => (encoder.end(truncated), true),
            Some(Ok(QueryEvent::Head(_))) => (encoder.failure(&second_head()), true),
            Some(Err(error)) => (encoder.failure(&error.into()), true),
            None => (encoder.failure(&timed_out()), true),
        };
        if let Err(error) = &bytes {
            tracing::warn!(%error, "an answer was broken off");
        }
        let next = (!last && bytes.is_ok()).then_some((query, encoder));
        Some((bytes, next))
    });
    Ok(Body::from_stream(stream::iter([Ok(first)]).chain(rest)))
}

fn broken(error: io::Error) -> Problem {
    Problem::new(
        ProblemKind::Internal,
        format!("failed to encode the answer: {error}"),
    )
}

fn second_head() -> Problem {
    Problem::new(ProblemKind::Internal, "the graph's answer began twice")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Int64Type};
    use serde_json::{Value, json};
    use tokio::sync::{Semaphore, mpsc};
    use tokio::time::Instant;

    use super::*;
    use crate::graph::GraphError;
    use crate::ids::{Seq, TxId};

    fn head() -> AnswerHead {
        let column = QueryColumn {
            name: "n".to_owned(),
            type_name: "INT64".to_owned(),
            arrow: DataType::Int64,
        };
        AnswerHead {
            columns: vec![column],
            position: Position {
                seq: Seq(4),
                tx_id: TxId::default(),
            },
            lag_ms: 7,
        }
    }

    async fn answered(
        format: AnswerFormat,
        pieces: Vec<Result<QueryEvent, GraphError>>,
    ) -> Result<Response, Problem> {
        let engine = move |events: &mpsc::Sender<QueryEvent>| {
            for piece in pieces {
                events.blocking_send(piece?).unwrap();
            }
            Ok(())
        };
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let query = RunningQuery::start(engine, Instant::now() + Duration::from_secs(3600), permit);
        respond(format, head(), query).await
    }

    fn rows(numbers: &[i64]) -> Result<QueryEvent, GraphError> {
        Ok(QueryEvent::Rows(
            numbers.iter().map(|number| vec![json!(number)]).collect(),
        ))
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn whole() -> Vec<Result<QueryEvent, GraphError>> {
        vec![rows(&[1, 2]), rows(&[3]), Ok(QueryEvent::End { truncated: true })]
    }

    #[tokio::test]
    async fn json_is_one_value_with_the_commit_it_was_computed_at() {
        let response = answered(AnswerFormat::Json, whole()).await.unwrap();
        assert_eq!(response.headers()["slipstream-seq"], "4");
        assert_eq!(response.headers()["slipstream-lag-ms"], "7");
        assert_eq!(
            response.headers()["slipstream-tx-id"],
            TxId::default().to_string()
        );
        let value: Value = serde_json::from_str(&text(response).await).unwrap();
        let columns = json!([{"name": "n", "type": "INT64"}]);
        let tx_id = TxId::default();
        assert_eq!(
            value,
            json!({"columns": columns, "rows": [[1], [2], [3]], "tx_id": tx_id, "seq": 4, "lag_ms": 7, "truncated": true})
        );
        let empty = text(
            answered(AnswerFormat::Json, vec![Ok(QueryEvent::End { truncated: false })])
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(serde_json::from_str::<Value>(&empty).unwrap()["rows"], json!([]));
    }

    #[tokio::test]
    async fn a_failure_after_some_rows_still_has_its_own_status_in_json() {
        let problem = answered(
            AnswerFormat::Json,
            vec![rows(&[1]), Err(GraphError::Query("overflow".to_owned()))],
        )
        .await;
        assert_eq!(problem.unwrap_err().kind(), ProblemKind::QueryFailed);
    }

    #[tokio::test]
    async fn ndjson_has_a_line_per_row_between_head_and_end() {
        let text = text(answered(AnswerFormat::Ndjson, whole()).await.unwrap()).await;
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            (&lines[0]["seq"], &lines[0]["columns"][0]["name"]),
            (&json!(4), &json!("n"))
        );
        assert_eq!(
            lines[1..],
            [json!([1]), json!([2]), json!([3]), json!({"truncated": true})]
        );
    }

    #[tokio::test]
    async fn ndjson_that_fails_ends_with_the_problem() {
        let failed = vec![rows(&[1]), Err(GraphError::Query("overflow".to_owned()))];
        let text = text(answered(AnswerFormat::Ndjson, failed).await.unwrap()).await;
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&last["status"], &last["detail"]),
            (&json!(400), &json!("overflow"))
        );
    }

    #[tokio::test]
    async fn arrow_is_a_stream_of_batches_and_a_failure_leaves_it_without_an_end() {
        let response = answered(AnswerFormat::ArrowStream, whole()).await.unwrap();
        assert_eq!(
            response.headers()[CONTENT_TYPE],
            "application/vnd.apache.arrow.stream"
        );
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_ref(), None).unwrap();
        assert_eq!(reader.schema().metadata()["slipstream.seq"], "4");
        let numbers: Vec<i64> = reader
            .flat_map(|batch| {
                batch
                    .unwrap()
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            })
            .collect();
        assert_eq!(numbers, [1, 2, 3]);

        let failed = vec![rows(&[1]), Err(GraphError::Query("overflow".to_owned()))];
        let response = answered(AnswerFormat::ArrowStream, failed).await.unwrap();
        assert!(
            axum::body::to_bytes(response.into_body(), usize::MAX)
                .await
                .is_err()
        );
    }
}
