//! A JSON object as it was written: remembers a property that was named twice, which a map forgets.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// One row of a request. Anything but an object is kept as well, and refused where the row is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonRow {
    value: Value,
    repeated: Option<String>,
}

impl JsonRow {
    /// The row, with the last value of a property that was named twice.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The first property that was named again.
    pub fn repeated(&self) -> Option<&str> {
        self.repeated.as_deref()
    }
}

impl From<Value> for JsonRow {
    fn from(value: Value) -> Self {
        Self {
            value,
            repeated: None,
        }
    }
}

impl Serialize for JsonRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = JsonRow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<JsonRow, A::Error> {
        let mut object = Map::new();
        let mut repeated = None;
        while let Some((name, value)) = fields.next_entry::<String, Value>()? {
            if object.contains_key(&name) {
                repeated.get_or_insert_with(|| name.clone());
            }
            object.insert(name, value);
        }
        Ok(JsonRow {
            value: Value::Object(object),
            repeated,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<JsonRow, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(items)).map(JsonRow::from)
    }

    fn visit_unit<E>(self) -> Result<JsonRow, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<JsonRow, E> {
        Ok(Value::from(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<JsonRow, E> {
        Ok(Value::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<JsonRow, E> {
        Ok(Value::from(value).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<JsonRow, E> {
        Ok(Value::from(value).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<JsonRow, E> {
        Ok(Value::from(value).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_named_again_is_remembered_and_anything_else_is_kept() {
        for (text, repeated) in [
            (r#"{"a": 1, "b": {"c": 1, "c": 2}}"#, None),
            (r#"{"a": 1, "b": 2, "a": 3, "b": 4}"#, Some("a")),
            ("[1, [2]]", None),
            ("null", None),
            ("-1", None),
            ("1.5", None),
            ("true", None),
            (r#""x""#, None),
        ] {
            let row: JsonRow = serde_json::from_str(text).unwrap();
            assert_eq!(row.repeated(), repeated, "{text}");
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(row.value(), &value, "{text}");
            assert_eq!(
                serde_json::to_value(&row).unwrap(),
                value,
                "{text} is written as it was read"
            );
        }
    }
}
