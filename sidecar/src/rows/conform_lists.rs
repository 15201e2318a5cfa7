//! List and vector columns of Arrow batches: List, LargeList or FixedSizeList into the form the table has.
//!
//! A list may be null, its items never. A vector's items are Float32 or Float64, finite, and exactly as many as its
//! dimension says; a Float64 becomes the nearest Float32.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, FixedSizeListArray, Float32Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{ArrowNativeType as _, DataType, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use crds::ScalarType;

use super::conform::{Fault, first_null, scalars, wrong_type};
use super::error::Mismatch;
use super::limits::{a_type, check_dimension, vector_item};
use crate::schema::ColumnType;

pub(super) fn lists(scalar: ScalarType, array: &ArrayRef) -> Result<ArrayRef, Fault> {
    let column_type = ColumnType::List(scalar);
    let rows = Rows::of(array).ok_or_else(|| wrong_type(column_type, array.data_type()))??;
    if let Some(item) = first_null(&rows.items) {
        return Err(rows.fault(item, Mismatch::new(a_type(ColumnType::Scalar(scalar)), "null")));
    }
    let items = scalars(scalar, &rows.items).map_err(|fault| match fault.row {
        Some(item) => rows.fault(item, fault.mismatch),
        None => fault,
    })?;
    let DataType::List(field) = column_type.arrow() else {
        return Err(wrong_type(column_type, array.data_type()));
    };
    let list = ListArray::try_new(
        field,
        OffsetBuffer::from_lengths(rows.lengths),
        items,
        array.nulls().cloned(),
    );
    Ok(Arc::new(list.map_err(too_large)?))
}

pub(super) fn vectors(dimension: u32, array: &ArrayRef) -> Result<ArrayRef, Fault> {
    let column_type = ColumnType::Vector(dimension);
    let DataType::FixedSizeList(field, size) = column_type.arrow() else {
        return Err(wrong_type(column_type, array.data_type()));
    };
    let dimension = dimension as usize;
    let rows = Rows::of(array).ok_or_else(|| wrong_type(column_type, array.data_type()))??;
    for (row, length) in rows.lengths.iter().enumerate() {
        if let Err(mismatch) = check_dimension(dimension, *length)
            && array.is_valid(row)
        {
            return Err(Fault {
                row: Some(row),
                mismatch,
            });
        }
    }
    if let Some(item) = first_null(&rows.items) {
        return Err(rows.fault(item, Mismatch::new("a finite float32", "null")));
    }
    let numbers = rows.numbers(column_type, array.data_type())?;
    vector_array(field, size, array, numbers).map_err(too_large)
}

fn vector_array(
    field: FieldRef,
    size: i32,
    rows: &ArrayRef,
    numbers: Float32Array,
) -> Result<ArrayRef, ArrowError> {
    let numbers = if rows.null_count() == 0 {
        numbers
    } else {
        // A fixed-size list has items beneath its nulls as well.
        let dimension = size.as_usize();
        let mut present = numbers.values().chunks_exact(dimension);
        let mut spread = Vec::with_capacity(rows.len() * dimension);
        for row in 0..rows.len() {
            match if rows.is_valid(row) { present.next() } else { None } {
                Some(vector) => spread.extend_from_slice(vector),
                None => spread.resize(spread.len() + dimension, 0.0),
            }
        }
        Float32Array::from(spread)
    };
    Ok(Arc::new(FixedSizeListArray::try_new(
        field,
        size,
        Arc::new(numbers),
        rows.nulls().cloned(),
    )?))
}

/// Any list column, with the items of its non-null rows side by side.
struct Rows {
    /// Of each row; 0 for a null.
    lengths: Vec<usize>,
    items: ArrayRef,
}

impl Rows {
    /// `None` when the column holds no lists.
    fn of(array: &ArrayRef) -> Option<Result<Self, Fault>> {
        let (ranges, items): (Vec<Range<usize>>, &ArrayRef) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                (
                    list.offsets()
                        .windows(2)
                        .map(|at| at[0].as_usize()..at[1].as_usize())
                        .collect(),
                    list.values(),
                )
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                (
                    list.offsets()
                        .windows(2)
                        .map(|at| at[0].as_usize()..at[1].as_usize())
                        .collect(),
                    list.values(),
                )
            }
            DataType::FixedSizeList(_, _) => {
                let list = array.as_fixed_size_list();
                let size = list.value_length().as_usize();
                (
                    (0..list.len()).map(|row| row * size..(row + 1) * size).collect(),
                    list.values(),
                )
            }
            _ => return None,
        };
        Some(Self::gather(array, &ranges, items))
    }

    fn gather(array: &ArrayRef, ranges: &[Range<usize>], items: &ArrayRef) -> Result<Self, Fault> {
        // What stands beneath a null row is not data and must not be judged.
        let valid = || {
            ranges
                .iter()
                .enumerate()
                .filter(|(row, _)| array.is_valid(*row))
                .map(|(_, range)| range.clone())
        };
        let lengths = ranges
            .iter()
            .enumerate()
            .map(|(row, range)| if array.is_valid(row) { range.len() } else { 0 });
        let lengths: Vec<usize> = lengths.collect();
        let total: usize = lengths.iter().sum();
        if i32::try_from(total).is_err() {
            let found = format!("{total} list items in one batch");
            return Err(Fault {
                row: None,
                mismatch: Mismatch::new("fewer than 2^31 list items in one batch", found),
            });
        }
        let start = ranges.first().map_or(0, |range| range.start);
        let end = ranges.last().map_or(0, |range| range.end);
        let items = if end - start == total {
            items.slice(start, total)
        } else {
            let places = UInt64Array::from_iter_values(valid().flatten().map(|place| place as u64));
            take(items, &places, None).map_err(too_large)?
        };
        Ok(Self { lengths, items })
    }

    /// The items as finite float32.
    fn numbers(&self, column_type: ColumnType, found: &DataType) -> Result<Float32Array, Fault> {
        match self.items.data_type() {
            DataType::Float32 => {
                let numbers = self.items.as_primitive::<Float32Type>();
                match numbers.values().iter().position(|number| !number.is_finite()) {
                    None => Ok(numbers.clone()),
                    Some(item) => Err(self.fault(
                        item,
                        Mismatch::new("a finite float32", numbers.value(item).to_string()),
                    )),
                }
            }
            DataType::Float64 => {
                let numbers = self.items.as_primitive::<Float64Type>().values();
                let nearest = numbers.iter().enumerate();
                let nearest = nearest.map(|(item, number)| {
                    vector_item(*number).map_err(|mismatch| self.fault(item, mismatch))
                });
                Ok(nearest.collect::<Result<Vec<f32>, Fault>>()?.into())
            }
            // A sender that saw only nulls may not know the type of their items.
            DataType::Null if self.items.is_empty() => Ok(Float32Array::from(Vec::<f32>::new())),
            _ => Err(wrong_type(column_type, found)),
        }
    }

    /// Names the row, and the place in it, of one of the items.
    fn fault(&self, item: usize, mismatch: Mismatch) -> Fault {
        let mut before = 0;
        for (row, length) in self.lengths.iter().enumerate() {
            if item < before + length {
                return Fault {
                    row: Some(row),
                    mismatch: mismatch.in_item(item - before),
                };
            }
            before += length;
        }
        Fault { row: None, mismatch }
    }
}

fn too_large(error: ArrowError) -> Fault {
    Fault {
        row: None,
        mismatch: Mismatch::new("a column that fits one batch", error.to_string()),
    }
}
