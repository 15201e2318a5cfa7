//! The identity of a row: a node's primary key, or an edge's endpoints with its optional key.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

/// A primary key value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Int(i64),
    String(Arc<str>),
}

/// What identifies a row within its table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    Node(Key),
    Edge { from: Key, to: Key, key: Option<Key> },
}

impl Key {
    /// As JSON; an integer of any size stays a number here.
    pub fn to_json(&self) -> Value {
        match self {
            Key::Int(number) => json!(number),
            Key::String(text) => json!(&**text),
        }
    }

    /// Reads what [`Key::to_json`] wrote.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_i64().map(Key::Int),
            Value::String(text) => Some(Key::String(text.as_str().into())),
            _ => None,
        }
    }
}

impl RowKey {
    /// The `pk` of a tombstone: the plain key of a node, `{"from", "to", "key"?}` of an edge.
    pub fn to_json(&self) -> Value {
        match self {
            RowKey::Node(key) => key.to_json(),
            RowKey::Edge { from, to, key: None } => json!({"from": from.to_json(), "to": to.to_json()}),
            RowKey::Edge {
                from,
                to,
                key: Some(key),
            } => {
                json!({"from": from.to_json(), "to": to.to_json(), "key": key.to_json()})
            }
        }
    }

    /// Reads what [`RowKey::to_json`] wrote.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(RowKey::Edge {
                from: Key::from_json(fields.get("from")?)?,
                to: Key::from_json(fields.get("to")?)?,
                key: match fields.get("key") {
                    Some(key) => Some(Key::from_json(key)?),
                    None => None,
                },
            }),
            plain => Key::from_json(plain).map(RowKey::Node),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Int(number) => write!(f, "{number}"),
            Key::String(text) => write!(f, "{:?}", &**text),
        }
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowKey::Node(key) => write!(f, "{key}"),
            RowKey::Edge { from, to, key: None } => write!(f, "{from} -> {to}"),
            RowKey::Edge {
                from,
                to,
                key: Some(key),
            } => write!(f, "{from} -> {to} [{key}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_json_form() {
        let text = |text: &str| Key::String(text.into());
        for key in [
            RowKey::Node(Key::Int(i64::MIN)),
            RowKey::Node(text("5")),
            RowKey::Edge {
                from: text("a"),
                to: Key::Int(5),
                key: None,
            },
            RowKey::Edge {
                from: text("a"),
                to: text("b"),
                key: Some(Key::Int(0)),
            },
        ] {
            assert_eq!(RowKey::from_json(&key.to_json()), Some(key));
        }
    }
}
