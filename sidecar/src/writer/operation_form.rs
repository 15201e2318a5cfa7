//! How an operation is read: from an object with its fields by name, never from an array of them by place.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::OperationRequest;
use crate::rows::JsonRow;

/// An operation as it stands in the request.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OperationForm {
    Upsert(ByName<Upsert>),
    Delete(ByName<Delete>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upsert {
    table: String,
    rows: Vec<JsonRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delete {
    table: String,
    keys: Vec<serde_json::Value>,
}

impl From<OperationForm> for OperationRequest {
    fn from(form: OperationForm) -> Self {
        match form {
            OperationForm::Upsert(ByName(Upsert { table, rows })) => Self::Upsert { table, rows },
            OperationForm::Delete(ByName(Delete { table, keys })) => Self::Delete { table, keys },
        }
    }
}

/// Reads `T` from an object only: a derived struct is also read from an array.
pub(super) struct ByName<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByNameVisitor(PhantomData))
    }
}

struct ByNameVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ByNameVisitor<T> {
    type Value = ByName<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the operation's fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<ByName<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(ByName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_an_object_with_its_fields_by_name() {
        let read = |text: &str| serde_json::from_str::<OperationRequest>(text);
        assert!(read(r#"{"upsert": {"rows": [{"a": 1}], "table": "T"}}"#).is_ok());
        assert!(read(r#"{"delete": {"table": "T", "keys": [1]}}"#).is_ok());
        for (text, complaint) in [
            (
                r#"{"upsert": ["T", [{"a": 1}]]}"#,
                "invalid type: sequence, expected an object with the operation's fields",
            ),
            (
                r#"{"delete": ["T", [1]]}"#,
                "invalid type: sequence, expected an object with the operation's fields",
            ),
            (
                r#"{"delete": {"table": "T", "rows": []}}"#,
                "unknown field `rows`",
            ),
            (r#"{"upsert": {"table": "T"}}"#, "missing field `rows`"),
            (r#"{"merge": {"table": "T"}}"#, "unknown variant `merge`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
