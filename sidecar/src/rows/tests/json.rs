use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{Date32Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{Datelike as _, NaiveDate};
use serde_json::{Value, json};

use super::{everything, keyed_edge, table, thing};
use crate::rows::limits::{FIRST_DAY, LAST_DAY};
use crate::rows::{JsonRow, MAX_STRING_BYTES, decode_json_rows};

/// The refusal of a row of `Thing` that holds this value.
fn refusal(column: &str, value: Value) -> String {
    decode_json_rows(&everything(), &[thing(column, value)], 0)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_row_of_every_type_becomes_a_batch_of_the_tables_schema() {
    let table = everything();
    let full = json!({
        "id": "9223372036854775807", "text": "é\u{0}", "flag": true, "ratio": 3, "day": "1969-12-31",
        "at": "2024-02-29T12:00:00.000001+02:00", "blob": "AP8=", "tags": ["a", ""], "embedding": [1, 0.1, -2.5, 1e-60]
    });
    let batch = decode_json_rows(&table, &[full, json!({"id": -5})], 0).unwrap();
    assert_eq!(&batch.schema(), table.arrow());
    assert_eq!(
        batch.column(0).as_primitive::<Int64Type>().values(),
        &[i64::MAX, -5]
    );
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "é\0");
    assert!(batch.column(2).as_boolean().value(0));
    assert_eq!(batch.column(3).as_primitive::<Float64Type>().value(0), 3.0);
    assert_eq!(batch.column(4).as_primitive::<Date32Type>().value(0), -1);
    assert_eq!(
        batch
            .column(5)
            .as_primitive::<TimestampMicrosecondType>()
            .value(0),
        1_709_200_800_000_001
    );
    assert_eq!(batch.column(6).as_binary::<i32>().value(0), [0, 255]);
    let tags = batch.column(7).as_list::<i32>().value(0);
    assert_eq!(
        tags.as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["a", ""]
    );
    let vector = batch.column(8).as_fixed_size_list().value(0);
    assert_eq!(
        vector.as_primitive::<Float32Type>().values(),
        &[1.0, 0.1, -2.5, 0.0]
    );
    for column in 1..9 {
        assert!(
            batch.column(column).is_null(1),
            "column {column} of the row that left it out"
        );
    }
}

#[test]
fn values_at_the_edge_of_a_type_are_accepted() {
    for (column, value) in [
        ("id", json!("-9223372036854775808")),
        ("id", json!(-9_223_372_036_854_775_808_i64)),
        ("id", json!("0")),
        ("text", json!("")),
        ("text", json!("x".repeat(MAX_STRING_BYTES))),
        ("ratio", json!(-0.0)),
        ("day", json!("0000-01-01")),
        ("day", json!("9999-12-31")),
        ("at", json!("9999-12-31T23:59:59.999999Z")),
        ("at", json!("2024-01-01T00:00:00.123456000Z")),
        ("blob", json!("")),
        ("tags", json!([])),
        ("tags", Value::Null),
        ("embedding", Value::Null),
    ] {
        let batch = decode_json_rows(&everything(), &[thing(column, value.clone())], 0);
        assert_eq!(batch.map(|batch| batch.num_rows()), Ok(1), "{column}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_what_was_expected_and_found() {
    let int64 = "an int64 (an integer or its decimal text)";
    let (date, timestamp) = ("a date (YYYY-MM-DD)", "a timestamp (RFC 3339 with offset)");
    let micros = "a timestamp in whole microseconds, without leap second";
    let bytes = "bytes (base64, standard alphabet, padded)";
    for (column, value, expected, found) in [
        ("id", json!(1.0), int64, "1.0"),
        (
            "id",
            json!(9_223_372_036_854_775_808_u64),
            int64,
            "9223372036854775808",
        ),
        (
            "id",
            json!("9223372036854775808"),
            int64,
            r#"the string "9223372036854775808""#,
        ),
        ("id", json!("+1"), int64, r#"the string "+1""#),
        ("id", json!("007"), int64, r#"the string "007""#),
        ("id", json!("1e3"), int64, r#"the string "1e3""#),
        ("id", json!(true), int64, "true"),
        ("text", json!(5), "a string", "5"),
        ("text", json!({"a": 1}), "a string", "an object"),
        ("flag", json!("true"), "a bool", r#"the string "true""#),
        ("flag", json!(0), "a bool", "0"),
        ("ratio", json!("NaN"), "a number", r#"the string "NaN""#),
        ("ratio", json!([1.5]), "a number", "an array of 1 item"),
        ("day", json!("2023-02-29"), date, r#"the string "2023-02-29""#),
        ("day", json!("2024-1-05"), date, r#"the string "2024-1-05""#),
        (
            "day",
            json!("2024-01-05T00:00:00Z"),
            date,
            r#"the string "2024-01-05T00:00:00Z""#,
        ),
        ("day", json!("é024-01-5"), date, r#"the string "é024-01-5""#),
        ("day", json!(19_000), date, "19000"),
        (
            "at",
            json!("2024-01-05T00:00:00"),
            timestamp,
            r#"the string "2024-01-05T00:00:00""#,
        ),
        ("at", json!(1_700_000_000), timestamp, "1700000000"),
        (
            "at",
            json!("2024-01-05T00:00:00.1234567Z"),
            micros,
            r#"the string "2024-01-05T00:00:00.1234567Z""#,
        ),
        (
            "at",
            json!("2024-01-05T00:00:00.1234560000001Z"),
            micros,
            r#"the string "2024-01-05T00:00:00.1234560000001Z""#,
        ),
        (
            "at",
            json!("2016-12-31T23:59:60Z"),
            micros,
            r#"the string "2016-12-31T23:59:60Z""#,
        ),
        (
            "at",
            json!("0000-01-01T00:00:00+01:00"),
            "a timestamp in the years 0000 to 9999",
            "-62167222800000000 µs since 1970-01-01",
        ),
        ("blob", json!("AP8"), bytes, r#"the string "AP8""#),
        ("blob", json!("_-8="), bytes, r#"the string "_-8=""#),
        ("tags", json!("a"), "a list of string", r#"the string "a""#),
        ("tags", json!(["a", null]), "a string as item 1", "null"),
        ("tags", json!([["a"]]), "a string as item 0", "an array of 1 item"),
        (
            "embedding",
            json!([1, 2, 3]),
            "a vector of dimension 4",
            "3 numbers",
        ),
        ("embedding", json!([1]), "a vector of dimension 4", "1 number"),
        (
            "embedding",
            json!([1, 2, 3, 4, 5]),
            "a vector of dimension 4",
            "5 numbers",
        ),
        ("embedding", json!([]), "a vector of dimension 4", "0 numbers"),
        (
            "embedding",
            json!([1, 2, 3, "4"]),
            "a number as item 3",
            r#"the string "4""#,
        ),
        ("embedding", json!([1, null, 3, 4]), "a number as item 1", "null"),
        (
            "embedding",
            json!([1, 2, 1e39, 4]),
            "a finite float32 as item 2",
            "1000000000000000000000000000000000000000",
        ),
        ("embedding", json!(1), "a vector of dimension 4", "1"),
    ] {
        assert_eq!(
            refusal(column, value),
            format!("row 0, column {column:?}: expected {expected}, found {found}")
        );
    }
}

#[test]
fn a_ten_megabyte_string_is_refused_with_its_size() {
    let expected = |column: &str, noun: &str| {
        format!("row 0, column {column:?}: expected {noun} of at most 8388608 bytes, found 10485760 bytes")
    };
    let large = 10 * 1024 * 1024;
    assert_eq!(
        refusal("text", json!("x".repeat(large))),
        expected("text", "a string")
    );
    let encoded = format!("{}AA==", "AAAA".repeat(large / 3));
    assert_eq!(refusal("blob", json!(encoded)), expected("blob", "bytes"));
}

#[test]
fn long_text_is_cut_in_errors() {
    let found = format!("found the string {:?}… (300 bytes)", "é".repeat(40));
    let message = refusal("day", json!("é".repeat(150)));
    assert!(message.ends_with(&found), "{message}");
}

#[test]
fn required_properties_are_neither_null_nor_missing() {
    for (name, row, column, found) in [
        ("Thing", json!({"text": "a"}), "id", "nothing"),
        ("Thing", json!({"id": null}), "id", "null"),
        ("Named", json!({"name": "a"}), "size", "nothing"),
        ("RELATES", json!({"from": 1, "to": "a"}), "kind", "nothing"),
        ("RELATES", json!({"from": 1, "kind": "a"}), "to", "nothing"),
        (
            "RELATES",
            json!({"from": null, "to": "a", "kind": "a"}),
            "from",
            "null",
        ),
    ] {
        let error = decode_json_rows(&table(name), &[row], 0).unwrap_err();
        let expected = format!("row 0, column {column:?}: expected a value (it is required), found {found}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn an_unknown_property_is_refused_with_the_known_ones() {
    let row = json!({"from": 1, "to": "a", "kind": "a", "wieght": 2});
    let error = decode_json_rows(&keyed_edge(), &[row], 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 0, column \"wieght\": expected a property of RELATES (one of from, to, weight, kind), found an unknown property"
    );
}

#[test]
fn the_first_wrong_row_is_named_by_its_number_in_the_operation() {
    let rows = [
        json!({"id": 1}),
        json!({"id": 2, "flag": 0}),
        json!([]),
        json!({"id": null}),
    ];
    let error = decode_json_rows(&everything(), &rows, 100).unwrap_err();
    assert_eq!((error.row, error.column.as_deref()), (Some(101), Some("flag")));
    let error = decode_json_rows(&everything(), &rows[2..], 7).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 7: expected an object with the row's properties, found an array of 0 items"
    );
}

#[test]
fn no_rows_are_an_empty_batch() {
    assert_eq!(
        decode_json_rows::<Value>(&everything(), &[], 0)
            .unwrap()
            .num_rows(),
        0
    );
}

#[test]
fn the_first_and_last_day_are_those_of_four_digit_years() {
    let days = |year, month, day| {
        NaiveDate::from_ymd_opt(year, month, day)
            .unwrap()
            .num_days_from_ce()
            - NaiveDate::from_ymd_opt(1970, 1, 1).unwrap().num_days_from_ce()
    };
    assert_eq!((FIRST_DAY, LAST_DAY), (days(0, 1, 1), days(9999, 12, 31)));
}

#[test]
fn a_property_named_twice_in_one_row_is_refused_with_its_place() {
    let rows: Vec<JsonRow> =
        serde_json::from_str(r#"[{"id": 1, "text": "a"}, {"id": 2, "text": "a", "text": "a"}]"#).unwrap();
    let error = decode_json_rows(&everything(), &rows, 5).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"row 6, column "text": expected each property once, found it twice"#
    );
}
