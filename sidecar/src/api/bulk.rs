//! `POST /v1/tables/{table}/rows`: a body of rows into one table, as one commit or one commit per `chunk_rows` rows.
//!
//! Flow: body -> `rows::decode_stream` -> `Spooler` (Lance's data files, checks) -> `Writer`. Memory depends on batch size only.
//! A chunked load answers while the body is still being read, so its client must read while it sends.

use std::sync::Arc;

use arrow::array::RecordBatch;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::drain::DrainedBody;
use super::problem::{Problem, ProblemKind};
use super::problem_from::undecodable;
use super::request::{header, idempotency_key, traceparent, url_parameters, writer_of};
use crate::commit_log::IdempotencyEntry;
use crate::rows::{DecodeError, Format, decode_stream};
use crate::schema::TableSchema;
use crate::writer::{CommitAnswer, Refusal, Spooler, WriteError, Writer, idempotency_entry, unknown_table};

/// Largest `chunk_rows`.
const MAX_CHUNK_ROWS: u64 = 1_000_000;
/// Most characters of notes, as in a JSON transaction: they stand in commit records.
const MAX_NOTES: usize = 1024;
const SUPPORTED: &str =
    "application/x-ndjson, application/vnd.apache.arrow.stream, application/vnd.apache.parquet";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    chunk_rows: Option<u64>,
    notes: Option<String>,
}

