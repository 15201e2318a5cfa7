//! The identity of rows: read from the JSON of a delete, taken from batches, written as a batch of its own.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use serde_json::Value;

use super::error::{Mismatch, RowError};
use super::json_values::{describe, int64, string};
use super::{Key, KeyColumns, RowKey};
use crate::schema::{Column, FROM, TO, TableKind, TableSchema};

/// Decodes the keys of a delete: a plain scalar for a node; `{"from", "to"}` for an edge, with its key property under its
/// own name where the edge table declares one.
///
/// # Errors
/// The first key that does not fit; its `row` is the place in `keys`.
pub fn decode_json_keys(table: &TableSchema, keys: &[Value]) -> Result<Vec<RowKey>, RowError> {
    keys.iter()
        .zip(0..)
        .map(|(value, number)| match &table.kind {
            TableKind::Node { primary_key } => {
                decode_key(&table.columns[*primary_key], Some(value), number).map(RowKey::Node)
            }
            TableKind::Edge { key, .. } => decode_edge_key(table, *key, value, number),
        })
        .collect()
}

fn decode_edge_key(
    table: &TableSchema,
    key: Option<usize>,
    value: &Value,
    number: u64,
) -> Result<RowKey, RowError> {
    let known: Vec<&str> = table
        .key_columns()
        .into_iter()
        .map(|index| table.columns[index].name.as_str())
        .collect();
    let shape = format!("an edge's key with exactly {}", known.join(", "));
    let Value::Object(fields) = value else {
        return Err(RowError {
            row: Some(number),
            column: None,
            expected: shape,
            found: describe(value),
        });
    };
    if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Mismatch::new(shape, "an unknown field").at(Some(number), unknown));
    }
    let part = |index: usize| {
        let column = &table.columns[index];
        decode_key(column, fields.get(&column.name), number)
    };
    let [from, to] = [position(table, FROM), position(table, TO)];
    Ok(RowKey::Edge {
        from: part(from)?,
        to: part(to)?,
        key: key.map(part).transpose()?,
    })
}

fn position(table: &TableSchema, name: &str) -> usize {
    table
        .columns
        .iter()
        .position(|column| column.name == name)
        .unwrap_or_default()
}

fn decode_key(column: &Column, value: Option<&Value>, number: u64) -> Result<Key, RowError> {
    let decoded = match (value, column.column_type.arrow()) {
        (None, _) => Err(Mismatch::new("a value (it is part of the key)", "nothing")),
        (Some(value), DataType::Int64) => int64(value).map(Key::Int),
        (Some(value), _) => string(value).map(|text| Key::String(text.into())),
    };
    decoded.map_err(|mismatch| mismatch.at(Some(number), &column.name))
}

/// The identity of every row of a batch that conforms to `table`.
///
/// # Panics
/// When the batch does not conform.
pub fn row_keys(table: &TableSchema, batch: &RecordBatch) -> Vec<RowKey> {
    let columns = KeyColumns::of(table, batch);
    (0..batch.num_rows()).map(|row| columns.row_key(row)).collect()
}

/// A batch of the key columns only, under their names in the table, in the order of `keys`.
///
/// # Errors
/// A key that is not one of this table.
pub fn keys_batch(table: &TableSchema, keys: &[RowKey]) -> Result<RecordBatch, ArrowError> {
    let indices = table.key_columns();
    let schema = table.arrow().project(&indices)?;
    let arrays = (0..indices.len()).map(|part| {
        let values = keys.iter().map(|key| key_part(key, indices.len(), part));
        // A value of the wrong kind becomes null here, which the schema then refuses.
        let array: ArrayRef = match schema.field(part).data_type() {
            DataType::Int64 => Arc::new(
                values
                    .map(|value| {
                        if let Some(Key::Int(number)) = value {
                            Some(*number)
                        } else {
                            None
                        }
                    })
                    .collect::<Int64Array>(),
            ),
            _ => Arc::new(
                values
                    .map(|value| {
                        if let Some(Key::String(text)) = value {
                            Some(&**text)
                        } else {
                            None
                        }
                    })
                    .collect::<StringArray>(),
            ),
        };
        array
    });
    let arrays = arrays.collect();
    RecordBatch::try_new(Arc::new(schema), arrays)
}

/// One part of a key that has `parts` parts; `None` when this key has another number of them.
fn key_part(key: &RowKey, parts: usize, part: usize) -> Option<&Key> {
    match (key, parts, part) {
        (RowKey::Node(key), 1, 0) => Some(key),
        (RowKey::Edge { from, key, .. }, _, 0) if parts == 2 + usize::from(key.is_some()) => Some(from),
        (RowKey::Edge { to, key, .. }, _, 1) if parts == 2 + usize::from(key.is_some()) => Some(to),
        (RowKey::Edge { key, .. }, 3, 2) => key.as_ref(),
        _ => None,
    }
}
