//! The schema of a graph grows with a restart of its writer; anything else is refused before it changes anything.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use serde_json::json;
use slipstream::commit_log::CommitKind;
use slipstream::writer::TakeoverError;
use support::cluster::{TestGraph, parse_schema};
use support::dump::{assert_holds, lake_dump};
use support::log::checked_log;
use support::model::{Model, first_difference};
use support::requests::{delete, transaction, upsert};
use support::waiting::crash_points;

const FIRST: &str = "
nodes: [{name: Person, primaryKey: name, properties: [{name: name, type: string}, {name: age, type: int64}]}]
edges: [{name: KNOWS, from: Person, to: Person, properties: [{name: since, type: date}]}]
";
/// A node table, an edge table, two properties of a node (one between the others) and one of an edge are new.
const GROWN: &str = "
nodes:
  - name: Person
    primaryKey: name
    properties:
      - {name: name, type: string}
      - {name: tags, type: list, items: string}
      - {name: age, type: int64}
      - {name: embedding, type: vector, dimension: 2}
  - {name: City, primaryKey: id, properties: [{name: id, type: int64}]}
edges:
  - {name: KNOWS, from: Person, to: Person, properties: [{name: since, type: date}, {name: weight, type: double}]}
  - {name: LIVES_IN, from: Person, to: City}
";

fn first_rows() -> slipstream::writer::TransactionRequest {
    transaction([
        upsert(
            "Person",
            [
                json!({"name": "ann", "age": 30}),
                json!({"name": "bob", "age": 40}),
                json!({"name": "cy"}),
            ],
        ),
        upsert(
            "KNOWS",
            [
                json!({"from": "ann", "to": "bob", "since": "2020-01-31"}),
                json!({"from": "bob", "to": "ann"}),
            ],
        ),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn added_tables_and_properties_reach_every_replica_also_when_the_first_attempt_crashed() {
    let _scenario = crash_points();
    let graph = TestGraph::new(FIRST);
    let mut model = Model::new(&graph.schema);
    let writer = graph.start_writer("writer").await;
    writer.commit(&first_rows()).await;
    model.apply(&first_rows().operations).expect("valid");
    let (mut following, mut restarted) = (
        graph.start_replica("following").await,
        graph.start_replica("restarted").await,
    );
    following.catch_up().await;
    restarted.catch_up().await;
    restarted.stop().await;
    writer.stop().await;

    let grown = parse_schema(GROWN);
    model = model.widened(&grown);
    fail::cfg("takeover::before_schema_commit", "1*return").expect("crash points are compiled in");
    let crashed = graph
        .try_start_writer(graph.settings("writer"), &grown)
        .await
        .map(drop);
    assert!(
        matches!(crashed, Err(TakeoverError::Crashed(_))),
        "the takeover ended with {crashed:?}"
    );
    let writer = graph
        .try_start_writer(graph.settings("writer"), &grown)
        .await
        .expect("the second attempt");
    assert_holds("the writer with the grown schema", &writer.graph(), &model).await;
    following.catch_up().await;
    assert_holds("a replica after the schema's commit", &following.graph(), &model).await;

    let request = transaction([
        upsert("City", [json!({"id": 7})]),
        upsert(
            "Person",
            [
                json!({"name": "ann", "age": 31, "tags": ["x", "y"], "embedding": [0.5, -0.5]}),
                json!({"name": "dee"}),
            ],
        ),
        upsert("LIVES_IN", [json!({"from": "ann", "to": 7})]),
        upsert("KNOWS", [json!({"from": "ann", "to": "bob", "weight": 0.25})]),
        delete("Person", [json!("cy")]),
    ]);
    writer.commit(&request).await;
    model.apply(&request.operations).expect("valid");
    following.catch_up().await;
    // This one meets the schema's commit in the middle of its range.
    let mut restarted = graph.start_replica("restarted").await;
    restarted.catch_up().await;
    let fresh = graph.fresh_rebuild().await;
    for (who, node) in [
        ("following", &following),
        ("restarted", &restarted),
        ("fresh", &fresh),
    ] {
        assert_holds(who, &node.graph(), &model).await;
    }
    assert_holds("the writer", &writer.graph(), &model).await;
    let records = checked_log(&graph.log).await;
    let schemas = records
        .iter()
        .filter(|record| record.kind == CommitKind::Schema)
        .count();
    assert_eq!(schemas, 2, "one commit per schema");
    let head = records.last().expect("a commit");
    let lance = lake_dump(&graph.lake().await, &model.schema, &head.tables).await;
    assert_eq!(
        first_difference(&model.content, &lance.content),
        None,
        "Lance holds the vector and nulls elsewhere"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_schema_again_makes_no_commit_but_the_barrier() {
    let _scenario = crash_points();
    let graph = TestGraph::new(FIRST);
    graph.start_writer("writer").await.stop().await;
    let before = checked_log(&graph.log).await.len();
    graph.start_writer("writer").await.stop().await;
    let records = checked_log(&graph.log).await;
    assert_eq!(records.len(), before + 1);
    assert_eq!(
        records.last().map(|record| record.kind),
        Some(CommitKind::Barrier)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_that_is_no_addition_is_refused_with_the_field_named_and_changes_nothing() {
    let _scenario = crash_points();
    let graph = TestGraph::new(FIRST);
    let mut model = Model::new(&graph.schema);
    let writer = graph.start_writer("writer").await;
    writer.commit(&first_rows()).await;
    model.apply(&first_rows().operations).expect("valid");
    writer.stop().await;
    let cases = [
        (
            FIRST.replace("name: age, type: int64", "name: age, type: double"),
            "spec.schema.nodes[0].properties[1].type",
        ),
        (
            FIRST.replace(", {name: age, type: int64}", ""),
            "spec.schema.nodes[0].properties",
        ),
        (
            FIRST.replace("primaryKey: name", "primaryKey: age"),
            "spec.schema.nodes[0].primaryKey",
        ),
        (
            FIRST.replace(
                "type: date}",
                "type: date}, {name: new, type: bool, required: true}",
            ),
            "spec.schema.edges[0].properties[1].required",
        ),
        (FIRST.replace("name: KNOWS", "name: LIKES"), "spec.schema.edges"),
    ];
    for (schema, field) in cases {
        match graph
            .try_start_writer(graph.settings("writer"), &parse_schema(&schema))
            .await
            .map(drop)
        {
            Err(TakeoverError::Schema(errors)) => {
                let fields: Vec<&str> = errors.0.iter().map(|error| error.field.as_str()).collect();
                assert!(
                    fields.contains(&field),
                    "expected {field} to be named, found {errors}"
                );
            }
            outcome => panic!("the change of {field} ended with {outcome:?}"),
        }
        let head = checked_log(&graph.log).await.pop().expect("a commit");
        assert_eq!(head.kind, CommitKind::Barrier, "a refused change made a commit");
    }
    let writer = graph.start_writer("writer").await;
    assert_holds("the writer with the schema as it was", &writer.graph(), &model).await;
}
