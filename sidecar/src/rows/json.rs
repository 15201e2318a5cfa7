//! JSON objects to Arrow rows, by the rules of the wire: what each type accepts is in `json_values`.
//!
//! A property left out or null becomes null. List items are never null. An object that names a property twice is refused,
//! where it is read as a [`JsonRow`]: elsewhere the last one has replaced the others already.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::Value;

use super::error::{Mismatch, RowError};
use super::json_cells::ColumnCells;
use super::json_row::JsonRow;
use super::json_values::describe;
use crate::schema::TableSchema;

/// Decodes whole rows. `first_row` is the number of the first one in its operation or body, for errors.
///
/// # Errors
/// The first row, in order, that does not fit the table.
pub fn decode_json_rows<R>(table: &TableSchema, rows: &[R], first_row: u64) -> Result<RecordBatch, RowError>
where
    for<'a> &'a R: Into<RowRef<'a>>,
{
    let mut builder = RowsBuilder::new(table, rows.len());
    for (row, number) in rows.iter().zip(first_row..) {
        builder.append(row, number)?;
    }
    builder.finish()
}

/// A row as it came.
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    value: &'a Value,
    repeated: Option<&'a str>,
}

impl<'a> From<&'a Value> for RowRef<'a> {
    fn from(value: &'a Value) -> Self {
        Self {
            value,
            repeated: None,
        }
    }
}

impl<'a> From<&'a JsonRow> for RowRef<'a> {
    fn from(row: &'a JsonRow) -> Self {
        Self {
            value: row.value(),
            repeated: row.repeated(),
        }
    }
}

/// Collects rows of one table column by column.
pub(super) struct RowsBuilder<'a> {
    table: &'a TableSchema,
    cells: Vec<ColumnCells>,
    /// Column names in order, each with its place in the table.
    by_name: Vec<(&'a str, usize)>,
    rows: usize,
}

impl<'a> RowsBuilder<'a> {
    /// `expected_rows` is a hint.
    pub(super) fn new(table: &'a TableSchema, expected_rows: usize) -> Self {
        let cells = table
            .columns
            .iter()
            .map(|column| ColumnCells::new(column.column_type, expected_rows))
            .collect();
        let mut by_name: Vec<_> = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (column.name.as_str(), index))
            .collect();
        by_name.sort_unstable();
        Self {
            table,
            cells,
            by_name,
            rows: 0,
        }
    }

    /// After an error the builder holds half a row and must be dropped.
    pub(super) fn append<'r>(&mut self, row: impl Into<RowRef<'r>>, number: u64) -> Result<(), RowError> {
        let RowRef { value: row, repeated } = row.into();
        let Value::Object(properties) = row else {
            return Err(RowError {
                row: Some(number),
                column: None,
                expected: "an object with the row's properties".to_owned(),
                found: describe(row),
            });
        };
        if let Some(name) = repeated {
            return Err(Mismatch::new("each property once", "it twice").at(Some(number), name));
        }
        let mut values: Vec<Option<&Value>> = vec![None; self.cells.len()];
        for (name, value) in properties {
            match self
                .by_name
                .binary_search_by_key(&name.as_str(), |(known, _)| known)
            {
                Ok(at) => values[self.by_name[at].1] = Some(value),
                Err(_) => return Err(unknown_column(self.table, name, Some(number))),
            }
        }
        for ((column, cells), value) in self.table.columns.iter().zip(&mut self.cells).zip(values) {
            let outcome = match value {
                None if column.required => Err(Mismatch::new("a value (it is required)", "nothing")),
                Some(Value::Null) if column.required => {
                    Err(Mismatch::new("a value (it is required)", "null"))
                }
                None | Some(Value::Null) => {
                    cells.append_null();
                    Ok(())
                }
                Some(value) => cells.append(value),
            };
            outcome.map_err(|mismatch| mismatch.at(Some(number), &column.name))?;
        }
        self.rows += 1;
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn finish(self) -> Result<RecordBatch, RowError> {
        let arrays: Result<Vec<_>, _> = self.cells.into_iter().map(ColumnCells::finish).collect();
        arrays
            .and_then(|arrays| RecordBatch::try_new(Arc::clone(self.table.arrow()), arrays))
            .map_err(|error| RowError::from_arrow(&error))
    }
}

/// The refusal of a column that the table does not have.
pub(super) fn unknown_column(table: &TableSchema, name: &str, row: Option<u64>) -> RowError {
    let known: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let expected = format!("a property of {} (one of {})", table.name, known.join(", "));
    Mismatch::new(expected, "an unknown property").at(row, name)
}
