//! `LOAD FROM` a Parquet spill in the forms that the apply uses, and `COPY` into a fresh table, with every property type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::Int64Type;
use crds::{EdgeTable, GraphSchema, NodeTable, Property, PropertyType, ScalarType};
use kuzu::Connection;

use super::{count, open, run};
use crate::graph::spill::{SpillWriter, key_batch, spill_batch};
use crate::rows::{Key, RowKey};
use crate::schema::Schema;
use crate::schema::kuzu_types::{create_table, string_literal};

fn schema() -> Schema {
    let mut properties = vec![
        Property::new("id", PropertyType::String),
        Property::new("b", PropertyType::Bool),
        Property::new("i", PropertyType::Int64),
        Property::new("d", PropertyType::Double),
        Property::new("day", PropertyType::Date),
        Property::new("at", PropertyType::Timestamp),
        Property::new("raw", PropertyType::Bytes),
        Property::new("list", PropertyType::List),
    ];
    properties[7].items = Some(ScalarType::Int64);
    let nodes = vec![NodeTable {
        name: "Thing".into(),
        primary_key: "id".into(),
        properties,
    }];
    let mut edges = vec![EdgeTable {
        name: "LINK".into(),
        from: "Thing".into(),
        to: "Thing".into(),
        key: None,
        properties: vec![Property::new("w", PropertyType::Int64)],
    }];
    edges.push(EdgeTable {
        name: "KEYED".into(),
        key: Some("w".into()),
        ..edges[0].clone()
    });
    Schema::new(&GraphSchema { nodes, edges }).unwrap()
}

fn things(ids: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<i64> = ids.collect();
    let n = rows.len();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|id| format!("thing '{id}'")),
            )),
        ),
        (
            "b",
            Arc::new(BooleanArray::from_iter(
                rows.iter().map(|id| (id % 3 != 0).then_some(id % 2 == 0)),
            )),
        ),
        (
            "i",
            Arc::new(Int64Array::from_iter(
                rows.iter().map(|id| (id % 5 != 0).then_some(i64::MAX - id)),
            )),
        ),
        (
            "d",
            Arc::new(Float64Array::from_iter_values(
                rows.iter().map(|id| *id as f64 / 3.0),
            )),
        ),
        ("day", Arc::new(Date32Array::from(vec![-1; n]))),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_123_456; n]).with_timezone("UTC")),
        ),
        (
            "raw",
            Arc::new(BinaryArray::from_iter_values(
                rows.iter().map(|_| [0_u8, 255, 39, 92]),
            )),
        ),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                rows.iter().map(|id| Some(vec![Some(*id), Some(-1)])),
            )),
        ),
        (
            "_rowid",
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|id| *id as u64))),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn links(from: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<i64> = from.collect();
    let name = |id: i64| format!("thing '{id}'");
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "from",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|id| name(*id)))),
        ),
        (
            "to",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|id| name(id + 1)))),
        ),
        ("w", Arc::new(Int64Array::from_iter_values(rows.iter().copied()))),
        (
            "_rowid",
            Arc::new(UInt64Array::from_iter_values(
                rows.iter().map(|id| 1000 + *id as u64),
            )),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn spilled(directory: &std::path::Path, batch: &RecordBatch) -> super::super::spill::Spill {
    let mut writer = SpillWriter::create(directory, "test", batch).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap()
}

#[test]
fn copy_takes_every_property_type_from_a_spill() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    let schema = schema();
    for table in schema.tables() {
        run(&connection, &create_table(table));
    }
    for (table, rows) in [
        ("Thing", things(0..50)),
        ("Thing", things(50..100)),
        ("LINK", links(0..60)),
        ("LINK", links(60..99)),
    ] {
        let spill = spilled(
            directory.path(),
            &spill_batch(schema.table(table).unwrap(), &rows).unwrap(),
        );
        run(
            &connection,
            &format!(
                "COPY {table} FROM {}",
                string_literal(&spill.path.to_string_lossy())
            ),
        );
    }
    assert_eq!(count(&connection, "MATCH (n:Thing) RETURN count(*)"), 100);
    assert_eq!(
        count(
            &connection,
            "MATCH (:Thing)-[r:LINK]->(:Thing) WHERE r.w + 1000 = r._rowid RETURN count(*)"
        ),
        99
    );
    let row = run(
        &connection,
        "MATCH (n:Thing {id: \"thing '7'\"}) RETURN n.b, n.i, n.day, n.at, n.raw, n.list, n._rowid",
    );
    assert_eq!(
        row[0],
        [
            "False",
            "9223372036854775800",
            "1969-12-31",
            "2023-11-14 22:13:20.123456 +00:00:00",
            "[0, ff, 27, 5c]",
            "[7,-1]",
            "7"
        ]
    );
    assert_eq!(
        count(&connection, "MATCH (n:Thing) WHERE n.b IS NULL RETURN count(*)"),
        34
    );
}

