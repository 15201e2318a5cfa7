//! Cells in their JSON form to Arrow arrays. The inverse of `graph::value`'s way to JSON: integers beyond 2^53 and numbers
//! that are not finite are strings there, bytes are base64; what has no Arrow type of its own becomes its JSON text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate};

use crate::graph::Cell;

/// A cell that is not what its column says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub(super) struct CellError {
    expected: DataType,
    found: String,
}

/// One column of one batch.
///
/// # Errors
/// The first cell that does not fit.
pub(super) fn array(data_type: &DataType, cells: &[&Cell]) -> Result<ArrayRef, CellError> {
    let column = Column { data_type, cells };
    Ok(match data_type {
        DataType::Boolean => Arc::new(column.collect::<_, BooleanArray>(Cell::as_bool)?),
        DataType::Int64 => Arc::new(column.collect::<_, Int64Array>(|cell| parsed(cell, Cell::as_i64))?),
        DataType::UInt64 => Arc::new(column.collect::<_, UInt64Array>(|cell| parsed(cell, Cell::as_u64))?),
        DataType::Float64 => Arc::new(column.collect::<_, Float64Array>(|cell| parsed(cell, Cell::as_f64))?),
        DataType::Date32 => Arc::new(column.collect::<_, Date32Array>(days)?),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = column.collect::<_, TimestampMicrosecondArray>(micros)?;
            Arc::new(micros.with_timezone_opt(zone.clone()))
        }
        DataType::Binary => {
            let values = column.values(|cell| cell.as_str().and_then(|text| STANDARD.decode(text).ok()))?;
            Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>())
        }
        DataType::List(field) => {
            let lists = column.values(Cell::as_array)?;
            let items: Vec<&Cell> = lists.iter().flatten().flat_map(|list| list.iter()).collect();
            let items = array(field.data_type(), &items)?;
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.map_or(0, Vec::len)));
            let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
            let list = ListArray::try_new(field.clone(), offsets, items, Some(nulls));
            Arc::new(list.map_err(|error| column.mismatch(error.to_string()))?)
        }
        DataType::Utf8 => Arc::new(column.collect::<_, StringArray>(|cell| Some(text(cell)))?),
        other => {
            return Err(CellError {
                expected: other.clone(),
                found: "a type that answers do not have".to_owned(),
            });
        }
    })
}

struct Column<'a> {
    data_type: &'a DataType,
    cells: &'a [&'a Cell],
}

impl<'a> Column<'a> {
    /// Nulls stay null; every other cell must have a value.
    fn values<T>(&self, value: impl Fn(&'a Cell) -> Option<T>) -> Result<Vec<Option<T>>, CellError> {
        self.cells
            .iter()
            .map(|cell| match cell {
                Cell::Null => Ok(None),
                cell => value(cell)
                    .map(Some)
                    .ok_or_else(|| self.mismatch(cell.to_string())),
            })
            .collect()
    }

    fn collect<T, A>(&self, value: impl Fn(&'a Cell) -> Option<T>) -> Result<A, CellError>
    where
        A: Array + FromIterator<Option<T>>,
    {
        Ok(self.values(value)?.into_iter().collect())
    }

    fn mismatch(&self, found: String) -> CellError {
        CellError {
            expected: self.data_type.clone(),
            found,
        }
    }
}

/// A number, or the text of one.
fn parsed<T: std::str::FromStr>(cell: &Cell, number: impl Fn(&Cell) -> Option<T>) -> Option<T> {
    number(cell).or_else(|| cell.as_str()?.parse().ok())
}

fn days(cell: &Cell) -> Option<i32> {
    let date: NaiveDate = cell.as_str()?.parse().ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn micros(cell: &Cell) -> Option<i64> {
    DateTime::parse_from_rfc3339(cell.as_str()?)
        .ok()
        .map(|time| time.timestamp_micros())
}

fn text(cell: &Cell) -> String {
    cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;
    use arrow::util::display::array_value_to_string;
    use serde_json::json;

    use super::*;

    fn shown(data_type: &DataType, cells: &[Cell]) -> Vec<String> {
        let array = array(data_type, &cells.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(array.data_type(), data_type);
        (0..array.len())
            .map(|row| {
                if array.is_null(row) {
                    "null".to_owned()
                } else {
                    array_value_to_string(&array, row).unwrap()
                }
            })
            .collect()
    }

    #[test]
    fn every_type_of_an_answer_comes_back_from_its_json_form() {
        let list_of = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        // "UTC" itself can be shown only with a table of time zones, which tests do without.
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        for (data_type, cells, expected) in [
            (
                DataType::Boolean,
                vec![json!(true), json!(null)],
                vec!["true", "null"],
            ),
            (
                DataType::Int64,
                vec![json!(-3), json!("9007199254740993")],
                vec!["-3", "9007199254740993"],
            ),
            (
                DataType::UInt64,
                vec![json!("18446744073709551615")],
                vec!["18446744073709551615"],
            ),
            (
                DataType::Float64,
                vec![json!(1.5), json!("inf"), json!("NaN")],
                vec!["1.5", "inf", "NaN"],
            ),
            (
                DataType::Date32,
                vec![json!("1969-12-31"), json!("2024-02-29")],
                vec!["1969-12-31", "2024-02-29"],
            ),
            (
                utc,
                vec![json!("2024-01-02T03:04:05.000006Z")],
                vec!["2024-01-02T03:04:05.000006Z"],
            ),
            (DataType::Binary, vec![json!("AP8=")], vec!["00ff"]),
            (
                DataType::Utf8,
                vec![json!("a"), json!({"b": 1})],
                vec!["a", r#"{"b":1}"#],
            ),
            (
                list_of(DataType::Int64),
                vec![json!([1, null]), json!(null), json!([])],
                vec!["[1, ]", "null", "[]"],
            ),
        ] {
            assert_eq!(shown(&data_type, &cells), expected, "{data_type}");
        }
    }

    #[test]
    fn a_cell_that_is_not_what_its_column_says_is_refused() {
        let wrong = json!("twelve");
        let error = array(&DataType::Int64, &[&wrong]).unwrap_err();
        assert_eq!(error.to_string(), "expected Int64, found \"twelve\"");
    }
}
