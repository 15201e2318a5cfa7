//! What a graph must hold: plain maps, written without a look at how the writer does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::DateTime;
use crds::{GraphSchema, ScalarType};
use serde_json::{Value, json};
use slipstream::schema::{ColumnType, Schema, TableKind, TableSchema};
use slipstream::writer::OperationRequest;

/// Rows of a table by the JSON text of their key; cells in the order of the table's columns, in canonical form.
pub(crate) type Rows = BTreeMap<String, Vec<Value>>;
/// Rows by table; every table of the schema is there.
pub(crate) type Content = BTreeMap<String, Rows>;

/// The tables of a graph.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) schema: Arc<Schema>,
    pub(crate) content: Content,
}

impl Model {
    /// Empty tables.
    pub(crate) fn new(schema: &GraphSchema) -> Self {
        let schema = Arc::new(Schema::new(schema).expect("a valid schema"));
        let content = schema
            .tables()
            .iter()
            .map(|table| (table.name.clone(), Rows::new()))
            .collect();
        Self { schema, content }
    }

    /// The same rows under a schema with more tables and properties, which are null in them.
    pub(crate) fn widened(&self, schema: &GraphSchema) -> Self {
        let mut wide = Self::new(schema);
        for (name, rows) in &self.content {
            let old = &self.table(name).columns;
            let columns = wide
                .schema
                .table(name)
                .expect("no table is dropped")
                .columns
                .clone();
            let widen = |cells: &Vec<Value>| {
                let place = |column: &str| old.iter().position(|old| old.name == column);
                columns
                    .iter()
                    .map(|column| place(&column.name).map_or(Value::Null, |at| cells[at].clone()))
                    .collect()
            };
            wide.content.insert(
                name.clone(),
                rows.iter()
                    .map(|(key, cells)| (key.clone(), widen(cells)))
                    .collect(),
            );
        }
        wide
    }

    /// Applies a transaction whole, or says why it is refused and changes nothing.
    pub(crate) fn apply(&mut self, operations: &[OperationRequest]) -> Result<(), String> {
        let mut upserts: BTreeMap<(&str, String), Vec<Value>> = BTreeMap::new();
        let mut deletes: BTreeMap<(&str, String), Vec<Value>> = BTreeMap::new();
        for operation in operations {
            match operation {
                OperationRequest::Upsert { table, rows } => {
                    for row in rows {
                        let cells = self.cells(table, row.value());
                        let key = (table.as_str(), key_text(&key_cells(self.table(table), &cells)));
                        if upserts.get(&key).is_some_and(|first| *first != cells) {
                            return Err(format!("{key:?} is upserted twice with different values"));
                        }
                        upserts.insert(key, cells);
                    }
                }
                OperationRequest::Delete { table, keys } => {
                    for key in keys {
                        let cells = self.deleted_key(table, key);
                        deletes.insert((table.as_str(), key_text(&cells)), cells);
                    }
                }
            }
        }
        if let Some(key) = deletes.keys().find(|key| upserts.contains_key(*key)) {
            return Err(format!("{key:?} is both deleted and upserted"));
        }
        let mut next = self.content.clone();
        for ((table, text), key) in &deletes {
            rows_of(&mut next, table).remove(text);
            for (edges, starts, ends) in self.schema.edges_of(table) {
                rows_of(&mut next, &edges.name)
                    .retain(|_, cells| !(starts && cells[0] == key[0] || ends && cells[1] == key[0]));
            }
        }
        for ((table, text), cells) in &upserts {
            rows_of(&mut next, table).insert(text.clone(), cells.clone());
        }
        for ((table, _), cells) in &upserts {
            if let TableKind::Edge { from, to, .. } = &self.table(table).kind {
                for (end, key) in [(from, &cells[0]), (to, &cells[1])] {
                    if !next[&end.table].contains_key(&key_text(std::slice::from_ref(key))) {
                        return Err(format!("{table}: there is no {} with key {key}", end.table));
                    }
                }
            }
        }
        self.content = next;
        Ok(())
    }

