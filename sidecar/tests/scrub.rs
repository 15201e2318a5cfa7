//! Scrubs: a graph that is what Lance holds never counts as different, one that is not always does, and is built again.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kuzu::{Connection, Database, SystemConfig};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use slipstream::replica::Advancer;
use slipstream::scrub::{ScrubError, ScrubKeeper, ScrubRequests, Scrubbed};
use support::cluster::{ReplicaNode, TestGraph};
use support::dump::assert_holds;
use support::generator::operations;
use support::model::Model;
use support::requests::{transaction, upsert};
use support::waiting::{crash_points, until, within};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Every type of property, twice where a list of it has a form of its own.
const SCHEMA: &str = "
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

fn things() -> Vec<Value> {
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
async fn filled(graph: &TestGraph) -> support::cluster::WriterNode {
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

fn keeper(advancer: &Advancer) -> (ScrubKeeper, ScrubRequests) {
    let settings = watch::channel(crds::Scrub::default()).1;
    ScrubKeeper::new(advancer.clone(), settings, Arc::new(Notify::new()), "node")
}

async fn scrub(advancer: &Advancer) -> Result<Scrubbed, ScrubError> {
    let (keeper, _requests) = keeper(advancer);
    within("a scrub", keeper.scrub_once(&CancellationToken::new())).await
}

/// A scrub that must find nothing.
async fn assert_equal(who: &str, advancer: &Advancer) -> Scrubbed {
    let scrubbed = scrub(advancer)
        .await
        .unwrap_or_else(|error| panic!("{who} was not compared: {error}"));
    assert_eq!(scrubbed.scrub.difference, None, "{who}");
    assert!(scrubbed.scrub.ok && scrubbed.tables.iter().all(|table| table.equal));
    scrubbed
}

/// Changes the files of a stopped node's graph without anybody's knowing.
fn tamper(graph: &TestGraph, name: &str, statements: &[&str]) {
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

async fn restarted(graph: &TestGraph, replica: ReplicaNode, tampering: &[&str]) -> ReplicaNode {
    let name = replica.name.clone();
    replica.stop().await;
    tamper(graph, &name, tampering);
    let mut replica = graph.start_replica(&name).await;
    replica.catch_up().await;
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_type_of_property_compares_equal_whichever_way_it_came_into_the_graph() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = filled(&graph).await;
    // Applied by prepared statements on the writer, by a build on the replica.
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    for (who, advancer) in [
        ("the writer", &writer.advancer),
        ("a fresh replica", &replica.advancer),
    ] {
        let scrubbed = assert_equal(who, advancer).await;
        assert_eq!(scrubbed.scrub.rows, 5 + 3 + 3 + 3, "{who}");
        let rows: Vec<(&str, u64, u64)> = scrubbed
            .tables
            .iter()
            .map(|table| (table.table.as_str(), table.lance_rows, table.graph_rows))
            .collect();
        assert_eq!(
            rows,
            [("Thing", 5, 5), ("Place", 3, 3), ("NEAR", 3, 3), ("INSIDE", 3, 3)]
        );
    }
    // Replaced in place, and in bulk through spilled files.
    writer
        .commit(&transaction([upsert("Thing", things()[2..4].to_vec())]))
        .await;
    let many: Vec<Value> = (0..2_500)
        .map(|index| {
            let mut thing = things()[index % 5].clone();
            thing["name"] = json!(format!("{}-{index}", thing["name"].as_str().expect("a name")));
            // One long text is enough.
            thing["text"] = json!(index.to_string());
            thing
        })
        .collect();
    writer.load("Thing", &many, 1_250, None).await.expect("a load");
    writer.at_head().await;
    replica.catch_up().await;
    let fresh = graph.fresh_rebuild().await;
    for (who, advancer) in [
        ("the writer after replacing", &writer.advancer),
        ("the replica after replacing", &replica.advancer),
        ("a fresh rebuild", &fresh.advancer),
    ] {
        assert_eq!(assert_equal(who, advancer).await.scrub.rows, 2_505 + 9, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_longer_than_a_page_and_a_node_with_more_edges_than_one_compare_equal() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = graph.start_writer("writer").await;
    let places: Vec<Value> = (0..4_000).map(|id| json!({"id": id * 3})).collect();
    writer.load("Place", &places, 1_000, None).await.expect("a load");
    writer
        .commit(&transaction([upsert(
            "Thing",
            [json!({"name": "hub"}), json!({"name": "other"})],
        )]))
        .await;
    let mut edges: Vec<Value> = (0..4_000)
        .map(|id| json!({"from": "hub", "to": id * 3, "since": 2020, "note": id.to_string()}))
        .collect();
    edges.extend((0..1_500).map(|since| json!({"from": "other", "to": 0, "since": since})));
    writer.load("INSIDE", &edges, 1_000, None).await.expect("a load");
    writer.at_head().await;
    // Row ids with gaps, and far apart.
    for _ in 0..3 {
        writer
            .load("Place", &places[100..2_100], 1_000, None)
            .await
            .expect("a load");
    }
    writer.at_head().await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    for (who, advancer) in [
        ("the writer", &writer.advancer),
        ("the replica", &replica.advancer),
    ] {
        let scrubbed = assert_equal(who, advancer).await;
        assert_eq!(scrubbed.scrub.rows, 2 + 4_000 + 5_500, "{who}");
    }
    let replica = restarted(
        &graph,
        replica,
        &["MATCH (a:Thing {name: 'hub'})-[x:INSIDE]->(b:Place {id: 9000}) SET x.note = 'other'"],
    )
    .await;
    let found = scrub(&replica.advancer).await.expect("a verdict");
    assert!(
        found
            .scrub
            .difference
            .as_ref()
            .is_some_and(|text| text.contains("table INSIDE")),
        "one row of many: {found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_kind_of_tampering_is_found_named_and_healed_from_lance() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = filled(&graph).await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    let swapped = [
        "MATCH (a:Thing {name: 'edge'})-[x:INSIDE]->(b:Place {id: -2}) DELETE x",
        "MATCH (a:Thing {name: 'edge'}) MATCH (b:Place {id: 3}) CREATE (a)-[x:INSIDE {since: 2020, note: 'b', _rowid: 2}]->(b)",
    ];
    let cases: [(&str, &str, &[&str]); 17] = [
        (
            "a changed text",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.text = 'other'"],
        ),
        (
            "an empty text for null",
            "Thing",
            &["MATCH (x:Thing {name: 'null'}) SET x.text = ''"],
        ),
        (
            "null for an empty text",
            "Thing",
            &["MATCH (x:Thing {name: ''}) SET x.text = NULL"],
        ),
        (
            "null for an empty list",
            "Thing",
            &["MATCH (x:Thing {name: ''}) SET x.words = NULL"],
        ),
        (
            "an empty list for null",
            "Thing",
            &["MATCH (x:Thing {name: 'null'}) SET x.numbers = CAST([] AS INT64[])"],
        ),
        (
            "another order in a list",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.flags = [false, true]"],
        ),
        (
            "a flag",
            "Thing",
            &["MATCH (x:Thing {name: 'edge'}) SET x.yes = true"],
        ),
        (
            "a number off by one",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.number = 9007199254740992"],
        ),
        (
            "a ratio off by a bit",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.ratio = 0.1000000000000000194"],
        ),
        (
            "a day",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.day = date('1970-01-01')"],
        ),
        (
            "a microsecond",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.at = timestamp('1969-12-31 23:59:59.999998')"],
        ),
        (
            "a byte",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x.raw = BLOB('\\\\x00\\\\x01\\\\x02\\\\xFE')"],
        ),
        (
            "another row id",
            "Thing",
            &["MATCH (x:Thing {name: 'full'}) SET x._rowid = x._rowid + 1000000"],
        ),
        (
            "no row id",
            "Place",
            &["MATCH (x:Place {id: 3}) SET x._rowid = NULL"],
        ),
        (
            "a row too many",
            "Place",
            &["CREATE (x:Place {id: 4, _rowid: 4})"],
        ),
        (
            "a row too few",
            "NEAR",
            &["MATCH (a:Thing {name: 'full'})-[x:NEAR]->(b:Thing {name: 'null'}) DELETE x"],
        ),
        ("an edge's other end", "INSIDE", &swapped),
    ];
    for (what, table, statements) in cases {
        replica = restarted(&graph, replica, statements).await;
        let advancer = replica.advancer.clone();
        let found = scrub(&advancer).await.expect("a verdict");
        let difference = found
            .scrub
            .difference
            .clone()
            .unwrap_or_else(|| panic!("{what} was not found"));
        assert!(
            difference.contains(&format!("table {table}")),
            "{what}: {difference}"
        );
        let different: Vec<&str> = found
            .tables
            .iter()
            .filter(|table| !table.equal)
            .map(|table| table.table.as_str())
            .collect();
        assert_eq!(different, [table], "{what}");
        assert!(
            advancer.local.current().is_none(),
            "{what}: it is not served any more"
        );
        assert_eq!(advancer.local.difference(), Some(difference), "{what}");
        assert!(advancer.local.must_build(), "{what}");
        let report = advancer.progress.reports().view().scrub;
        assert!(
            !report.running && report.last.is_some_and(|last| !last.ok),
            "{what}"
        );
        assert!(
            matches!(scrub(&advancer).await, Err(ScrubError::NoGraph)),
            "{what}: there is nothing to compare until another is built"
        );
        drop(advancer);
        replica.catch_up().await;
        assert_eq!(replica.advancer.local.difference(), None, "{what}");
        assert!(!replica.advancer.local.must_build(), "{what}");
        assert_equal(what, &replica.advancer).await;
    }
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_graph_that_was_given_up_is_not_opened_again_by_the_next_process() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = filled(&graph).await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    let damage = ["MATCH (x:Thing {name: 'full'}) SET x.number = 1"];
    let replica = restarted(&graph, replica, &damage).await;
    assert!(!scrub(&replica.advancer).await.expect("a verdict").scrub.ok);
    replica.stop().await;
    let mut replica = graph.start_replica("replica").await;
    assert!(
        replica.advancer.local.current().is_none(),
        "the damaged graph was opened"
    );
    assert!(replica.advancer.local.must_build(), "it may come from a snapshot");
    replica.catch_up().await;
    assert_equal("the rebuilt replica", &replica.advancer).await;
    replica.stop().await;
    let replica = graph.start_replica("replica").await;
    assert!(
        replica.advancer.local.current().is_some() && !replica.advancer.local.must_build(),
        "the rebuilt graph is kept"
    );
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_builds_its_graph_again_by_itself_before_it_commits_anything() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = filled(&graph).await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    writer.stop().await;
    // To this graph the row does not exist, so that an upsert of it would be one row too many in Lance.
    tamper(&graph, "writer", &["MATCH (x:Place {id: 3}) DELETE x"]);
    let writer = graph.start_writer("writer").await;
    assert!(
        writer.graph().count_rows("Place").expect("a count") == 2,
        "still damaged"
    );
    let found = scrub(&writer.advancer).await.expect("a verdict");
    assert!(
        found
            .scrub
            .difference
            .is_some_and(|text| text.contains("table Place"))
    );
    // At once, without anything to wake it but the scrub.
    writer
        .commit(&transaction([upsert(
            "Place",
            [json!({"id": 3}), json!({"id": 5})],
        )]))
        .await;
    assert_eq!(writer.advancer.local.difference(), None);
    assert_equal("the writer", &writer.advancer).await;
    replica.catch_up().await;
    let scrubbed = assert_equal("a replica", &replica.advancer).await;
    let places = scrubbed
        .tables
        .iter()
        .find(|table| table.table == "Place")
        .expect("the table");
    assert_eq!(
        places.lance_rows, 4,
        "the row that the damaged graph lacked is in Lance once"
    );
    writer.stop().await;
    // An idle writer does it too.
    tamper(&graph, "writer", &["CREATE (x:Place {id: 77, _rowid: 77})"]);
    let writer = graph.start_writer("writer").await;
    assert!(!scrub(&writer.advancer).await.expect("a verdict").scrub.ok);
    until("the idle writer to have a graph again", || {
        writer.advancer.local.current().is_some() && writer.advancer.local.difference().is_none()
    })
    .await;
    assert_equal("the idle writer", &writer.advancer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_after_a_difference_was_seen_leaves_it_to_the_next_scrub() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = filled(&graph).await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    let damage = ["MATCH (x:Thing {name: 'full'}) SET x.number = 1"];
    let replica = restarted(&graph, replica, &damage).await;
    for point in ["scrub::before_compare", "scrub::after_difference"] {
        fail::cfg(point, "return").expect("crash points are compiled in");
        let stopped = scrub(&replica.advancer).await;
        fail::remove(point);
        assert!(
            matches!(stopped, Err(ScrubError::Crashed(found)) if found == point),
            "{point}"
        );
    }
    replica.stop().await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    assert!(!scrub(&replica.advancer).await.expect("a verdict").scrub.ok);
    replica.catch_up().await;
    assert_equal("the replica", &replica.advancer).await;
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scrub_runs_on_its_cadence_and_whenever_asked() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = filled(&graph).await;
    let (settings, watched) = watch::channel(crds::Scrub {
        enabled: false,
        ..crds::Scrub::default()
    });
    let wake = Arc::new(Notify::new());
    let (keeper, requests) = ScrubKeeper::new(writer.advancer.clone(), watched, wake, "writer");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(keeper.run(shutdown.clone()));
    let report = || writer.advancer.progress.reports().view().scrub;
    let (first, second) = tokio::join!(requests.scrub(), requests.scrub());
    for scrubbed in [first, second] {
        assert!(scrubbed.expect("a verdict").scrub.ok);
    }
    assert_eq!(report().next_due, None, "switched off");
    let before = report().last.expect("a scrub").timestamp;
    settings.send_replace(crds::Scrub {
        enabled: true,
        interval: crds::Duration::from_millis(1),
    });
    until("a scrub by itself", || {
        report().last.is_some_and(|last| last.timestamp > before)
    })
    .await;
    settings.send_replace(crds::Scrub::default());
    until("the next one to be due in a day", || {
        let now = writer.advancer.progress.clock().now();
        report()
            .next_due
            .is_some_and(|due| due > now + chrono::TimeDelta::hours(23))
    })
    .await;
    shutdown.cancel();
    within("the keeper to end", running).await.expect("no panic");
    assert!(matches!(
        requests.scrub().await.map_err(|error| error.to_string()),
        Err(text) if text.contains("no graph")
    ));
}

/// The most important property: whatever a writer and its replica are doing, a healthy graph is never called different.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn beside_a_busy_writer_no_scrub_ever_finds_a_difference() {
    let _scenario = crash_points();
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("a number"));
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let mut settings = graph.settings("writer");
    settings.checkpoint_commits = 2;
    let writer = graph
        .try_start_writer(settings, &graph.schema)
        .await
        .expect("a takeover");
    let mut replica = graph.start_replica_with("replica", 4, 2).await;
    replica.catch_up().await;
    let done = Arc::new(AtomicBool::new(false));
    let scrubs: Vec<_> = [
        ("the writer", &writer.advancer),
        ("the replica", &replica.advancer),
    ]
    .into_iter()
    .map(|(who, advancer)| {
        let (advancer, done, count) = (advancer.clone(), done.clone(), Arc::new(AtomicU64::new(0)));
        let counted = count.clone();
        let task = tokio::spawn(async move {
            let mut moved = std::collections::BTreeSet::new();
            while !done.load(Ordering::SeqCst) {
                match scrub(&advancer).await {
                    Ok(scrubbed) => {
                        assert_eq!(scrubbed.scrub.difference, None, "{who}");
                        moved.insert(scrubbed.scrub.seq);
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    // Before the first graph, or while another is built.
                    Err(ScrubError::NoGraph | ScrubError::Replaced) => tokio::task::yield_now().await,
                    Err(error) => panic!("{who} was not compared: {error}"),
                }
            }
            moved.len()
        });
        (who, counted, task)
    })
    .collect();
    let mut commits = 0;
    while commits < 120 {
        let operations = operations(&mut rng, &model);
        let valid = model.clone().apply(&operations).is_ok();
        let committed = writer.submit(&transaction(operations.clone())).await;
        assert_eq!(committed.is_ok(), valid, "{committed:?}");
        if valid {
            model.apply(&operations).expect("it was valid");
            commits += 1;
        }
        if rng.random_bool(0.5) {
            replica.pass().await.expect("a pass");
        }
        if commits % 40 == 20 {
            let watermark = replica
                .graph()
                .watermark()
                .expect("readable")
                .expect("a watermark");
            within("a rebuild", replica.advancer.rebuild(&watermark))
                .await
                .expect("a rebuild");
        }
    }
    replica.catch_up().await;
    let counts: Vec<u64> = scrubs
        .iter()
        .map(|(_, count, _)| count.load(Ordering::SeqCst))
        .collect();
    until("every scrub to go on to the last commit", || {
        scrubs
            .iter()
            .zip(&counts)
            .all(|((_, count, task), before)| task.is_finished() || count.load(Ordering::SeqCst) > before + 1)
    })
    .await;
    done.store(true, Ordering::SeqCst);
    for (who, count, task) in scrubs {
        let commits_seen = within("the scrubs to end", task)
            .await
            .expect("no false difference");
        let count = count.load(Ordering::SeqCst);
        println!("{who}: {count} scrubs of {commits_seen} commits");
        assert!(
            count > 10 && commits_seen > 5,
            "{who}: too few scrubs to mean anything"
        );
    }
    assert_holds("the writer", &writer.graph(), &model).await;
    assert_holds("the replica", &replica.graph(), &model).await;
}
