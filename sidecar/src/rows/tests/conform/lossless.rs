//! Columns whose every value the table's own type holds, and what arrives.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray as _, BinaryViewArray, BooleanArray, Date32Array, Date64Array, DictionaryArray,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int32Array, LargeBinaryArray,
    LargeStringArray, NullArray, StringArray, StringViewArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Float64Type, Int32Type};
use serde_json::{Value, json};

use super::{batch, fixed, list, things};
use crate::rows::tests::{everything, thing};
use crate::rows::{conform, decode_json_rows};

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
