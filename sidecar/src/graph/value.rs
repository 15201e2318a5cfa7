//! Values between Arrow, JSON and the engine.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crds::ScalarType;
use kuzu::{LogicalType, NodeVal, RelVal, Value};
use serde_json::{Map, json};
use time::format_description::well_known::Rfc3339;

use super::GraphError;
use crate::rows::Key;
use crate::schema::{ColumnType, ROW_ID};

/// Integers up to here are exact in every JSON reader; larger ones travel as strings (design, section 9).
const MAX_SAFE_INTEGER: i128 = 1 << 53;

/// A key as a parameter.
pub(super) fn from_key(key: &Key) -> Value {
    match key {
        Key::Int(number) => Value::Int64(*number),
        Key::String(text) => Value::String(text.to_string()),
    }
}

/// A key as it came out of the engine.
pub(super) fn to_key(value: &Value) -> Option<Key> {
    match value {
        Value::Int64(number) => Some(Key::Int(*number)),
        Value::String(text) => Some(Key::String(text.as_str().into())),
        _ => None,
    }
}

/// One cell of a conforming batch as a parameter.
pub(super) fn from_arrow(
    column_type: ColumnType,
    array: &dyn Array,
    row: usize,
) -> Result<Value, GraphError> {
    match column_type {
        ColumnType::Scalar(scalar) if array.is_null(row) => Ok(Value::Null(logical(scalar))),
        ColumnType::Scalar(scalar) => scalar_from_arrow(scalar, array, row),
        ColumnType::List(scalar) => {
            let list_type = LogicalType::List {
                child_type: Box::new(logical(scalar)),
            };
            if array.is_null(row) {
                return Ok(Value::Null(list_type));
            }
            let items = array.as_list::<i32>().value(row);
            let items: Result<Vec<Value>, GraphError> = (0..items.len())
                .map(|item| from_arrow(ColumnType::Scalar(scalar), &items, item))
                .collect();
            Ok(Value::List(logical(scalar), items?))
        }
        ColumnType::Vector(_) => Err(GraphError::Rows("vectors are not held in the graph".to_owned())),
    }
}

fn scalar_from_arrow(scalar: ScalarType, array: &dyn Array, row: usize) -> Result<Value, GraphError> {
    Ok(match scalar {
        ScalarType::String => Value::String(array.as_string::<i32>().value(row).to_owned()),
        ScalarType::Bool => Value::Bool(array.as_boolean().value(row)),
        ScalarType::Int64 => Value::Int64(array.as_primitive::<Int64Type>().value(row)),
        ScalarType::Double => Value::Double(array.as_primitive::<Float64Type>().value(row)),
        ScalarType::Bytes => Value::Blob(array.as_binary::<i32>().value(row).to_vec()),
        ScalarType::Date => {
            let days = array.as_primitive::<Date32Type>().value(row);
            let date =
                time::OffsetDateTime::from_unix_timestamp(i64::from(days) * 86_400).map_err(out_of_range)?;
            Value::Date(date.date())
        }
        ScalarType::Timestamp => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
                .map_err(out_of_range)?;
            Value::Timestamp(time)
        }
    })
}

fn out_of_range(error: time::error::ComponentRange) -> GraphError {
    GraphError::Rows(format!("a date or time is out of range: {error}"))
}

fn logical(scalar: ScalarType) -> LogicalType {
    match scalar {
        ScalarType::String => LogicalType::String,
        ScalarType::Bool => LogicalType::Bool,
        ScalarType::Int64 => LogicalType::Int64,
        ScalarType::Double => LogicalType::Double,
        ScalarType::Date => LogicalType::Date,
        ScalarType::Timestamp => LogicalType::Timestamp,
        ScalarType::Bytes => LogicalType::Blob,
    }
}

/// A client's JSON parameter. Lists must hold one type; `name` says where in errors.
pub(super) fn from_json(name: &str, value: &serde_json::Value) -> Result<Value, GraphError> {
    Ok(match value {
        serde_json::Value::Null => Value::Null(LogicalType::Any),
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int64(integer),
            (None, Some(double)) if number.is_f64() => Value::Double(double),
            // An integer beyond int64: as a double it would be another number.
            _ => {
                return Err(GraphError::Query(format!(
                    "parameter {name}: expected an integer of 64 bits with sign, found {number}; a double of that size is written with an exponent"
                )));
            }
        },
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(items) => {
            let items: Vec<Value> = items
                .iter()
                .map(|item| from_json(name, item))
                .collect::<Result<_, _>>()?;
            let item_type = items
                .iter()
                .find(|item| !matches!(item, Value::Null(_)))
                .map_or(LogicalType::String, type_of);
            for item in items.iter().filter(|item| !matches!(item, Value::Null(_))) {
                if type_of(item) != item_type {
                    return Err(GraphError::Query(format!(
                        "parameter {name}: a list must hold one type, found {item_type:?} and {:?}",
                        type_of(item)
                    )));
                }
            }
            let items = items
                .into_iter()
                .map(|item| {
                    if matches!(item, Value::Null(_)) {
                        Value::Null(item_type.clone())
                    } else {
                        item
                    }
                })
                .collect();
            Value::List(item_type, items)
        }
        serde_json::Value::Object(fields) => Value::Struct(
            fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), from_json(name, value)?)))
                .collect::<Result<_, GraphError>>()?,
        ),
    })
}

