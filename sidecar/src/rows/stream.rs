//! A body of rows to a stream of conforming batches, with the decoding on a blocking thread.
//!
//! ```text
//! body (async) ──> Body ──> ndjson | arrow_stream | parquet_file ──> Output ──(bounded channel)──> stream of batches
//!                           └────────── one blocking thread ──────────┘
//! ```
//!
//! Memory: one batch being built, one waiting in the channel, and what a format must hold at once: a line, an Arrow
//! message, a Parquet page per column. Who stops reading the stream stops the body.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::{BoxError, DecodeError};
use super::{arrow_stream, conform, ndjson, parquet_file};
use crate::schema::{ColumnType, TableSchema};

/// About how large a batch may become before it is handed on with fewer rows than asked for.
pub(super) const BATCH_BYTES: usize = 32 * 1024 * 1024;

/// How the rows of a body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Ndjson,
    ArrowStream,
    Parquet,
}

impl Format {
    /// The format a `Content-Type` header names; its parameters and case do not matter.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let media_type = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match media_type.as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Some(Self::Ndjson),
            "application/vnd.apache.arrow.stream" => Some(Self::ArrowStream),
            "application/vnd.apache.parquet" | "application/x-parquet" | "application/parquet" => {
                Some(Self::Parquet)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ndjson => "NDJSON",
            Self::ArrowStream => "Arrow stream",
            Self::Parquet => "Parquet",
        })
    }
}

/// Streams conforming batches of at most `batch_rows` rows (fewer where rows are large) out of a body. Only after the
/// stream's end without an error has the whole body been decoded; an error is the last item. Parquet needs random
/// access, so such a body is first written to an unnamed file in `spool_dir`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn decode_stream<S, E>(
    table: Arc<TableSchema>,
    format: Format,
    body: S,
    batch_rows: usize,
    spool_dir: &Path,
) -> impl Stream<Item = Result<RecordBatch, DecodeError>> + Send + use<S, E>
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let mut body = Body {
        chunks: body.map_err(Into::into).boxed(),
        consumer: sender.clone(),
        runtime: Handle::current(),
    };
    let batch_rows = batch_rows.min(BATCH_BYTES / vector_bytes(&table).max(1)).max(1);
    let mut output = Output {
        table,
        batch_rows,
        next_row: 0,
        consumer: sender,
    };
    let spool_dir = spool_dir.to_owned();
    let decoder = tokio::task::spawn_blocking(move || {
        let outcome = match format {
            Format::Ndjson => ndjson::decode(&mut body, &mut output),
            Format::ArrowStream => arrow_stream::decode(&mut body, &mut output),
            Format::Parquet => parquet_file::decode(&mut body, &mut output, &spool_dir),
        };
        if let Err(error) = outcome {
            // Nobody is left to tell when this fails.
            let _ = output.consumer.blocking_send(Err(error));
        }
    });
    futures::stream::unfold((receiver, Some(decoder)), next_batch)
}

type Batches = mpsc::Receiver<Result<RecordBatch, DecodeError>>;

/// A channel that closes is a body's end only if the decoder returned: a panic must not look like a short body.
async fn next_batch(
    (mut batches, decoder): (Batches, Option<JoinHandle<()>>),
) -> Option<(
    Result<RecordBatch, DecodeError>,
    (Batches, Option<JoinHandle<()>>),
)> {
    if let Some(batch) = batches.recv().await {
        return Some((batch, (batches, decoder)));
    }
    match decoder?.await {
        Ok(()) => None,
        Err(error) => Some((
            Err(DecodeError::Stopped {
                detail: error.to_string(),
            }),
            (batches, None),
        )),
    }
}

/// Bytes per row that a table's vectors take, null or not.
pub(super) fn vector_bytes(table: &TableSchema) -> usize {
    let vector = |column_type| {
        if let ColumnType::Vector(dimension) = column_type {
            dimension as usize
        } else {
            0
        }
    };
    table
        .columns
        .iter()
        .map(|column| vector(column.column_type) * size_of::<f32>())
        .sum()
}

/// The body, as a blocking thread reads it.
pub(super) struct Body {
    chunks: BoxStream<'static, Result<Bytes, BoxError>>,
    consumer: mpsc::Sender<Result<RecordBatch, DecodeError>>,
    runtime: Handle,
}

impl Body {
    /// The next bytes; `None` at the end. Fails as soon as nobody waits for batches any more.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.consumer.closed() => Err(nobody_waits()),
                chunk = self.chunks.next() => chunk.transpose().map_err(DecodeError::Body),
            }
        })
    }
}

/// Where decoded batches go.
pub(super) struct Output {
    pub(super) table: Arc<TableSchema>,
    pub(super) batch_rows: usize,
    /// Number of the next row in the body.
    pub(super) next_row: u64,
    consumer: mpsc::Sender<Result<RecordBatch, DecodeError>>,
}

impl Output {
    /// Brings a batch into the table's form and hands it on, in several if it is large. One without rows only has its
    /// columns checked.
    pub(super) fn conform_and_send(&mut self, batch: &RecordBatch) -> Result<(), DecodeError> {
        if batch.num_rows() == 0 {
            conform(&self.table, batch, self.next_row)?;
        }
        for start in (0..batch.num_rows()).step_by(self.batch_rows) {
            let part = batch.slice(start, self.batch_rows.min(batch.num_rows() - start));
            self.send(conform(&self.table, &part, self.next_row)?)?;
        }
        Ok(())
    }

    /// Hands on a batch that conforms.
    pub(super) fn send(&mut self, batch: RecordBatch) -> Result<(), DecodeError> {
        self.next_row += batch.num_rows() as u64;
        self.consumer.blocking_send(Ok(batch)).map_err(|_| nobody_waits())
    }
}

/// Runs a step of a library's reader. Damaged bytes may make it panic instead of fail; both mean a malformed body.
pub(super) fn reading<T, E: fmt::Display>(
    format: Format,
    step: impl FnOnce() -> Result<T, E>,
) -> Result<T, DecodeError> {
    let detail = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(read)) => return Ok(read),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its reader cannot make sense of it".to_owned(),
    };
    Err(DecodeError::Malformed {
        format,
        line: None,
        detail,
    })
}

fn nobody_waits() -> DecodeError {
    DecodeError::Stopped {
        detail: "nobody waits for its batches".to_owned(),
    }
}
