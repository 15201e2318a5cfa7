//! What decoding accepts and how it refuses, by way of arrival.

mod conform;
mod json;
mod keys;
mod stream;

use std::sync::Arc;

use crate::schema::{Schema, TableSchema};
use serde_json::{Value, json};

/// One column of every type; `id` is the key.
fn everything() -> Arc<TableSchema> {
    table("Thing")
}

/// From Thing to Named, told apart by `kind`.
fn keyed_edge() -> Arc<TableSchema> {
    table("RELATES")
}

fn plain_edge() -> Arc<TableSchema> {
    table("KNOWS")
}

fn table(name: &str) -> Arc<TableSchema> {
    let source = serde_json::from_value(json!({
        "nodes": [
            {"name": "Thing", "primaryKey": "id", "properties": [
                {"name": "id", "type": "int64"},
                {"name": "text", "type": "string"},
                {"name": "flag", "type": "bool"},
                {"name": "ratio", "type": "double"},
                {"name": "day", "type": "date"},
                {"name": "at", "type": "timestamp"},
                {"name": "blob", "type": "bytes"},
                {"name": "tags", "type": "list", "items": "string"},
                {"name": "embedding", "type": "vector", "dimension": 4}]},
            {"name": "Named", "primaryKey": "name", "properties": [
                {"name": "name", "type": "string"}, {"name": "size", "type": "int64", "required": true}]}],
        "edges": [
            {"name": "RELATES", "from": "Thing", "to": "Named", "key": "kind", "properties": [
                {"name": "weight", "type": "double"}, {"name": "kind", "type": "string"}]},
            {"name": "KNOWS", "from": "Named", "to": "Named"}]
    }));
    let schema = Schema::new(&source.unwrap()).unwrap();
    Arc::clone(schema.table(name).unwrap())
}

/// A row of [`everything`] with one property besides its key.
fn thing(column: &str, value: Value) -> Value {
    let mut row = json!({"id": 1});
    row[column] = value;
    row
}
