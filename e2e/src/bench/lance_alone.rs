//! Lance alone: the rows of Parquet files appended to fresh tables on the local disk, one append per table.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow::array::RecordBatchIterator;
use lance::Dataset;
use lance::dataset::WriteParams;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use slipstream_e2e::debian::{EDGES, PACKAGE, parquet_file};

/// How long the appends took, reading the files included; creating the empty tables is not.
///
/// # Errors
/// When a file cannot be read or Lance refuses.
pub(super) async fn append(example: &Path) -> anyhow::Result<Duration> {
    let directory = tempfile::tempdir().context("failed to make a directory for Lance")?;
    let mut took = Duration::ZERO;
    for table in [PACKAGE, EDGES[0], EDGES[1]] {
        let file = parquet_file(example, table);
        let mut dataset = empty_table(&directory.path().join(format!("{table}.lance")), &file).await?;
        let started = Instant::now();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file)?)?.build()?;
        dataset
            .append(reader, None)
            .await
            .with_context(|| format!("failed to append to {table}"))?;
        took += started.elapsed();
    }
    Ok(took)
}

/// With stable row ids, as Slipstream's tables are.
async fn empty_table(directory: &Path, columns_of: &Path) -> anyhow::Result<Dataset> {
    let schema = ParquetRecordBatchReaderBuilder::try_new(File::open(columns_of)?)?
        .schema()
        .clone();
    let params = WriteParams {
        enable_stable_row_ids: true,
        ..WriteParams::default()
    };
    let uri = directory.to_string_lossy().into_owned();
    let created = Dataset::write(RecordBatchIterator::new([], schema), uri.as_str(), Some(params)).await;
    created.with_context(|| format!("failed to create {uri}"))
}
