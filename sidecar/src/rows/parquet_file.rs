//! Bodies that are Parquet files: spooled to local disk, because their table of contents is at the end.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;

use super::error::DecodeError;
use super::stream::{BATCH_BYTES, Body, Format, Output, reading};

pub(super) fn decode(body: &mut Body, output: &mut Output, spool_dir: &Path) -> Result<(), DecodeError> {
    let file = spool(body, spool_dir)?;
    let builder = reading(Format::Parquet, || ParquetRecordBatchReaderBuilder::try_new(file))?;
    // A file may hold no batch, but the wrong columns.
    output.conform_and_send(&RecordBatch::new_empty(builder.schema().clone()))?;
    let batch_rows = output.batch_rows.min(rows_in(BATCH_BYTES, builder.metadata()));
    let announced = builder.metadata().file_metadata().num_rows();
    let mut batches = reading(Format::Parquet, || builder.with_batch_size(batch_rows).build())?;
    while let Some(batch) = reading(Format::Parquet, || batches.next().transpose())? {
        output.conform_and_send(&batch)?;
    }
    // The reader goes by row groups and does not look at the file's own count.
    let read = output.next_row;
    if i64::try_from(read).ok() != Some(announced) {
        return reading(Format::Parquet, || {
            Err(format!("it announces {announced} rows and holds {read}"))
        });
    }
    Ok(())
}

/// The file has no name, so that nothing is left of it whenever this process ends.
fn spool(body: &mut Body, spool_dir: &Path) -> Result<File, DecodeError> {
    let mut file = tempfile::tempfile_in(spool_dir).map_err(DecodeError::Spool)?;
    while let Some(chunk) = body.next()? {
        file.write_all(&chunk).map_err(DecodeError::Spool)?;
    }
    Ok(file)
}

/// How many rows of average size fit, in the row group with the largest rows.
fn rows_in(bytes: usize, metadata: &ParquetMetaData) -> usize {
    let groups = metadata.row_groups().iter();
    let row_bytes = groups.map(|group| group.total_byte_size() / group.num_rows().max(1));
    let largest = usize::try_from(row_bytes.max().unwrap_or(0)).unwrap_or(0);
    (bytes / largest.max(1)).max(1)
}