    /// What the graph engine holds of it: all columns but vectors.
    pub(crate) fn graph_content(&self) -> Content {
        let keep = |table: &TableSchema, cells: &[Value]| {
            let columns = table.columns.iter().zip(cells);
            let kept = columns.filter(|(column, _)| !matches!(column.column_type, ColumnType::Vector(_)));
            kept.map(|(_, cell)| cell.clone()).collect()
        };
        self.schema
            .tables()
            .iter()
            .map(|table| {
                let rows = self.content[&table.name].iter();
                (
                    table.name.clone(),
                    rows.map(|(key, cells)| (key.clone(), keep(table, cells)))
                        .collect(),
                )
            })
            .collect()
    }

    /// Keys of the rows of a table.
    pub(crate) fn keys(&self, table: &TableSchema) -> Vec<Vec<Value>> {
        self.content[&table.name]
            .values()
            .map(|cells| key_cells(table, cells))
            .collect()
    }

    fn table(&self, name: &str) -> &Arc<TableSchema> {
        self.schema
            .table(name)
            .unwrap_or_else(|| panic!("no table {name}"))
    }

    fn cells(&self, table: &str, row: &Value) -> Vec<Value> {
        let columns = &self.table(table).columns;
        columns
            .iter()
            .map(|column| canonical(column.column_type, row.get(&column.name).unwrap_or(&Value::Null)))
            .collect()
    }

    fn deleted_key(&self, table: &str, key: &Value) -> Vec<Value> {
        let table = self.table(table);
        let columns = table.key_columns().into_iter().map(|index| &table.columns[index]);
        columns
            .map(|column| {
                canonical(
                    column.column_type,
                    if table.is_node() { key } else { &key[&column.name] },
                )
            })
            .collect()
    }
}

/// The first difference, in words; `None` when both hold the same.
pub(crate) fn first_difference(expected: &Content, found: &Content) -> Option<String> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let (Some(expected), Some(found)) = (expected.get(name), found.get(name)) else {
            return Some(format!("table {name} is in one of them only"));
        };
        let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            let show = |rows: &Rows| {
                rows.get(key)
                    .map_or_else(|| "no such row".to_owned(), |cells| key_text(cells))
            };
            if expected.get(key) != found.get(key) {
                let (expected, found) = (show(expected), show(found));
                return Some(format!(
                    "table {name}, key {key}:\n  expected {expected}\n  found    {found}"
                ));
            }
        }
    }
    None
}

/// The cells that identify a row.
pub(crate) fn key_cells(table: &TableSchema, cells: &[Value]) -> Vec<Value> {
    table
        .key_columns()
        .into_iter()
        .map(|index| cells[index].clone())
        .collect()
}

/// Cells as JSON text.
pub(crate) fn key_text(cells: &[Value]) -> String {
    serde_json::to_string(cells).expect("cells are JSON")
}

/// One form for equal values, however a client or an engine writes them.
pub(crate) fn canonical(column_type: ColumnType, value: &Value) -> Value {
    let items = || {
        value
            .as_array()
            .unwrap_or_else(|| panic!("expected an array, found {value}"))
            .iter()
    };
    match column_type {
        _ if value.is_null() => Value::Null,
        ColumnType::Scalar(scalar) => canonical_scalar(scalar, value),
        ColumnType::List(scalar) => items().map(|item| canonical_scalar(scalar, item)).collect(),
        // A vector holds the nearest float32.
        ColumnType::Vector(_) => items()
            .map(|item| json!(item.as_f64().expect("a number") as f32))
            .collect(),
    }
}

fn canonical_scalar(scalar: ScalarType, value: &Value) -> Value {
    let text = || {
        value
            .as_str()
            .unwrap_or_else(|| panic!("expected a {scalar}, found {value}"))
    };
    match scalar {
        ScalarType::Int64 => json!(
            value
                .as_i64()
                .unwrap_or_else(|| text().parse().expect("an int64"))
        ),
        ScalarType::Double => json!(value.as_f64().expect("a number")),
        ScalarType::Timestamp => {
            json!(
                DateTime::parse_from_rfc3339(text())
                    .expect("a timestamp")
                    .timestamp_micros()
            )
        }
        ScalarType::Bool => json!(value.as_bool().expect("a bool")),
        ScalarType::String | ScalarType::Date | ScalarType::Bytes => json!(text()),
    }
}

fn rows_of<'a>(content: &'a mut Content, table: &str) -> &'a mut Rows {
    content
        .get_mut(table)
        .unwrap_or_else(|| panic!("no table {table}"))
}