#[test]
fn load_from_creates_and_sets_exactly_the_rows_of_a_spill() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    run(
        &connection,
        "CREATE NODE TABLE N (id STRING, v INT64, PRIMARY KEY (id))",
    );
    run(&connection, "CREATE REL TABLE R (FROM N TO N, w INT64)");
    let rows = 5000;
    let batch = |offset: i64| {
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..rows).map(|id: i64| id.to_string()),
        ));
        let next: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..rows).map(|id: i64| ((id + 1) % rows).to_string()),
        ));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|id| id + offset)));
        RecordBatch::try_from_iter([
            ("c0", ids.clone()),
            ("c_from", ids),
            ("c_to", next),
            ("c1", values),
        ])
        .unwrap()
    };
    let first = spilled(directory.path(), &batch(0));
    let second = spilled(directory.path(), &batch(7));
    let source = |spill: &super::super::spill::Spill| string_literal(&spill.path.to_string_lossy());
    run(&connection, "BEGIN TRANSACTION");
    assert_eq!(
        count(
            &connection,
            &format!(
                "LOAD FROM {} CREATE (x:N {{id: c0, v: c1}}) RETURN count(*)",
                source(&first)
            )
        ),
        rows
    );
    let create =
        "MATCH (a:N {id: c_from}) MATCH (b:N {id: c_to}) CREATE (a)-[x:R {w: c1}]->(b) RETURN count(*)";
    assert_eq!(
        count(&connection, &format!("LOAD FROM {} {create}", source(&first))),
        rows
    );
    run(&connection, "COMMIT");
    run(&connection, "BEGIN TRANSACTION");
    assert_eq!(
        count(
            &connection,
            &format!(
                "LOAD FROM {} MATCH (x:N {{id: c0}}) SET x.v = c1 RETURN count(*)",
                source(&second)
            )
        ),
        rows
    );
    let set = "MATCH (a:N {id: c_from})-[x:R]->(b:N {id: c_to}) SET x.w = c1 RETURN count(*)";
    assert_eq!(
        count(&connection, &format!("LOAD FROM {} {set}", source(&second))),
        rows
    );
    run(&connection, "COMMIT");
    let set = "MATCH (x:N) WHERE x.v = CAST(x.id AS INT64) + 7 RETURN count(*)";
    assert_eq!(count(&connection, set), rows);
    assert_eq!(
        count(
            &connection,
            "MATCH (a:N)-[x:R]->(:N) WHERE x.w = a.v RETURN count(*)"
        ),
        rows
    );
}

#[test]
fn load_from_finds_rows_by_key() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let connection = Connection::new(&database).unwrap();
    super::chain(&connection, 1000);
    let keys: Vec<RowKey> = (500..3000).map(|id| RowKey::Node(Key::Int(id))).collect();
    let spill = spilled(
        directory.path(),
        &key_batch(&keys.iter().collect::<Vec<_>>()).unwrap(),
    );
    let source = string_literal(&spill.path.to_string_lossy());
    let text = format!("LOAD FROM {source} MATCH (x:N {{id: c_key}}) RETURN count(*)");
    assert_eq!(count(&connection, &text), 500);
    let edges: Vec<RowKey> = (500..3000)
        .map(|id| RowKey::Edge {
            from: Key::Int(id),
            to: Key::Int(id + 1),
            key: None,
        })
        .collect();
    let spill = spilled(
        directory.path(),
        &key_batch(&edges.iter().collect::<Vec<_>>()).unwrap(),
    );
    let source = string_literal(&spill.path.to_string_lossy());
    let text =
        format!("LOAD FROM {source} MATCH (a:N {{id: c_from}})-[x:R]->(b:N {{id: c_to}}) RETURN count(*)");
    assert_eq!(count(&connection, &text), 499);
}
