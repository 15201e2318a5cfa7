//! The digest of a table at one version, streamed: what a scrub compares the graph with.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use crds::ScalarType;
use futures::TryStreamExt;

use super::{LANCE_ROW_ID, LakeError, SCAN_BATCH_ROWS, SCAN_BUFFER_BYTES, TableAt};
use crate::schema::{ColumnType, TableSchema};
use crate::scrub::{RowHasher, TableDigest};

/// Batches and fragments that Lance decodes ahead: a scrub has time, and clients have not.
const READ_AHEAD: usize = 1;

impl TableAt {
    /// Hashes every row of this version as the graph would hold it: vectors are left out, the row id is in.
    ///
    /// Memory: a batch, and what Lance reads ahead.
    pub async fn digest(&self, table: &TableSchema) -> Result<TableDigest, LakeError> {
        let columns: Vec<(String, ColumnType)> = table
            .columns
            .iter()
            .filter(|column| !matches!(column.column_type, ColumnType::Vector(_)))
            .map(|column| (column.name.clone(), column.column_type))
            .collect();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let failed = || LakeError::storage("scan", self.name());
        let mut scanner = self.dataset.scan();
        scanner
            .project(&names)
            .map_err(failed())?
            .with_row_id()
            .batch_size(SCAN_BATCH_ROWS)
            .batch_readahead(READ_AHEAD)
            .fragment_readahead(READ_AHEAD)
            .io_buffer_size(SCAN_BUFFER_BYTES);
        let mut batches = scanner.try_into_stream().await.map_err(failed())?;
        let mut hasher = RowHasher::default();
        while let Some(batch) = batches.try_next().await.map_err(failed())? {
            let (columns, name) = (columns.clone(), self.name().to_owned());
            let hashed = tokio::task::spawn_blocking(move || {
                add_batch(&mut hasher, &name, &columns, &batch).map(|()| hasher)
            });
            hasher = hashed
                .await
                .map_err(|error| self.mismatch(error.to_string(), "rows that can be read"))??;
        }
        let (digest, counted) = (hasher.digest(), self.count_rows().await?);
        if digest.rows != counted {
            let found = format!("{} rows in a scan, {counted} by its metadata", digest.rows);
            return Err(self.mismatch(found, "as many in both"));
        }
        Ok(digest)
    }
}

fn add_batch(
    hasher: &mut RowHasher,
    table: &str,
    columns: &[(String, ColumnType)],
    batch: &RecordBatch,
) -> Result<(), LakeError> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| LakeError::Mismatch {
            table: table.to_owned(),
            version: 0,
            found: "a scan without it".to_owned(),
            expected: format!("a column {name}"),
        })
    };
    let ids = column(LANCE_ROW_ID)?.as_primitive::<UInt64Type>();
    let columns: Vec<(ColumnType, &dyn Array)> = columns
        .iter()
        .map(|(name, column_type)| Ok((*column_type, column(name)?.as_ref())))
        .collect::<Result<_, LakeError>>()?;
    for row in 0..batch.num_rows() {
        hasher.int(ids.value(row).cast_signed());
        for (column_type, array) in &columns {
            add_cell(hasher, *column_type, *array, row);
        }
        hasher.end_row();
    }
    Ok(())
}

fn add_cell(hasher: &mut RowHasher, column_type: ColumnType, array: &dyn Array, row: usize) {
    match column_type {
        _ if array.is_null(row) => hasher.null(),
        ColumnType::Scalar(scalar) => add_scalar(hasher, scalar, array, row),
        ColumnType::List(scalar) => {
            let items = array.as_list::<i32>().value(row);
            hasher.list(items.len());
            for item in 0..items.len() {
                add_cell(hasher, ColumnType::Scalar(scalar), &items, item);
            }
        }
        ColumnType::Vector(_) => {}
    }
}

fn add_scalar(hasher: &mut RowHasher, scalar: ScalarType, array: &dyn Array, row: usize) {
    match scalar {
        ScalarType::String => hasher.bytes(array.as_string::<i32>().value(row).as_bytes()),
        ScalarType::Bytes => hasher.bytes(array.as_binary::<i32>().value(row)),
        ScalarType::Bool => hasher.bool(array.as_boolean().value(row)),
        ScalarType::Int64 => hasher.int(array.as_primitive::<Int64Type>().value(row)),
        ScalarType::Double => hasher.double(array.as_primitive::<Float64Type>().value(row)),
        ScalarType::Date => hasher.int(array.as_primitive::<Date32Type>().value(row).into()),
        ScalarType::Timestamp => hasher.int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
    }
}
