//! Scrubs: a graph that is what Lance holds never counts as different, one that is not always does, and is built again.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

#[path = "scrub/cadence.rs"]
mod cadence;
#[path = "scrub/graph.rs"]
mod graph;
#[path = "scrub/healing.rs"]
mod healing;
#[path = "scrub/outgrown.rs"]
mod outgrown;
mod support;
#[path = "scrub/tampering.rs"]
mod tampering;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graph::{SCHEMA, Scene, assert_equal, restarted, scrub, things};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use slipstream::scrub::ScrubError;
use support::cluster::TestGraph;
use support::dump::assert_holds;
use support::generator::operations;
use support::model::Model;
use support::requests::{transaction, upsert};
use support::waiting::{crash_points, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_type_of_property_compares_equal_whichever_way_it_came_into_the_graph() {
    let _scenario = crash_points();
    // Applied by prepared statements on the writer, by a build on the replica.
    let Scene {
        graph,
        writer,
        mut replica,
    } = Scene::new().await;
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
