//! The whole content of a graph through its query interface, and of the Lance tables at a commit, to compare with the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Days};
use crds::ScalarType;
use futures::TryStreamExt;
use serde_json::{Value, json};
use slipstream::commit_log::VersionMap;
use slipstream::graph::{Graph, GraphError, QueryEvent, QueryRequest, Watermark};
use slipstream::lake::{LANCE_ROW_ID, Lake};
use slipstream::schema::kuzu_types::quote;
use slipstream::schema::{Column, ColumnType, ROW_ID, Schema, TableKind, TableSchema};

use super::model::{Content, Model, Rows, canonical, first_difference, key_cells, key_text};

/// Stable Lance row ids by table and key.
pub(crate) type RowIds = BTreeMap<String, BTreeMap<String, u64>>;

/// Everything that one engine holds.
pub(crate) struct Dump {
    pub(crate) content: Content,
    pub(crate) row_ids: RowIds,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) watermark: Watermark,
}

/// Runs a query and collects its answer.
pub(crate) async fn query(graph: &Arc<Graph>, text: &str) -> Result<Answer, GraphError> {
    let timeout = Duration::from_secs(60);
    let request = QueryRequest {
        text: text.to_owned(),
        parameters: serde_json::Map::new(),
        timeout,
        limit: u64::MAX,
    };
    let (sender, mut events) = tokio::sync::mpsc::channel(4);
    let reader = graph.clone();
    let worker = tokio::task::spawn_blocking(move || reader.query(&request, &sender));
    let (mut head, mut rows, mut ended) = (None, Vec::new(), false);
    while let Some(event) = events.recv().await {
        match event {
            QueryEvent::Head(found) => head = Some(found),
            QueryEvent::Rows(more) => rows.extend(more),
            QueryEvent::End { truncated } => {
                assert!(!truncated, "an answer without limit was cut off");
                ended = true;
            }
        }
    }
    worker.await.expect("a query does not panic")?;
    assert!(ended, "the answer of {text:?} has no end");
    Ok(Answer {
        rows,
        watermark: head.expect("an answer begins with its head").watermark,
    })
}

/// All user tables of a graph.
pub(crate) async fn dump(graph: &Arc<Graph>) -> Dump {
    let mut dump = Dump {
        content: Content::new(),
        row_ids: RowIds::new(),
    };
    for table in graph.schema().tables() {
        let columns = graph_columns(table);
        let text = table_query(table, &columns);
        let answer = query(graph, &text)
            .await
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let rows = answer.rows.into_iter().map(|mut row| {
            let row_id = row
                .pop()
                .and_then(|cell| cell.as_u64())
                .expect("every row has a row id");
            let cells = columns
                .iter()
                .zip(&row)
                .map(|(column, cell)| canonical(column.column_type, cell));
            (cells.collect(), row_id)
        });
        dump.add(table, rows.collect());
    }
    dump
}

/// All user tables in Lance at the versions of a commit.
pub(crate) async fn lake_dump(lake: &Lake, schema: &Schema, versions: &VersionMap) -> Dump {
    let mut dump = Dump {
        content: Content::new(),
        row_ids: RowIds::new(),
    };
    for table in schema.tables() {
        let version = versions
            .get(&table.name)
            .expect("a version map names every table");
        let pinned = lake
            .at(&table.name, version)
            .await
            .expect("a committed version is there");
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let batches = pinned.scan(&columns).await.expect("a scan");
        let batches: Vec<_> = batches.try_collect().await.expect("a scan to its end");
        let mut rows = Vec::new();
        for batch in batches {
            let ids = batch
                .column_by_name(LANCE_ROW_ID)
                .expect("row ids")
                .as_primitive::<UInt64Type>()
                .clone();
            for row in 0..batch.num_rows() {
                let cell = |column: &Column| {
                    cell(
                        column.column_type,
                        batch.column_by_name(&column.name).expect("a column"),
                        row,
                    )
                };
                rows.push((table.columns.iter().map(cell).collect(), ids.value(row)));
            }
        }
        dump.add(table, rows);
    }
    dump
}

