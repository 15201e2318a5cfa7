//! A graph with every type of property, what is done to it behind everybody's back, and a scrub of a node's copy.

use std::sync::Arc;

use kuzu::{Connection, Database, SystemConfig};
use serde_json::{Value, json};
use slipstream::replica::Advancer;
use slipstream::scrub::{ScrubError, ScrubKeeper, ScrubRequests, Scrubbed};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::support::cluster::{ReplicaNode, TestGraph, WriterNode};
use crate::support::requests::{transaction, upsert};
use crate::support::waiting::within;

/// Every type of property, twice where a list of it has a form of its own.
pub(crate) const SCHEMA: &str = "
nodes:
  - name: Thing
    primaryKey: name
    properties:
      - {name: name, type: string}
      - {name: text, type: string}
      - {name: yes, type: bool}
      - {name: number, type: int64}
      - {name: ratio, type: double}
      - {name: day, type: date}
      - {name: at, type: timestamp}
      - {name: raw, type: bytes}
      - {name: words, type: list, items: string}
      - {name: numbers, type: list, items: int64}
      - {name: ratios, type: list, items: double}
      - {name: days, type: list, items: date}
      - {name: times, type: list, items: timestamp}
      - {name: flags, type: list, items: bool}
      - {name: raws, type: list, items: bytes}
      - {name: embedding, type: vector, dimension: 2}
  - {name: Place, primaryKey: id, properties: [{name: id, type: int64}]}
edges:
  - {name: NEAR, from: Thing, to: Thing, properties: [{name: meters, type: double}]}
  - {name: INSIDE, from: Thing, to: Place, key: since, properties: [{name: since, type: int64}, {name: note, type: string}]}
";

/// Rows with nothing, with something and with the ends of every type.
pub(crate) fn things() -> Vec<Value> {
    vec![
        json!({"name": "null"}),
        json!({"name": "", "text": "", "words": [], "numbers": [], "raw": "", "ratios": [], "raws": [], "flags": []}),
        json!({"name": "full", "text": "ünïcode \u{1F600} \"'\\ \u{0}", "yes": true, "number": 9007199254740993_i64,
            "ratio": 0.1, "day": "1969-12-31", "at": "1969-12-31T23:59:59.999999Z", "raw": "AAEC/w==",
            "words": ["", "a", "b"], "numbers": [1, 0, -1], "ratios": [0.5], "days": ["0001-01-01"],
            "times": ["2026-02-03T04:05:06.789012Z"], "flags": [true, false], "raws": ["AA==", ""],
            "embedding": [1.5, -2.5]}),
        json!({"name": "edge", "text": "x", "yes": false, "number": i64::MIN, "ratio": -0.0, "day": "9999-12-31",
            "at": "9999-12-31T23:59:59.999999Z", "numbers": [i64::MAX, i64::MIN], "ratios": [-0.0, 1e308, 5e-324]}),
        json!({"name": "huge", "text": "long ".repeat(20_000), "number": 0, "ratio": f64::MAX}),
    ]
}

/// A graph with all of that, edges included, and its writer's first commits.
pub(crate) async fn filled(graph: &TestGraph) -> WriterNode {
    let writer = graph.start_writer("writer").await;
    let near = [
        json!({"from": "null", "to": "full", "meters": 1.5}),
        json!({"from": "full", "to": "null"}),
        json!({"from": "full", "to": "full", "meters": 0}),
    ];
    let inside = [
        json!({"from": "null", "to": 1, "since": 2020, "note": ""}),
        json!({"from": "null", "to": 1, "since": 2021, "note": null}),
        json!({"from": "edge", "to": -2, "since": 2020, "note": "b"}),
    ];
    let places = [json!({"id": 1}), json!({"id": -2}), json!({"id": 3})];
    writer
        .commit(&transaction([
            upsert("Thing", things()),
            upsert("Place", places),
            upsert("NEAR", near),
            upsert("INSIDE", inside),
        ]))
        .await;
    writer
}

/// A graph with rows of every type, its writer, and a replica that holds them.
pub(crate) struct Scene {
    pub(crate) graph: TestGraph,
    pub(crate) writer: WriterNode,
    pub(crate) replica: ReplicaNode,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let graph = TestGraph::new(SCHEMA);
        let writer = filled(&graph).await;
        let mut replica = graph.start_replica("replica").await;
        replica.catch_up().await;
        Self {
            graph,
            writer,
            replica,
        }
    }
}

/// One scrub now, as whoever asks for it gets it.
pub(crate) async fn scrub(advancer: &Advancer) -> Result<Scrubbed, ScrubError> {
    let (keeper, _requests) = keeper(advancer);
    within("a scrub", keeper.scrub_once(&CancellationToken::new())).await
}

fn keeper(advancer: &Advancer) -> (ScrubKeeper, ScrubRequests) {
    let settings = watch::channel(crds::Scrub::default()).1;
    ScrubKeeper::new(advancer.clone(), settings, Arc::new(Notify::new()), "node")
}

/// A scrub that must find nothing.
pub(crate) async fn assert_equal(who: &str, advancer: &Advancer) -> Scrubbed {
    let scrubbed = scrub(advancer)
        .await
        .unwrap_or_else(|error| panic!("{who} was not compared: {error}"));
    assert_eq!(scrubbed.scrub.difference, None, "{who}");
    assert!(scrubbed.scrub.ok && scrubbed.tables.iter().all(|table| table.equal));
    scrubbed
}

/// Changes the files of a stopped node's graph without anybody's knowing.
pub(crate) fn tamper(graph: &TestGraph, name: &str, statements: &[&str]) {
    let current = graph.current_graph(name).expect("a graph");
    let path = graph.data_dir(name).join(current).join("graph.kuzu");
    let config = SystemConfig::default()
        .buffer_pool_size(64 << 20)
        .max_db_size(1 << 32);
    let database = Database::new(path, config).expect("the graph's database");
    let connection = Connection::new(&database).expect("a connection");
    for statement in statements {
        let changed = connection
            .query(&format!("{statement} RETURN count(*)"))
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
        let changed = changed.into_iter().next().expect("a count");
        assert_eq!(changed, [kuzu::Value::Int64(1)], "{statement}");
    }
}

/// The same replica on a graph that was changed while it was stopped.
pub(crate) async fn restarted(graph: &TestGraph, replica: ReplicaNode, tampering: &[&str]) -> ReplicaNode {
    let name = replica.name.clone();
    replica.stop().await;
    tamper(graph, &name, tampering);
    let mut replica = graph.start_replica(&name).await;
    replica.catch_up().await;
    replica
}