/// One commit: 200 with its answer. Chunks: NDJSON, one line per commit; a failure after the first is the last line.
pub(super) async fn load(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // From here on every refusal reaches a client that is still sending.
    let body = DrainedBody::from(body);
    let writer = writer_of(&state)?.clone();
    let Path(name) = path.map_err(|error| Problem::new(ProblemKind::MalformedRequest, error.body_text()))?;
    let parameters: Parameters = url_parameters(&uri)?;
    check_chunk_rows(parameters.chunk_rows)?;
    check_notes(parameters.notes.as_deref().unwrap_or_default())?;
    let schema = writer.schema();
    let table = schema.table(&name).ok_or_else(|| {
        Problem::new(
            ProblemKind::UnknownTable,
            unknown_table(&schema, None, &name).to_string(),
        )
        .with("table", &name)
    })?;
    let format = format_of(header(&headers, CONTENT_TYPE.as_str()).unwrap_or_default())?;
    let idempotency_key = idempotency_key(&headers)?;

    let batch_rows = state.settings.bulk_batch_rows;
    let batches = decode_stream(table.clone(), format, body, batch_rows, writer.spool_dir());
    let mut upload = Upload {
        // Asked again after its end by every look for more rows.
        batches: batches.fuse().boxed(),
        rest: None,
        table: table.clone(),
        writer,
        notes: parameters.notes,
        idempotency_key,
        traceparent: traceparent(&headers),
        chunk_rows: parameters.chunk_rows,
        chunks: 0,
        committed_rows: 0,
    };
    let first = upload.commit_first().await?;
    if parameters.chunk_rows.is_none() {
        return Ok(Json(first).into_response());
    }
    let lines = stream::iter([Ok::<_, std::convert::Infallible>(line(&first))])
        .chain(stream::unfold(Some(upload), next_line));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

type Line = Result<Bytes, std::convert::Infallible>;

async fn next_line(upload: Option<Upload>) -> Option<(Line, Option<Upload>)> {
    let mut upload = upload?;
    match upload.commit_next().await {
        Ok(Some(answer)) => Some((Ok(line(&answer)), Some(upload))),
        Ok(None) => None,
        Err(problem) => {
            tracing::debug!(
                detail = problem.detail(),
                table = upload.table.name,
                "a chunked load ended early"
            );
            Some((Ok(line(&problem.to_json())), None))
        }
    }
}

/// A body of rows on its way into commits.
struct Upload {
    batches: BoxStream<'static, Result<RecordBatch, DecodeError>>,
    /// Rows that were decoded and belong to the next chunk.
    rest: Option<RecordBatch>,
    table: Arc<TableSchema>,
    writer: Writer,
    notes: Option<String>,
    idempotency_key: Option<String>,
    traceparent: Option<String>,
    /// None: all rows in one commit.
    chunk_rows: Option<u64>,
    chunks: u64,
    committed_rows: u64,
}

impl Upload {
    /// Commits the first chunk, or the whole body; a body without rows is refused by the spooler.
    async fn commit_first(&mut self) -> Result<CommitAnswer, Problem> {
        let spooler = self.spool().await?;
        self.commit(spooler).await
    }

    /// Commits the next chunk; `None` at the end of the body.
    async fn commit_next(&mut self) -> Result<Option<CommitAnswer>, Problem> {
        if !self.has_rows().await? {
            return Ok(None);
        }
        let spooler = self.spool().await?;
        self.commit(spooler).await.map(Some)
    }

    async fn commit(&mut self, spooler: Spooler) -> Result<CommitAnswer, Problem> {
        let rows = spooler.rows();
        let idempotency = self.idempotency(&spooler.fingerprint())?;
        let load = spooler
            .finish(self.notes.clone(), idempotency, self.traceparent.clone())
            .await;
        let load = load.map_err(|error| self.of_body(error))?;
        let answer = match self.chunk_rows {
            None => self.writer.submit_bulk(load).await,
            // Waits for room in the queue: the client is held back, as its body is not read meanwhile.
            Some(_) => self.writer.submit_bulk_when_free(load).await,
        };
        let answer = answer.map_err(|error| self.of_body(error))?;
        self.chunks += 1;
        self.committed_rows += rows;
        Ok(answer)
    }

    /// Spools up to `chunk_rows` rows.
    async fn spool(&mut self) -> Result<Spooler, Problem> {
        let mut spooler = self
            .writer
            .spooler(self.table.clone(), self.idempotency_key.is_some());
        let mut missing = self.chunk_rows.unwrap_or(u64::MAX);
        while missing > 0 && self.has_rows().await? {
            let Some(batch) = self.rest.take() else { break };
            let taken = usize::try_from(missing)
                .unwrap_or(usize::MAX)
                .min(batch.num_rows());
            if taken < batch.num_rows() {
                self.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            missing -= taken as u64;
            let pushed = spooler.push(batch.slice(0, taken)).await;
            pushed.map_err(|error| self.of_body(error))?;
        }
        Ok(spooler)
    }

    /// Sees to it that `rest` has rows; `false` at the end of the body.
    async fn has_rows(&mut self) -> Result<bool, Problem> {
        while self.rest.as_ref().is_none_or(|rest| rest.num_rows() == 0) {
            match self.batches.next().await {
                Some(batch) => self.rest = Some(batch.map_err(|error| undecodable(&self.table.name, error))?),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The table and notes belong to the request as well: the same rows for another table are another request.
    fn idempotency(&mut self, fingerprint: &str) -> Result<Option<IdempotencyEntry>, Problem> {
        let Some(key) = &self.idempotency_key else {
            return Ok(None);
        };
        let key = if self.chunk_rows.is_some() {
            format!("{key}/{}", self.chunks)
        } else {
            key.clone()
        };
        let request = format!(
            "{}\n{fingerprint}\n{}",
            self.table.name,
            self.notes.as_deref().unwrap_or_default()
        );
        Ok(Some(idempotency_entry(&key, request.as_bytes())?))
    }

    /// The writer counts rows within a chunk; the client counts them within its body.
    fn of_body(&mut self, error: WriteError) -> Problem {
        match error {
            WriteError::Refused(refusal) => refusal_at(refusal, self.committed_rows).into(),
            other => other.into(),
        }
    }
}

fn refusal_at(mut refusal: Refusal, first_row: u64) -> Refusal {
    refusal.row = refusal.row.map(|row| row + first_row);
    refusal
}

fn check_chunk_rows(chunk_rows: Option<u64>) -> Result<(), Problem> {
    match chunk_rows {
        Some(rows) if !(1..=MAX_CHUNK_ROWS).contains(&rows) => {
            let detail = format!("chunk_rows: expected a number from 1 to {MAX_CHUNK_ROWS}, found {rows}");
            Err(Problem::new(ProblemKind::MalformedRequest, detail))
        }
        _ => Ok(()),
    }
}

fn check_notes(notes: &str) -> Result<(), Problem> {
    let length = notes.chars().count();
    if length > MAX_NOTES {
        let detail = format!("notes: expected at most {MAX_NOTES} characters, found {length}");
        return Err(Problem::new(ProblemKind::MalformedRequest, detail));
    }
    Ok(())
}

fn format_of(content_type: &str) -> Result<Format, Problem> {
    Format::from_content_type(content_type).ok_or_else(|| {
        let detail = format!("Content-Type: expected one of {SUPPORTED}, found {content_type:?}");
        Problem::new(ProblemKind::UnsupportedMediaType, detail)
    })
}

/// One line of NDJSON.
fn line(value: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_that_the_error_names_is_supported() {
        for content_type in SUPPORTED.split(", ") {
            assert!(format_of(content_type).is_ok(), "{content_type}");
        }
        let document = format_of("text/csv").unwrap_err().to_json();
        assert_eq!(document["status"], 415);
        assert!(
            document["detail"]
                .as_str()
                .unwrap()
                .contains("application/x-ndjson"),
            "{document}"
        );
    }

    #[test]
    fn a_row_refused_in_a_later_chunk_is_numbered_within_the_body() {
        let refusal = Refusal {
            row: Some(2),
            ..Refusal::whole("no")
        };
        assert_eq!(refusal_at(refusal, 10).row, Some(12));
        assert_eq!(refusal_at(Refusal::whole("no"), 10).row, None);
    }

    #[test]
    fn notes_are_counted_in_characters() {
        assert!(check_notes(&"ü".repeat(MAX_NOTES)).is_ok());
        assert!(check_notes(&"ü".repeat(MAX_NOTES + 1)).is_err());
    }

    #[test]
    fn chunk_rows_outside_its_range_is_refused() {
        for (rows, fits) in [
            (None, true),
            (Some(0), false),
            (Some(1), true),
            (Some(1_000_000), true),
            (Some(1_000_001), false),
        ] {
            assert_eq!(check_chunk_rows(rows).is_ok(), fits, "{rows:?}");
        }
    }
}