/// `graph` must hold exactly what `model` holds.
pub(crate) async fn assert_holds(who: &str, graph: &Arc<Graph>, model: &Model) {
    let found = dump(graph).await;
    if let Some(difference) = first_difference(&model.graph_content(), &found.content) {
        panic!("{who} differs from the model: {difference}");
    }
}

impl Dump {
    fn add(&mut self, table: &TableSchema, rows: Vec<(Vec<Value>, u64)>) {
        let (mut by_key, mut ids) = (Rows::new(), BTreeMap::new());
        for (cells, row_id) in rows {
            let key = key_text(&key_cells(table, &cells));
            ids.insert(key.clone(), row_id);
            let twice = by_key.insert(key.clone(), cells);
            assert!(
                twice.is_none(),
                "table {}: two rows have the key {key}",
                table.name
            );
        }
        self.content.insert(table.name.clone(), by_key);
        self.row_ids.insert(table.name.clone(), ids);
    }
}

/// Columns that the graph holds, an edge's endpoints first, as in the model.
fn graph_columns(table: &TableSchema) -> Vec<&Column> {
    table
        .columns
        .iter()
        .filter(|column| !matches!(column.column_type, ColumnType::Vector(_)))
        .collect()
}

fn table_query(table: &TableSchema, columns: &[&Column]) -> String {
    let name = quote(&table.name);
    let property = |column: &&Column| format!("x.{}", quote(&column.name));
    // The alias makes the hidden row id visible.
    let row_id = format!("x.{} AS row_id", quote(ROW_ID));
    match &table.kind {
        TableKind::Node { .. } => {
            let shown: Vec<String> = columns.iter().map(property).collect();
            format!("MATCH (x:{name}) RETURN {}, {row_id}", shown.join(", "))
        }
        TableKind::Edge { from, to, .. } => {
            let mut shown = vec![
                format!("a.{}", quote(&from.primary_key)),
                format!("b.{}", quote(&to.primary_key)),
            ];
            shown.extend(columns[2..].iter().map(property));
            let (from, to) = (quote(&from.table), quote(&to.table));
            format!(
                "MATCH (a:{from})-[x:{name}]->(b:{to}) RETURN {}, {row_id}",
                shown.join(", ")
            )
        }
    }
}

/// One cell of a Lance table in canonical form.
fn cell(column_type: ColumnType, array: &dyn Array, row: usize) -> Value {
    match column_type {
        _ if array.is_null(row) => Value::Null,
        ColumnType::Scalar(scalar) => scalar_cell(scalar, array, row),
        ColumnType::List(scalar) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len())
                .map(|item| scalar_cell(scalar, &items, item))
                .collect()
        }
        ColumnType::Vector(_) => {
            let items = array.as_fixed_size_list().value(row);
            items
                .as_primitive::<Float32Type>()
                .values()
                .iter()
                .map(|number| json!(number))
                .collect()
        }
    }
}

fn scalar_cell(scalar: ScalarType, array: &dyn Array, row: usize) -> Value {
    match scalar {
        ScalarType::String => json!(array.as_string::<i32>().value(row)),
        ScalarType::Bool => json!(array.as_boolean().value(row)),
        ScalarType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        ScalarType::Double => json!(array.as_primitive::<Float64Type>().value(row)),
        ScalarType::Timestamp => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        ScalarType::Bytes => json!(STANDARD.encode(array.as_binary::<i32>().value(row))),
        ScalarType::Date => {
            let days = array.as_primitive::<Date32Type>().value(row);
            let (epoch, distance) = (
                DateTime::UNIX_EPOCH.date_naive(),
                Days::new(days.unsigned_abs().into()),
            );
            let date = if days < 0 {
                epoch - distance
            } else {
                epoch + distance
            };
            json!(date.to_string())
        }
    }
}
