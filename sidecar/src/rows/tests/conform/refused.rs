//! Columns and values that would lose something or do not belong: each refused with its place.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Date64Array, DictionaryArray, Float32Array, Float64Array, Int8Array, Int32Array,
    Int64Array, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
    UInt64Array,
};
use arrow::datatypes::Int32Type;

use super::{batch, fixed, floats, list, things};
use crate::rows::tests::{everything, table};
use crate::rows::{MAX_STRING_BYTES, RowError, conform};

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
