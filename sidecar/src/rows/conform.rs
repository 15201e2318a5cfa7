//! Arrow batches of any origin to batches that match a table exactly: columns by name, lossless conversions only.
//!
//! | property | accepted Arrow types |
//! | --- | --- |
//! | string | Utf8, LargeUtf8, Utf8View |
//! | bool | Boolean |
//! | int64 | Int8…Int64, UInt8…UInt32, UInt64 when every value fits |
//! | double | Float16, Float32, Float64, Int8…Int32, UInt8…UInt32 |
//! | date | Date32, Date64 when in whole days |
//! | timestamp | Timestamp of any unit, when in whole microseconds; one without time zone counts as UTC |
//! | bytes | Binary, LargeBinary, BinaryView, FixedSizeBinary |
//! | list, vector | see `conform_lists` |
//!
//! Any of them may be dictionary-encoded, and a column of type Null is a column of nulls.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray as _, Date32Array, Int64Array, PrimitiveArray, RecordBatch,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, UInt64Type};
use crds::ScalarType;

use super::conform_lists::{lists, vectors};
use super::error::{Mismatch, RowError};
use super::json::unknown_column;
use super::limits::{a_type, check_date, check_length, check_timestamp};
use crate::schema::{Column, ColumnType, TableSchema, scalar_arrow};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// What is wrong with a column, and in which row of the batch; `None` for all of it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) row: Option<usize>,
    pub(super) mismatch: Mismatch,
}

/// Brings a batch into the table's exact form. Columns come in any order; a nullable one may be missing and is then
/// null throughout. `first_row` is the number of the batch's first row in its body, for errors.
///
/// # Errors
/// The first column, in the table's order, that does not fit, with its first such row.
pub fn conform(table: &TableSchema, batch: &RecordBatch, first_row: u64) -> Result<RecordBatch, RowError> {
    let schema = batch.schema();
    for (index, field) in schema.fields().iter().enumerate() {
        if table.column(field.name()).is_none() {
            return Err(unknown_column(table, field.name(), None));
        }
        if schema.index_of(field.name()).is_ok_and(|first| first != index) {
            return Err(Mismatch::new("each column once", "it twice").at(None, field.name()));
        }
    }
    let arrays: Result<Vec<ArrayRef>, RowError> = table
        .columns
        .iter()
        .map(|column| match batch.column_by_name(&column.name) {
            Some(array) => conform_column(column, array).map_err(|Fault { row, mismatch }| {
                mismatch.at(row.map(|row| first_row + row as u64), &column.name)
            }),
            None if column.required => {
                Err(Mismatch::new("a column of this name (it is required)", "none").at(None, &column.name))
            }
            None => Ok(new_null_array(&column.column_type.arrow(), batch.num_rows())),
        })
        .collect();
    RecordBatch::try_new(Arc::clone(table.arrow()), arrays?).map_err(|error| RowError::from_arrow(&error))
}

fn conform_column(column: &Column, array: &ArrayRef) -> Result<ArrayRef, Fault> {
    let array = unpacked(array, &column.column_type.arrow())?;
    if column.required
        && let Some(row) = first_null(&array)
    {
        return Err(Fault {
            row: Some(row),
            mismatch: Mismatch::new("a value (it is required)", "null"),
        });
    }
    match column.column_type {
        ColumnType::Scalar(scalar) => scalars(scalar, &array),
        ColumnType::List(scalar) => lists(scalar, &array),
        ColumnType::Vector(dimension) => vectors(dimension, &array),
    }
}

/// Without dictionary encoding, and with a real type where the sender knew none because all is null.
fn unpacked(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, Fault> {
    match array.data_type() {
        DataType::Null => Ok(new_null_array(target, array.len())),
        DataType::Dictionary(_, values) => cast_whole(array, values),
        _ => Ok(Arc::clone(array)),
    }
}

/// Converts a column of one of the accepted types into the scalar's Arrow type.
pub(super) fn scalars(scalar: ScalarType, array: &ArrayRef) -> Result<ArrayRef, Fault> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, FixedSizeBinary, Float16, Float32, Float64, Int8, Int16,
        Int32, Int64, LargeBinary, LargeUtf8, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    let target = scalar_arrow(scalar);
    let array = unpacked(array, &target)?;
    match (scalar, array.data_type()) {
        (ScalarType::String, Utf8 | LargeUtf8 | Utf8View) => {
            let array = cast_whole(&array, &target)?;
            check_lengths("a string", &array, array.as_string::<i32>().value_offsets())?;
            Ok(array)
        }
        (ScalarType::Bytes, Binary | LargeBinary | BinaryView | FixedSizeBinary(_)) => {
            let array = cast_whole(&array, &target)?;
            check_lengths("bytes", &array, array.as_binary::<i32>().value_offsets())?;
            Ok(array)
        }
        (ScalarType::Bool, Boolean) => Ok(array),
        (ScalarType::Int64, Int64 | Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32) => {
            cast_whole(&array, &target)
        }
        (ScalarType::Int64, UInt64) => unsigned(&array),
        (
            ScalarType::Double,
            Float64 | Float16 | Float32 | Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32,
        ) => cast_whole(&array, &target),
        (ScalarType::Date, Date32) => {
            each(array.as_primitive::<Date32Type>(), check_date)?;
            Ok(array)
        }
        (ScalarType::Date, Date64) => whole_days(&array),
        (ScalarType::Timestamp, Timestamp(unit, _)) => whole_micros(&array, *unit),
        (_, other) => Err(wrong_type(ColumnType::Scalar(scalar), other)),
    }
}

