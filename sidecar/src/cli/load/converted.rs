//! Files that are sent in another form than they have: decoded on a blocking thread, sent as an Arrow IPC stream.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema as ArrowSchema;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::error::CliError;
use super::meter::Meter;
use super::{FileFormat, csv};
use crate::schema::TableSchema;

/// Rows of one Arrow message.
const BATCH_ROWS: usize = 16 * 1024;

type Chunks = mpsc::Receiver<io::Result<Bytes>>;

/// Starts to decode `file` as soon as the stream is asked for more than it holds.
pub(super) fn stream(
    file: std::fs::File,
    path: &Path,
    format: FileFormat,
    table: Arc<TableSchema>,
    meter: Arc<Meter>,
) -> BoxStream<'static, io::Result<Bytes>> {
    let (out, chunks) = mpsc::channel(2);
    let path = path.to_owned();
    let decoder = tokio::task::spawn_blocking(move || {
        let file = Counted {
            file,
            meter: Arc::clone(&meter),
        };
        let mut sink = ArrowSink {
            writer: None,
            out,
            meter,
        };
        let outcome = match format {
            FileFormat::Csv => csv::convert(&path, file, &table, &mut sink),
            _ => super::arrow::convert(&path, file, &mut sink),
        };
        if let Err(failure) = outcome.and_then(|()| sink.finish().map_err(|error| stopped(&path, &error))) {
            sink.meter.fail(failure);
            // Nobody is left to break off with when this fails.
            let _ = sink
                .out
                .blocking_send(Err(io::Error::other("the file could not be read to its end")));
        }
    });
    futures::stream::unfold((chunks, Some(decoder)), next_chunk).boxed()
}

/// A channel that closes is the file's end only if the decoder returned.
async fn next_chunk(
    (mut chunks, decoder): (Chunks, Option<JoinHandle<()>>),
) -> Option<(io::Result<Bytes>, (Chunks, Option<JoinHandle<()>>))> {
    if let Some(chunk) = chunks.recv().await {
        return Some((chunk, (chunks, decoder)));
    }
    match decoder?.await {
        Ok(()) => None,
        Err(error) => Some((Err(io::Error::other(error)), (chunks, None))),
    }
}

fn stopped(path: &Path, error: &ArrowError) -> CliError {
    CliError::input(path, format!("it could not be sent to its end: {error}"))
}

/// Counts the bytes that are read.
pub(super) struct Counted {
    file: std::fs::File,
    meter: Arc<Meter>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.meter.add_bytes(bytes as u64);
        Ok(bytes)
    }
}

impl io::Seek for Counted {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Where decoded batches go.
pub(super) struct ArrowSink {
    writer: Option<StreamWriter<Vec<u8>>>,
    out: mpsc::Sender<io::Result<Bytes>>,
    meter: Arc<Meter>,
}

impl ArrowSink {
    /// Must come first, also for a file without rows.
    pub(super) fn begin(&mut self, schema: &ArrowSchema) -> Result<(), ArrowError> {
        self.writer = Some(StreamWriter::try_new(Vec::new(), schema)?);
        Ok(())
    }

    /// Sends a batch, in several if it is large; waits while the connection is slower than the file.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let part = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
            let Some(writer) = &mut self.writer else { continue };
            writer.write(&part)?;
            let bytes = std::mem::take(writer.get_mut());
            self.meter.add_rows(part.num_rows() as u64);
            self.send(bytes)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ArrowError> {
        let Some(mut writer) = self.writer.take() else {
            return Ok(());
        };
        writer.finish()?;
        self.send(std::mem::take(writer.get_mut()))
    }

    /// Fails when the request is over already.
    fn send(&self, bytes: Vec<u8>) -> Result<(), ArrowError> {
        let sent = self.out.blocking_send(Ok(bytes.into()));
        sent.map_err(|_| ArrowError::IpcError("the writer does not take any more".to_owned()))
    }
}
