//! Parquet files through which larger numbers of rows reach the engine (`COPY`, `LOAD FROM`).
//!
//! Columns are named `c0, c1, …` (and `c_from`, `c_to` for an edge's endpoints, `c_rowid`), so that no property name can
//! collide with a variable or a keyword of the statement that reads them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Schema as ArrowSchema, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::GraphError;
use crate::lake::LANCE_ROW_ID;
use crate::rows::{Key, RowKey};
use crate::schema::{ColumnType, FROM, TO, TableSchema};

/// Rows of a row group, and about its bytes: the engine reads as many groups at a time as it has threads, each whole, in memory
/// that its buffer pool does not count.
const GROUP_ROWS: usize = 64 * 1024;
const GROUP_BYTES: usize = 4 << 20;

/// Name of the row id's column in spills.
pub(super) const SPILL_ROW_ID: &str = "c_rowid";

/// A spill being written. The file is removed when the returned [`Spill`] is dropped.
pub(super) struct SpillWriter {
    path: PathBuf,
    writer: ArrowWriter<File>,
    pub(super) rows: u64,
}

/// A finished spill file.
pub(super) struct Spill {
    pub(super) path: PathBuf,
    pub(super) rows: u64,
}

impl Drop for Spill {
    fn drop(&mut self) {
        // A left-over file is removed with the graph's directory at the latest.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl SpillWriter {
    /// Starts a file in `directory`. Blocks.
    pub(super) fn create(directory: &Path, name: &str, batch: &RecordBatch) -> Result<Self, GraphError> {
        let path = directory.join(format!("{name}-{}.parquet", uuid::Uuid::now_v7()));
        let file = File::create(&path).map_err(|source| GraphError::Files {
            doing: "create",
            path: path.clone(),
            source,
        })?;
        // Read once, at once, from the page cache: neither compression nor statistics would pay.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(rows)?;
        Ok(Self {
            path,
            writer,
            rows: 0,
        })
    }

    /// Appends rows. Blocks.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), GraphError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(rows)
    }

    /// Closes the file. Blocks.
    pub(super) fn finish(self) -> Result<Spill, GraphError> {
        self.writer.close().map_err(rows)?;
        Ok(Spill {
            path: self.path,
            rows: self.rows,
        })
    }
}

fn rows(error: impl std::fmt::Display) -> GraphError {
    GraphError::Rows(error.to_string())
}

/// The columns of a table that a spill holds, in file order: name in the table, name in the file, type.
pub(super) fn spill_columns(table: &TableSchema) -> Vec<(&str, String, ColumnType)> {
    let endpoints = if table.is_node() { &[][..] } else { &[FROM, TO][..] };
    let endpoints = endpoints.iter().filter_map(|name| {
        table
            .column(name)
            .map(|column| (column.name.as_str(), format!("c_{name}"), column.column_type))
    });
    let properties = table
        .graph_columns()
        .enumerate()
        .map(|(index, column)| (column.name.as_str(), format!("c{index}"), column.column_type));
    endpoints.chain(properties).collect()
}

/// Rows of a scan or delta of `table`, which carry [`LANCE_ROW_ID`], as a spill holds them.
pub(super) fn spill_batch(table: &TableSchema, batch: &RecordBatch) -> Result<RecordBatch, GraphError> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| GraphError::Rows(format!("table {}: no column {name}", table.name)))
    };
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, spill_name, _) in spill_columns(table) {
        let array = without_time_zone(column(name)?);
        fields.push(Field::new(spill_name, array.data_type().clone(), true));
        arrays.push(array);
    }
    fields.push(Field::new(SPILL_ROW_ID, DataType::Int64, true));
    arrays.push(Arc::new(row_ids(column(LANCE_ROW_ID)?)?));
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).map_err(rows)
}

/// The row ids of a batch in the engine's type.
pub(super) fn row_ids(array: &ArrayRef) -> Result<Int64Array, GraphError> {
    let ids = array
        .as_primitive_opt::<UInt64Type>()
        .ok_or_else(|| GraphError::Rows(format!("row ids are {}, expected UInt64", array.data_type())))?;
    ids.values()
        .iter()
        .map(|id| i64::try_from(*id).map_err(rows))
        .collect::<Result<Vec<i64>, _>>()
        .map(Int64Array::from)
}

/// The engine reads a UTC-adjusted Parquet timestamp as another type; ours are UTC by definition.
fn without_time_zone(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let plain: TimestampMicrosecondArray = array
                .as_primitive::<TimestampMicrosecondType>()
                .clone()
                .with_timezone_opt::<&str>(None);
            Arc::new(plain)
        }
        DataType::List(field) if matches!(field.data_type(), DataType::Timestamp(..)) => {
            let (field, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            let values = without_time_zone(&values);
            let field = Arc::new(field.as_ref().clone().with_data_type(values.data_type().clone()));
            Arc::new(arrow::array::ListArray::new(field, offsets, values, nulls))
        }
        _ => array.clone(),
    }
}

/// Keys with their index, for a bulk lookup: columns `c_i`, then `c_key`, or `c_from`, `c_to` and perhaps `c_key`.
pub(super) fn key_batch(keys: &[&RowKey]) -> Result<RecordBatch, GraphError> {
    let index = Int64Array::from_iter_values(0..keys.len() as i64);
    let mut columns: Vec<(&str, ArrayRef)> = vec![("c_i", Arc::new(index))];
    let column = |pick: KeyPart| -> Result<Option<ArrayRef>, GraphError> {
        let picked: Vec<Option<Key>> = keys.iter().map(|key| pick(key)).collect();
        Ok(match picked.first() {
            Some(Some(Key::Int(_))) => Some(Arc::new(Int64Array::from_iter(picked.iter().map(
                |key| match key {
                    Some(Key::Int(number)) => Some(*number),
                    _ => None,
                },
            )))),
            Some(Some(Key::String(_))) => {
                Some(Arc::new(StringArray::from_iter(picked.iter().map(
                    |key| match key {
                        Some(Key::String(text)) => Some(text.as_ref()),
                        _ => None,
                    },
                ))))
            }
            _ => None,
        })
    };
    for (name, part) in [
        ("c_from", key_from as KeyPart),
        ("c_to", key_to),
        ("c_key", key_key),
    ] {
        columns.extend(column(part)?.map(|array| (name, array)));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .map_err(rows)
}

/// One part of a row's identity, where its kind has that part.
type KeyPart = fn(&RowKey) -> Option<Key>;

fn key_from(key: &RowKey) -> Option<Key> {
    match key {
        RowKey::Edge { from, .. } => Some(from.clone()),
        RowKey::Node(_) => None,
    }
}

fn key_to(key: &RowKey) -> Option<Key> {
    match key {
        RowKey::Edge { to, .. } => Some(to.clone()),
        RowKey::Node(_) => None,
    }
}

fn key_key(key: &RowKey) -> Option<Key> {
    match key {
        RowKey::Edge { key, .. } => key.clone(),
        RowKey::Node(key) => Some(key.clone()),
    }
}
