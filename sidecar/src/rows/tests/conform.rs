use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryViewArray, BooleanArray, Date32Array, Date64Array, DictionaryArray,
    FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
    LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, NullArray, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int32Type};
use arrow::error::ArrowError;
use serde_json::{Value, json};

use super::{everything, table, thing};
use crate::rows::{MAX_STRING_BYTES, RowError, conform, decode_json_rows};

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
fn every_lossless_type_arrives_as_the_tables_own() {
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), None, Some("a")].into_iter().collect();
    let cases: Vec<(&str, ArrayRef, [Value; 3])> = vec![
        (
            "text",
            Arc::new(StringArray::from(vec![Some("a"), None, Some("")])),
            [json!("a"), json!(null), json!("")],
        ),
        (
            "text",
            Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("")])),
            [json!("a"), json!(null), json!("")],
        ),
        (
            "text",
            Arc::new(StringViewArray::from(vec![Some("a"), None, Some("")])),
            [json!("a"), json!(null), json!("")],
        ),
        (
            "text",
            Arc::new(dictionary),
            [json!("a"), json!(null), json!("a")],
        ),
        (
            "text",
            Arc::new(NullArray::new(3)),
            [json!(null), json!(null), json!(null)],
        ),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            [json!(true), json!(null), json!(false)],
        ),
        (
            "ratio",
            Arc::new(Float32Array::from(vec![Some(0.5), None, Some(-1.0)])),
            [json!(0.5), json!(null), json!(-1)],
        ),
        (
            "ratio",
            Arc::new(Int32Array::from(vec![Some(7), None, Some(i32::MIN)])),
            [json!(7), json!(null), json!(i32::MIN)],
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(0), None, Some(1)])),
            [json!("1970-01-01"), json!(null), json!("1970-01-02")],
        ),
        (
            "day",
            Arc::new(Date64Array::from(vec![Some(-86_400_000), None, Some(0)])),
            [json!("1969-12-31"), json!(null), json!("1970-01-01")],
        ),
        (
            "at",
            Arc::new(TimestampSecondArray::from(vec![Some(1), None, Some(-1)])),
            [
                json!("1970-01-01T00:00:01Z"),
                json!(null),
                json!("1969-12-31T23:59:59Z"),
            ],
        ),
        (
            "at",
            Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(-1)]).with_timezone("+05:00")),
            [
                json!("1970-01-01T00:00:00.001Z"),
                json!(null),
                json!("1969-12-31T23:59:59.999Z"),
            ],
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(-1)])),
            [
                json!("1970-01-01T00:00:00.000001Z"),
                json!(null),
                json!("1969-12-31T23:59:59.999999Z"),
            ],
        ),
        (
            "at",
            Arc::new(TimestampNanosecondArray::from(vec![
                Some(1000),
                None,
                Some(-1000),
            ])),
            [
                json!("1970-01-01T00:00:00.000001Z"),
                json!(null),
                json!("1969-12-31T23:59:59.999999Z"),
            ],
        ),
        (
            "blob",
            Arc::new(LargeBinaryArray::from(vec![
                Some(&[0_u8, 255][..]),
                None,
                Some(&[]),
            ])),
            [json!("AP8="), json!(null), json!("")],
        ),
        (
            "blob",
            Arc::new(BinaryViewArray::from(vec![
                Some(&[0_u8, 255][..]),
                None,
                Some(&[]),
            ])),
            [json!("AP8="), json!(null), json!("")],
        ),
        (
            "blob",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some([0_u8, 255]), None, Some([1, 1])].into_iter(),
                    2,
                )
                .unwrap(),
            ),
            [json!("AP8="), json!(null), json!("AQE=")],
        ),
        (
            "tags",
            list(
                Arc::new(LargeStringArray::from(vec!["a", "b"])),
                &[2, 0, 0],
                Some(vec![true, false, true]),
            ),
            [json!(["a", "b"]), json!(null), json!([])],
        ),
        (
            "tags",
            fixed(
                Arc::new(StringArray::from(vec![Some("a"), None, Some("b")])),
                1,
                Some(vec![true, false, true]),
            ),
            [json!(["a"]), json!(null), json!(["b"])],
        ),
        (
            "embedding",
            list(
                Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3, 0.4])),
                &[4, 0, 0],
                Some(vec![true, false, false]),
            ),
            [json!([0.1, 0.2, 0.3, 0.4]), json!(null), json!(null)],
        ),
    ];
    for (column, array, values) in cases {
        let name = format!("{column} from {}", array.data_type());
        let rows: Vec<Value> = values
            .into_iter()
            .zip(0..)
            .map(|(value, id)| {
                let mut row = thing(column, value);
                row["id"] = json!(id);
                row
            })
            .collect();
        let expected = decode_json_rows(&everything(), &rows, 0).unwrap();
        assert_eq!(
            things(column, array).unwrap_or_else(|error| panic!("{name}: {error}")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn integers_of_every_width_become_int64() {
    let cases: [(ArrayRef, [i64; 2]); 4] = [
        (Arc::new(Int8Array::from(vec![-128, 127])), [-128, 127]),
        (
            Arc::new(Int32Array::from(vec![i32::MIN, 1])),
            [i64::from(i32::MIN), 1],
        ),
        (
            Arc::new(UInt32Array::from(vec![u32::MAX, 1])),
            [i64::from(u32::MAX), 1],
        ),
        (
            Arc::new(UInt64Array::from(vec![i64::MAX as u64, 1])),
            [i64::MAX, 1],
        ),
    ];
    for (ids, expected) in cases {
        let conformed = conform(&everything(), &batch(vec![("id", ids)]), 0).unwrap();
        assert_eq!(
            conformed
                .column(0)
                .as_primitive::<arrow::datatypes::Int64Type>()
                .values(),
            &expected
        );
        assert_eq!(&conformed.schema(), everything().arrow());
    }
}

#[test]
fn lossy_or_foreign_columns_are_refused_with_their_row() {
    let finite = |item| format!("a finite float32 as item {item}");
    let cases: Vec<(&str, ArrayRef, Option<u64>, String, String)> = vec![
        (
            "text",
            Arc::new(Int64Array::from(vec![1])),
            None,
            "a string".into(),
            "Arrow type Int64".into(),
        ),
        (
            "flag",
            Arc::new(Int8Array::from(vec![1])),
            None,
            "a bool".into(),
            "Arrow type Int8".into(),
        ),
        (
            "ratio",
            Arc::new(Int64Array::from(vec![1])),
            None,
            "a double".into(),
            "Arrow type Int64".into(),
        ),
        (
            "ratio",
            Arc::new(StringArray::from(vec!["1"])),
            None,
            "a double".into(),
            "Arrow type Utf8".into(),
        ),
        (
            "blob",
            Arc::new(StringArray::from(vec!["1"])),
            None,
            "bytes".into(),
            "Arrow type Utf8".into(),
        ),
        (
            "day",
            Arc::new(TimestampSecondArray::from(vec![0])),
            None,
            "a date".into(),
            "Arrow type Timestamp(s)".into(),
        ),
        (
            "day",
            Arc::new(Date64Array::from(vec![0, 1])),
            Some(11),
            "a date in whole days".into(),
            "1 ms since 1970-01-01".into(),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![0, 2_932_897])),
            Some(11),
            "a date in the years 0000 to 9999".into(),
            "2932897 days since 1970-01-01".into(),
        ),
        (
            "at",
            Arc::new(Int64Array::from(vec![0])),
            None,
            "a timestamp".into(),
            "Arrow type Int64".into(),
        ),
        (
            "at",
            Arc::new(TimestampNanosecondArray::from(vec![0, 1_001])),
            Some(11),
            "a timestamp in whole microseconds".into(),
            "1001 ns since 1970-01-01".into(),
        ),
        (
            "at",
            Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
            Some(10),
            "a timestamp in whole microseconds".into(),
            format!("{} s since 1970-01-01", i64::MAX),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX])),
            Some(10),
            "a timestamp in the years 0000 to 9999".into(),
            format!("{} µs since 1970-01-01", i64::MAX),
        ),
        (
            "tags",
            Arc::new(StringArray::from(vec!["a"])),
            None,
            "a list of string".into(),
            "Arrow type Utf8".into(),
        ),
        (
            "tags",
            list(
                Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
                &[1, 2],
                None,
            ),
            Some(11),
            "a string as item 1".into(),
            "null".into(),
        ),
        (
            "tags",
            list(Arc::new(Int64Array::from(vec![1])), &[1], None),
            None,
            "a string".into(),
            "Arrow type Int64".into(),
        ),
        (
            "embedding",
            list(floats(&[0.0; 7]), &[4, 3], None),
            Some(11),
            "a vector of dimension 4".into(),
            "3 numbers".into(),
        ),
        (
            "embedding",
            list(floats(&[0.0; 8]), &[3, 5], None),
            Some(10),
            "a vector of dimension 4".into(),
            "3 numbers".into(),
        ),
        (
            "embedding",
            fixed(floats(&[0.0; 6]), 3, None),
            Some(10),
            "a vector of dimension 4".into(),
            "3 numbers".into(),
        ),
        (
            "embedding",
            fixed(floats(&[0.0, 0.0, f32::NAN, 0.0]), 4, None),
            Some(10),
            finite(2),
            "NaN".into(),
        ),
        (
            "embedding",
            fixed(
                floats(&[0.0, 0.0, 0.0, 0.0, f32::NEG_INFINITY, 0.0, 0.0, 0.0]),
                4,
                None,
            ),
            Some(11),
            finite(0),
            "-inf".into(),
        ),
        (
            "embedding",
            list(
                Arc::new(Float64Array::from(vec![0.0, 0.0, 0.0, f64::NAN])),
                &[4],
                None,
            ),
            Some(10),
            finite(3),
            "NaN".into(),
        ),
        (
            "embedding",
            fixed(
                Arc::new(Float32Array::from(vec![Some(0.0), None, Some(0.0), Some(0.0)])),
                4,
                None,
            ),
            Some(10),
            finite(1),
            "null".into(),
        ),
        (
            "embedding",
            fixed(Arc::new(Int32Array::from(vec![1; 4])), 4, None),
            None,
            "a vector of dimension 4".into(),
            "Arrow type FixedSizeList(4 x Int32, field: 'element')".into(),
        ),
        (
            "text",
            Arc::new(StringArray::from(vec!["", &"x".repeat(MAX_STRING_BYTES + 1)])),
            Some(11),
            "a string of at most 8388608 bytes".into(),
            "8388609 bytes".into(),
        ),
    ];
    for (column, array, row, expected, found) in cases {
        let name = format!("{column} from {}", array.data_type());
        let error = things(column, array).expect_err(&name);
        assert_eq!(
            error,
            RowError {
                row,
                column: Some(column.to_owned()),
                expected,
                found
            },
            "{name}"
        );
    }
}

#[test]
fn an_unsigned_key_beyond_int64_is_refused() {
    let ids: ArrayRef = Arc::new(UInt64Array::from(vec![0, u64::MAX]));
    let error = conform(&everything(), &batch(vec![("id", ids)]), 5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 6, column \"id\": expected an int64, found 18446744073709551615"
    );
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
fn nan_is_a_value_of_a_double_that_is_no_vector() {
    let conformed = things("ratio", Arc::new(Float64Array::from(vec![f64::NAN]))).unwrap();
    assert!(
        conformed
            .column(3)
            .as_primitive::<Float64Type>()
            .value(0)
            .is_nan()
    );
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

#[test]
fn a_null_in_a_required_column_is_refused_with_its_row() {
    let table = table("Named");
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), None].into_iter().collect();
    for names in [
        Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef,
        Arc::new(dictionary),
    ] {
        let sizes: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let error = conform(&table, &batch(vec![("name", names), ("size", sizes)]), 40).unwrap_err();
        assert_eq!(
            error.to_string(),
            "row 41, column \"name\": expected a value (it is required), found null"
        );
    }
}
