//! Random transactions over any schema: few keys, so that rows are replaced, deleted and inserted again all the time, and
//! values at the edges of their types.

use std::collections::BTreeSet;

use crds::ScalarType;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};
use slipstream::schema::{ColumnType, TableKind, TableSchema};
use slipstream::writer::OperationRequest;

use super::model::{Model, canonical, key_cells, key_text};
use super::requests::{delete, upsert};

/// One to five operations. Most of them are valid for `model`; the model itself tells which.
pub(crate) fn operations(rng: &mut StdRng, model: &Model) -> Vec<OperationRequest> {
    let mut operations = Vec::new();
    let mut used = BTreeSet::new();
    // Endpoints of edges may be nodes of the same transaction.
    let mut planned = model.clone();
    let wanted = rng.random_range(1..=5);
    while operations.len() < wanted {
        let table = model
            .schema
            .tables()
            .choose(rng)
            .expect("a schema has tables")
            .clone();
        let operation = if rng.random_bool(0.65) {
            let count = rng.random_range(1..=5);
            upsert(&table.name, rows(rng, &planned, &table, count, &mut used))
        } else {
            delete(&table.name, keys(rng, model, &table, &mut used))
        };
        let is_empty = match &operation {
            OperationRequest::Upsert { rows, .. } => rows.is_empty(),
            OperationRequest::Delete { keys, .. } => keys.is_empty(),
        };
        if !is_empty {
            // Where this fails, the whole transaction will be refused.
            let _ = planned.apply(std::slice::from_ref(&operation));
            operations.push(operation);
        }
    }
    operations
}

/// One upsert of `count` rows of a random table, for a bulk request; nodes get new keys as well.
pub(crate) fn bulk(rng: &mut StdRng, model: &Model, count: usize) -> OperationRequest {
    let table = model
        .schema
        .tables()
        .choose(rng)
        .expect("a schema has tables")
        .clone();
    let mut rows = rows(rng, model, &table, count, &mut BTreeSet::new());
    if let TableKind::Node { primary_key } = table.kind {
        let column = &table.columns[primary_key];
        for (index, row) in rows.iter_mut().enumerate().skip(3) {
            let fresh = match column.column_type {
                ColumnType::Scalar(ScalarType::Int64) => json!(1000 + index),
                _ => json!(format!("bulk-{index}")),
            };
            row[&column.name] = fresh;
        }
    }
    upsert(&table.name, rows)
}

/// Rows with keys that are not in `used` yet, mostly: now and then a key comes twice, which is refused.
fn rows(
    rng: &mut StdRng,
    model: &Model,
    table: &TableSchema,
    count: usize,
    used: &mut BTreeSet<(String, String)>,
) -> Vec<Value> {
    let nodes = |name: &str| model.keys(model.schema.table(name).expect("an endpoint's table"));
    let ends = match &table.kind {
        TableKind::Edge { from, to, .. } => vec![nodes(&from.table), nodes(&to.table)],
        TableKind::Node { .. } => Vec::new(),
    };
    let mut rows = Vec::new();
    for _ in 0..count {
        let row = row(rng, table, &ends);
        let cells: Vec<Value> = table
            .columns
            .iter()
            .map(|column| canonical(column.column_type, &row[&column.name]))
            .collect();
        let fresh = used.insert((table.name.clone(), key_text(&key_cells(table, &cells))));
        // In a bulk of nodes the key is replaced afterwards.
        if fresh || count > 5 && table.is_node() || rng.random_bool(0.02) {
            rows.push(row);
        }
    }
    rows
}

/// One row; `ends` are the keys of the nodes where an edge may start and end, empty for a node.
fn row(rng: &mut StdRng, table: &TableSchema, ends: &[Vec<Vec<Value>>]) -> Value {
    let keys = table.key_columns();
    let mut row = Map::new();
    for (index, column) in table.columns.iter().enumerate() {
        let value = match ends.get(index).and_then(|nodes| nodes.choose(rng)) {
            Some(node) if rng.random_bool(0.99) => node[0].clone(),
            _ if keys.contains(&index) => random_key(rng, column.column_type),
            _ if !column.required && rng.random_bool(0.25) => Value::Null,
            _ => random_value(rng, column.column_type),
        };
        row.insert(column.name.clone(), value);
    }
    Value::Object(row)
}

/// Keys to delete: mostly of rows that are there.
fn keys(
    rng: &mut StdRng,
    model: &Model,
    table: &TableSchema,
    used: &mut BTreeSet<(String, String)>,
) -> Vec<Value> {
    let there = model.keys(table);
    let mut keys = Vec::new();
    for _ in 0..rng.random_range(1..=3) {
        let cells = match there.choose(rng) {
            Some(cells) if rng.random_bool(0.9) => cells.clone(),
            _ => {
                let columns = table
                    .key_columns()
                    .into_iter()
                    .map(|index| table.columns[index].column_type);
                columns
                    .map(|column_type| canonical(column_type, &random_key(rng, column_type)))
                    .collect()
            }
        };
        if used.insert((table.name.clone(), key_text(&cells))) || rng.random_bool(0.02) {
            keys.push(match cells.as_slice() {
                [node] => node.clone(),
                parts => {
                    let names = table
                        .key_columns()
                        .into_iter()
                        .map(|index| table.columns[index].name.clone());
                    Value::Object(names.zip(parts.iter().cloned()).collect())
                }
            });
        }
    }
    keys
}

fn random_key(rng: &mut StdRng, column_type: ColumnType) -> Value {
    match column_type {
        ColumnType::Scalar(ScalarType::Int64) => match rng.random_range(0..20) {
            0 => json!(i64::MAX),
            1 => json!(i64::MIN.to_string()),
            small => json!(small - 5),
        },
        _ => match rng.random_range(0..20) {
            0 => json!(""),
            1 => json!("it's a `key` with \"quotes\" \\ and 雪"),
            small => json!(format!("k{small}")),
        },
    }
}

fn random_value(rng: &mut StdRng, column_type: ColumnType) -> Value {
    match column_type {
        ColumnType::Scalar(scalar) => random_scalar(rng, scalar),
        ColumnType::List(scalar) => (0..rng.random_range(0..4))
            .map(|_| random_scalar(rng, scalar))
            .collect(),
        ColumnType::Vector(dimension) => (0..dimension)
            .map(|_| json!(rng.random_range(-1.0..1.0)))
            .collect(),
    }
}

fn random_scalar(rng: &mut StdRng, scalar: ScalarType) -> Value {
    let day = rng.random_range(1..=28);
    match scalar {
        ScalarType::String => json!(["", "plain", "a,\"b\"\n'c' \\", "Ünïcödé 🚀", "null"].choose(rng)),
        ScalarType::Bool => json!(rng.random_bool(0.5)),
        ScalarType::Int64 => {
            json!([0, -1, (1 << 53) + 1, i64::MAX, i64::MIN, rng.random_range(0..100)].choose(rng))
        }
        ScalarType::Double => json!([0.5, -1e300, 5e-324, 1.0 / 3.0, rng.random_range(0.0..1.0)].choose(rng)),
        ScalarType::Date => json!(format!(
            "{}-02-{day:02}",
            ["1066", "1969", "1970", "2024"].choose(rng).expect("years")
        )),
        ScalarType::Timestamp => json!(format!(
            "2024-02-{day:02}T23:59:59.{:06}Z",
            rng.random_range(0..1_000_000)
        )),
        ScalarType::Bytes => json!(["", "AA==", "3q2+7w==", "XHgwMA=="].choose(rng)),
    }
}
