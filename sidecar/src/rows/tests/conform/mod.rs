//! Arrow batches brought into the table's own form: which columns and which cells are looked at. What their values become is in
//! `lossless.rs`, what they must not be in `refused.rs`.

mod lossless;
mod refused;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, Date32Array, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    LargeListArray, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float32Type};
use arrow::error::ArrowError;

use super::{everything, table};
use crate::rows::{RowError, conform};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

/// Conforms rows of `Thing` that have, besides keys, this one column.
fn things(column: &str, array: ArrayRef) -> Result<RecordBatch, RowError> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..array.len() as i64));
    conform(&everything(), &batch(vec![(column, array), ("id", ids)]), 10)
}

fn list(items: ArrayRef, lengths: &[usize], valid: Option<Vec<bool>>) -> ArrayRef {
    let field = Arc::new(Field::new("element", items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(ListArray::new(field, offsets, items, valid.map(NullBuffer::from)))
}

fn fixed(items: ArrayRef, size: i32, valid: Option<Vec<bool>>) -> ArrayRef {
    let field = Arc::new(Field::new("element", items.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(
        field,
        size,
        items,
        valid.map(NullBuffer::from),
    ))
}

fn floats(numbers: &[f32]) -> ArrayRef {
    Arc::new(Float32Array::from(numbers.to_vec()))
}

#[test]
fn what_stands_beneath_a_null_is_not_judged() {
    let garbage = floats(&[f32::NAN, f32::NAN, f32::NAN, f32::NAN, 1.0, 2.0, 3.0, 4.0]);
    for vectors in [
        fixed(Arc::clone(&garbage), 4, Some(vec![false, true])),
        list(Arc::clone(&garbage), &[4, 4], Some(vec![false, true])),
    ] {
        let conformed = things("embedding", vectors).unwrap();
        let vectors = conformed.column(8).as_fixed_size_list();
        assert!(vectors.is_null(0));
        assert_eq!(
            vectors.value(1).as_primitive::<Float32Type>().values(),
            &[1.0, 2.0, 3.0, 4.0]
        );
    }
    let days = Date32Array::new(
        vec![i32::MAX, 0].into(),
        Some(NullBuffer::from(vec![false, true])),
    );
    assert!(things("day", Arc::new(days)).is_ok());
}

#[test]
fn slices_of_lists_are_read_from_where_they_begin() {
    let strings = list(
        Arc::new(StringArray::from(vec![None, Some("b"), Some("c")])),
        &[1, 1, 1],
        None,
    );
    let conformed = things("tags", strings.slice(1, 2)).unwrap();
    let tags = conformed.column(7).as_list::<i32>();
    assert_eq!(tags.value(0).as_string::<i32>().value(0), "b");
    assert_eq!(tags.value(1).as_string::<i32>().value(0), "c");
    let large: LargeListArray = things_as_large(&[None, Some(1.0), Some(2.0), Some(3.0), Some(4.0)]).unwrap();
    let conformed = things("embedding", Arc::new(large.slice(1, 1))).unwrap();
    let vector = conformed.column(8).as_fixed_size_list().value(0);
    assert_eq!(
        vector.as_primitive::<Float32Type>().values(),
        &[1.0, 2.0, 3.0, 4.0]
    );
}

/// A first list of one item, and a second of the rest.
fn things_as_large(items: &[Option<f64>]) -> Result<LargeListArray, ArrowError> {
    let field = Arc::new(Field::new("item", DataType::Float64, true));
    let offsets = OffsetBuffer::from_lengths([1, items.len() - 1]);
    LargeListArray::try_new(field, offsets, Arc::new(Float64Array::from(items.to_vec())), None)
}

#[test]
fn columns_are_matched_by_name() {
    let one = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
    let table = table("Named");
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let conformed = conform(
        &table,
        &batch(vec![("size", one()), ("name", Arc::clone(&names))]),
        0,
    )
    .unwrap();
    assert_eq!(&conformed.schema(), table.arrow());
    for (columns, message) in [
        (
            vec![("size", one()), ("name", Arc::clone(&names)), ("Size", one())],
            r#"column "Size": expected a property of Named (one of name, size), found an unknown property"#,
        ),
        (
            vec![("size", one())],
            r#"column "name": expected a column of this name (it is required), found none"#,
        ),
        (
            vec![("size", one()), ("name", names), ("size", one())],
            r#"column "size": expected each column once, found it twice"#,
        ),
    ] {
        assert_eq!(
            conform(&table, &batch(columns), 0).unwrap_err().to_string(),
            message
        );
    }
}
