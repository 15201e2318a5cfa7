//! A file as the body of a request.
//!
//! A body that ends early must never look whole: whatever goes wrong with the file is an error in the stream, which
//! breaks the request off, and the writer then commits nothing of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio_util::io::ReaderStream;

use super::super::error::CliError;
use super::meter::Meter;
use super::{FileFormat, converted};
use crate::schema::TableSchema;

/// Bytes read from a file at a time.
const READ_BYTES: usize = 256 * 1024;

pub(super) const NDJSON: &str = "application/x-ndjson";
pub(super) const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";
pub(super) const PARQUET: &str = "application/vnd.apache.parquet";

/// What is sent.
pub(super) struct RowsBody {
    pub(super) content_type: &'static str,
    /// Size of the file.
    pub(super) bytes: u64,
    /// Rows of the file, where it tells before it is read.
    pub(super) rows: Option<u64>,
    pub(super) stream: BoxStream<'static, io::Result<Bytes>>,
}

/// Opens the file.
///
/// # Errors
/// When it cannot be opened, or a Parquet file has no readable footer.
pub(super) async fn open(
    path: &Path,
    format: FileFormat,
    table: Arc<TableSchema>,
    meter: Arc<Meter>,
) -> Result<RowsBody, CliError> {
    let unreadable = |error| CliError::read(path, error);
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let metadata = file.metadata().await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(CliError::input(path, "expected a file, found something else"));
    }
    let (content_type, rows, stream) = match format {
        FileFormat::Parquet => (
            PARQUET,
            Some(parquet_rows(path).await?),
            as_it_is(file, path, meter, None),
        ),
        FileFormat::Ndjson => (
            NDJSON,
            None,
            as_it_is(file, path, meter, Some(LineCount::default())),
        ),
        FileFormat::Arrow | FileFormat::Csv => (
            ARROW_STREAM,
            None,
            converted::stream(file.into_std().await, path, format, table, meter),
        ),
    };
    Ok(RowsBody {
        content_type,
        bytes: metadata.len(),
        rows,
        stream,
    })
}

async fn parquet_rows(path: &Path) -> Result<u64, CliError> {
    let owned = path.to_owned();
    let rows = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&owned).map_err(|error| CliError::read(&owned, error))?;
        let parquet = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| CliError::input(&owned, format!("not a Parquet file: {error}")))?;
        Ok::<_, CliError>(parquet.metadata().file_metadata().num_rows())
    });
    let rows = rows
        .await
        .map_err(|error| CliError::read(path, io::Error::other(error)))??;
    Ok(u64::try_from(rows).unwrap_or(0))
}

fn as_it_is(
    file: tokio::fs::File,
    path: &Path,
    meter: Arc<Meter>,
    mut lines: Option<LineCount>,
) -> BoxStream<'static, io::Result<Bytes>> {
    let (path, on_error) = (path.to_owned(), Arc::clone(&meter));
    ReaderStream::with_capacity(file, READ_BYTES)
        .inspect_ok(move |chunk| {
            meter.add_bytes(chunk.len() as u64);
            if let Some(lines) = &mut lines {
                meter.add_rows(lines.count(chunk));
            }
        })
        .inspect_err(move |error| {
            on_error.fail(CliError::read(
                &path,
                io::Error::new(error.kind(), error.to_string()),
            ))
        })
        .boxed()
}

/// Counts the lines that have something on them, each when its first such byte is seen.
#[derive(Debug, Default)]
struct LineCount {
    has_content: bool,
}

impl LineCount {
    fn count(&mut self, chunk: &[u8]) -> u64 {
        let mut rows = 0;
        for &byte in chunk {
            if byte == b'\n' {
                self.has_content = false;
            } else if !self.has_content && !byte.is_ascii_whitespace() {
                self.has_content = true;
                rows += 1;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_across_chunks_and_blank_ones_are_not() {
        for (chunks, rows) in [
            (&["{}\n{}\n"][..], 2),
            (&["{", "}\n\n {}", "\n", "\r\n"], 2),
            (&["{}\n{}"], 2),
            (&["", "\n"], 0),
        ] {
            let mut count = LineCount::default();
            assert_eq!(
                chunks
                    .iter()
                    .map(|chunk| count.count(chunk.as_bytes()))
                    .sum::<u64>(),
                rows,
                "{chunks:?}"
            );
        }
    }
}