fn unsigned(array: &ArrayRef) -> Result<ArrayRef, Fault> {
    let numbers = array.as_primitive::<UInt64Type>();
    each(numbers, |number| match i64::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(Mismatch::new("an int64", number.to_string())),
    })?;
    let converted: Int64Array = numbers.unary(|number| number as i64);
    Ok(Arc::new(converted))
}

fn whole_days(array: &ArrayRef) -> Result<ArrayRef, Fault> {
    let millis = cast_whole(array, &DataType::Int64)?;
    let days = convert(millis.as_primitive::<Int64Type>(), |millis| {
        let days = i32::try_from(millis / MILLIS_PER_DAY)
            .ok()
            .filter(|_| millis % MILLIS_PER_DAY == 0);
        let found = || format!("{millis} ms since 1970-01-01");
        let days = days.ok_or_else(|| Mismatch::new("a date in whole days", found()))?;
        check_date(days)?;
        Ok(days)
    })?;
    Ok(Arc::new(days as Date32Array))
}

fn whole_micros(array: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef, Fault> {
    let counts = cast_whole(array, &DataType::Int64)?;
    let micros: TimestampMicrosecondArray = convert(counts.as_primitive::<Int64Type>(), |count| {
        let (micros, unit) = match unit {
            TimeUnit::Second => (count.checked_mul(1_000_000), "s"),
            TimeUnit::Millisecond => (count.checked_mul(1_000), "ms"),
            TimeUnit::Microsecond => (Some(count), "µs"),
            TimeUnit::Nanosecond => ((count % 1_000 == 0).then_some(count / 1_000), "ns"),
        };
        let found = || format!("{count} {unit} since 1970-01-01");
        let micros = micros.ok_or_else(|| Mismatch::new("a timestamp in whole microseconds", found()))?;
        check_timestamp(micros)?;
        Ok(micros)
    })?;
    Ok(Arc::new(micros.with_timezone("UTC")))
}

/// Casts a column between types where every value has its exact counterpart; what is left to fail is an offset overflow.
pub(super) fn cast_whole(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, Fault> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    let refuse_instead_of_null = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, target, &refuse_instead_of_null).map_err(|error| Fault {
        row: None,
        mismatch: Mismatch::new("a column that fits one batch", error.to_string()),
    })
}

pub(super) fn wrong_type(column_type: ColumnType, found: &DataType) -> Fault {
    Fault {
        row: None,
        mismatch: Mismatch::new(a_type(column_type), format!("Arrow type {found}")),
    }
}

pub(super) fn first_null(array: &dyn Array) -> Option<usize> {
    if array.null_count() == 0 {
        None
    } else {
        (0..array.len()).find(|row| array.is_null(*row))
    }
}

fn check_lengths(noun: &str, array: &dyn Array, offsets: &[i32]) -> Result<(), Fault> {
    for (row, bounds) in offsets.windows(2).enumerate() {
        if let Err(mismatch) = check_length(noun, (bounds[1] - bounds[0]) as usize)
            && array.is_valid(row)
        {
            return Err(Fault {
                row: Some(row),
                mismatch,
            });
        }
    }
    Ok(())
}

/// Checks every value that is not null.
fn each<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    check: impl Fn(T::Native) -> Result<(), Mismatch>,
) -> Result<(), Fault> {
    for (row, value) in array.values().iter().enumerate() {
        // Whatever stands beneath a null is not a value.
        if let Err(mismatch) = check(*value)
            && array.is_valid(row)
        {
            return Err(Fault {
                row: Some(row),
                mismatch,
            });
        }
    }
    Ok(())
}

/// Converts every value that is not null.
fn convert<T: ArrowPrimitiveType>(
    array: &Int64Array,
    conversion: impl Fn(i64) -> Result<T::Native, Mismatch>,
) -> Result<PrimitiveArray<T>, Fault> {
    let mut values = Vec::with_capacity(array.len());
    for (row, value) in array.iter().enumerate() {
        values.push(match value {
            None => T::Native::default(),
            Some(value) => conversion(value).map_err(|mismatch| Fault {
                row: Some(row),
                mismatch,
            })?,
        });
    }
    Ok(PrimitiveArray::new(values.into(), array.nulls().cloned()))
}