fn type_of(value: &Value) -> LogicalType {
    LogicalType::from(value)
}

/// One cell of an answer as JSON; the hidden row id is left out wherever it shows.
pub(super) fn to_json(value: Value) -> serde_json::Value {
    match value {
        Value::Null(_) => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Int64(number) => integer(number.into()),
        Value::Int32(number) => json!(number),
        Value::Int16(number) => json!(number),
        Value::Int8(number) => json!(number),
        Value::UInt64(number) => integer(number.into()),
        Value::UInt32(number) => json!(number),
        Value::UInt16(number) => json!(number),
        Value::UInt8(number) => json!(number),
        Value::Int128(number) => integer(number),
        Value::Double(number) => double(number),
        Value::Float(number) => double(number.into()),
        Value::Date(date) => json!(date.to_string()),
        Value::Interval(interval) => json!(interval.to_string()),
        Value::Timestamp(time)
        | Value::TimestampTz(time)
        | Value::TimestampNs(time)
        | Value::TimestampMs(time)
        | Value::TimestampSec(time) => json!(time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())),
        Value::InternalID(id) => json!(id.to_string()),
        Value::String(text) => json!(text),
        Value::Json(value) => value,
        Value::Blob(bytes) => json!(STANDARD.encode(bytes)),
        Value::List(_, items) | Value::Array(_, items) => items.into_iter().map(to_json).collect(),
        Value::Struct(fields) => properties(fields),
        Value::Node(node) => node_to_json(&node),
        Value::Rel(rel) => rel_to_json(&rel),
        Value::RecursiveRel { nodes, rels } => json!({
            "nodes": nodes.iter().map(node_to_json).collect::<Vec<_>>(),
            "rels": rels.iter().map(rel_to_json).collect::<Vec<_>>(),
        }),
        Value::Map(_, entries) => entries
            .into_iter()
            .map(|(key, value)| json!({"key": to_json(key), "value": to_json(value)}))
            .collect(),
        Value::Union { value, .. } => to_json(*value),
        Value::UUID(id) => json!(id.to_string()),
        Value::Decimal(number) => json!(number.to_string()),
    }
}

fn integer(number: i128) -> serde_json::Value {
    match i64::try_from(number) {
        Ok(small) if number.abs() <= MAX_SAFE_INTEGER => json!(small),
        _ => json!(number.to_string()),
    }
}

/// JSON has no number for these, and null would hide them.
fn double(number: f64) -> serde_json::Value {
    if number.is_finite() {
        json!(number)
    } else {
        json!(number.to_string())
    }
}

fn node_to_json(node: &NodeVal) -> serde_json::Value {
    json!({
        "id": node.get_node_id().to_string(),
        "label": node.get_label_name(),
        "properties": properties(node.get_properties().clone()),
    })
}

fn rel_to_json(rel: &RelVal) -> serde_json::Value {
    json!({
        "from": rel.get_src_node().to_string(),
        "to": rel.get_dst_node().to_string(),
        "label": rel.get_label_name(),
        "properties": properties(rel.get_properties().clone()),
    })
}

fn properties(fields: Vec<(String, Value)>) -> serde_json::Value {
    let fields: Map<String, serde_json::Value> = fields
        .into_iter()
        .filter(|(name, _)| name != ROW_ID)
        .map(|(name, value)| (name, to_json(value)))
        .collect();
    serde_json::Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_two_to_the_53_travel_as_strings() {
        assert_eq!(to_json(Value::Int64(1 << 53)), json!(1_i64 << 53));
        assert_eq!(to_json(Value::Int64((1 << 53) + 1)), json!("9007199254740993"));
        assert_eq!(to_json(Value::Int64(i64::MIN)), json!("-9223372036854775808"));
    }

    #[test]
    fn the_hidden_row_id_never_shows() {
        let fields = vec![
            ("a".to_owned(), Value::Int64(1)),
            (ROW_ID.to_owned(), Value::Int64(2)),
        ];
        assert_eq!(to_json(Value::Struct(fields)), json!({"a": 1}));
    }

    #[test]
    fn an_integer_parameter_beyond_int64_is_refused_by_name_and_a_double_is_taken() {
        let read = |text: &str| from_json("big", &serde_json::from_str(text).unwrap());
        for text in ["9223372036854775807", "-9223372036854775808"] {
            assert!(matches!(read(text), Ok(Value::Int64(_))), "{text}");
        }
        for text in ["9.3e18", "1e300", "0.5"] {
            assert!(matches!(read(text), Ok(Value::Double(_))), "{text}");
        }
        for text in [
            "9223372036854775808",
            "18446744073709551615",
            "[9223372036854775808]",
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("parameter big: expected an integer"), "{error}");
        }
    }

    #[test]
    fn a_list_parameter_of_two_types_is_refused_by_name() {
        let error = from_json("ids", &json!([1, "a"])).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("parameter ids: a list must hold one type"),
            "{error}"
        );
    }
}
