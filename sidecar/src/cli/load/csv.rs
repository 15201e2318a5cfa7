//! CSV rows to the table's types.
//!
//! The first line names columns, in any order; a column that is left out is null. A cell with nothing in it is null; `""`
//! is an empty string in a string column and null in any other. Lists and vectors are JSON arrays in one cell; dates,
//! timestamps and bytes are written as in JSON (`rows`).
//!
//! Owns: which value a cell's text stands for. Does not own: whether it fits the column: the same decoder as for JSON
//! rows decides that, here, so that the error can name the line.

use std::io::{BufReader, Read};
use std::path::Path;

use crds::ScalarType;
use serde_json::{Map, Value};

use super::super::error::CliError;
use super::converted::ArrowSink;
use super::csv_records::{Cell, Record, RecordError, Records};
use crate::rows::{RowError, decode_json_rows};
use crate::schema::{Column, ColumnType, TableSchema};

/// Rows decoded at a time, and bytes after which fewer are.
const BATCH_ROWS: usize = 8 * 1024;
const BATCH_BYTES: usize = 8 << 20;

/// Sends the rows of the file.
///
/// # Errors
/// The first cell, record or column name that is wrong, with its line.
pub(super) fn convert(
    path: &Path,
    input: impl Read,
    table: &TableSchema,
    sink: &mut ArrowSink,
) -> Result<(), CliError> {
    sink.begin(table.arrow())
        .map_err(|error| CliError::input(path, error))?;
    decode(path, input, table, |batch| {
        sink.write(&batch).map_err(|error| CliError::input(path, error))
    })
}

fn decode(
    path: &Path,
    input: impl Read,
    table: &TableSchema,
    mut send: impl FnMut(arrow::array::RecordBatch) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let malformed = |error: RecordError| wrong(path, error.line, None, error.detail);
    let mut records = Records::new(BufReader::with_capacity(256 * 1024, input));
    let header = records.next().map_err(malformed)?;
    let header = header
        .ok_or_else(|| CliError::input(path, "it is empty; expected a first line with column names"))?;
    let columns = named_columns(path, table, &header)?;

    let mut batch = Batch::default();
    while let Some(record) = records.next().map_err(malformed)? {
        if record.cells.len() != columns.len() {
            let detail = format!(
                "expected {} cells, as in the first line, found {}",
                columns.len(),
                record.cells.len()
            );
            return Err(wrong(path, record.line, None, detail));
        }
        batch.push(&columns, &record);
        if batch.rows.len() >= BATCH_ROWS || batch.bytes >= BATCH_BYTES {
            send(batch.decode(path, table)?)?;
        }
    }
    if batch.rows.is_empty() {
        Ok(())
    } else {
        send(batch.decode(path, table)?)
    }
}

/// The table's columns in the order of the first line.
fn named_columns<'a>(
    path: &Path,
    table: &'a TableSchema,
    header: &Record,
) -> Result<Vec<&'a Column>, CliError> {
    let mut columns: Vec<&Column> = Vec::new();
    for cell in &header.cells {
        let name = cell.text.trim();
        let problem = match table.column(name) {
            Some(column) if columns.iter().any(|known| known.name == column.name) => {
                "is named twice".to_owned()
            }
            Some(column) => {
                columns.push(column);
                continue;
            }
            None => {
                let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
                format!("is not in table {}, which has {}", table.name, names.join(", "))
            }
        };
        return Err(wrong(path, header.line, Some(name), problem));
    }
    Ok(columns)
}

/// Rows that wait to be decoded, with the lines they came from.
#[derive(Default)]
struct Batch {
    rows: Vec<Value>,
    lines: Vec<u64>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, columns: &[&Column], record: &Record) {
        let mut row = Map::new();
        for (column, cell) in columns.iter().zip(&record.cells) {
            self.bytes += cell.text.len();
            row.insert(column.name.clone(), value(column.column_type, cell));
        }
        self.rows.push(Value::Object(row));
        self.lines.push(record.line);
    }

    /// Leaves the batch empty.
    fn decode(&mut self, path: &Path, table: &TableSchema) -> Result<arrow::array::RecordBatch, CliError> {
        let Batch { rows, lines, .. } = std::mem::take(self);
        decode_json_rows(table, &rows, 0).map_err(
            |RowError {
                 row,
                 column,
                 expected,
                 found,
             }| {
                let at = row
                    .and_then(|row| lines.get(usize::try_from(row).ok()?))
                    .or(lines.first());
                let line = at.copied().unwrap_or_default();
                wrong(
                    path,
                    line,
                    column.as_deref(),
                    format!("expected {expected}, found {found}"),
                )
            },
        )
    }
}

/// What a cell stands for. A text that its column cannot mean stays a text, which the decoder then refuses and quotes.
fn value(column_type: ColumnType, cell: &Cell) -> Value {
    let text = cell.text.as_str();
    if text.is_empty() {
        let is_empty_string = cell.quoted && column_type == ColumnType::Scalar(ScalarType::String);
        return if is_empty_string {
            Value::from("")
        } else {
            Value::Null
        };
    }
    let meant = match column_type {
        ColumnType::Scalar(ScalarType::Bool) if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        ColumnType::Scalar(ScalarType::Bool) if text.eq_ignore_ascii_case("false") => {
            Some(Value::Bool(false))
        }
        ColumnType::Scalar(ScalarType::Int64) => text.trim().parse::<i64>().ok().map(Value::from),
        ColumnType::Scalar(ScalarType::Double) => text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(Value::from),
        ColumnType::List(_) | ColumnType::Vector(_) => serde_json::from_str(text).ok(),
        ColumnType::Scalar(_) => None,
    };
    meant.unwrap_or_else(|| Value::from(text))
}

fn wrong(path: &Path, line: u64, column: Option<&str>, detail: String) -> CliError {
    let column = column
        .map(|column| format!(", column {column:?}"))
        .unwrap_or_default();
    CliError::Input {
        path: path.to_owned(),
        place: format!(", line {line}{column}"),
        detail,
    }
}

#[cfg(test)]
mod tests;
