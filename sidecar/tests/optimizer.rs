//! The optimizer beside clients, replicas, crashes and other writers: whatever it does, every row stays what it was, and what
//! somebody needs is not removed.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

#[path = "optimizer/cleaning.rs"]
mod cleaning;
#[path = "optimizer/crashes.rs"]
mod crashes;
#[path = "optimizer/graph.rs"]
mod graph;
mod support;

use std::time::Duration;

use graph::{Optimized, everything_held};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use slipstream::commit_log::CommitKind;
use slipstream::ids::Seq;
use support::generator::operations;
use support::log::checked_log;
use support::requests::{keyed, upsert};
use support::waiting::{Stall, crash_points};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_beside_random_writes_change_no_row_anywhere() {
    let _scenario = crash_points();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_millis(5)).await;
    let mut replicas = vec![
        test.graph.start_replica("replica-0").await,
        test.graph.start_replica("replica-1").await,
    ];
    for step in 0..120 {
        let operations = operations(&mut rng, &test.model);
        let answer = writer
            .submit(&keyed(&format!("k{step}"), operations.clone()))
            .await;
        assert_eq!(
            answer.is_ok(),
            test.model.apply(&operations).is_ok(),
            "SEED={seed}"
        );
        test.graph.clock.shift_millis(rng.random_range(0..2_000));
        for replica in &mut replicas {
            if rng.random_bool(0.3) {
                replica.pass().await.expect("a pass");
            }
        }
    }
    test.wait_for_optimize_commit(Seq(0)).await;
    writer.at_head().await;
    let fresh = test.graph.fresh_rebuild().await;
    let mut graphs = vec![("the writer", writer.graph()), ("a fresh rebuild", fresh.graph())];
    for replica in &mut replicas {
        replica.catch_up().await;
        graphs.push(("a replica", replica.graph()));
    }
    everything_held(&graphs, &test.model).await;
    drop(graphs);
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_that_clients_change_during_a_compaction_stay_changed() {
    let _scenario = crash_points();
    let mut test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
    test.write_rounds(&writer, 4).await;
    let stall = Stall::at("optimizer::after_rewrite");
    test.every(Duration::from_millis(5));
    stall.reached().await;
    // Replaces rows of the fragments that are being merged, all of some of them.
    let people = (1..=4).map(|id| json!({"name": format!("p{id}"), "score": 0.5}));
    let request = keyed("replace", [upsert("Person", people)]);
    let before = writer.commit(&request).await;
    test.model
        .apply(&request.operations)
        .expect("the model applies it");
    test.every(Duration::from_secs(3600));
    let runs = test.runs(&writer);
    stall.resume();
    test.runs_exceed(&writer, runs).await;
    let records = checked_log(&test.graph.log).await;
    let after = records.iter().find(|record| record.seq > before.seq);
    let after = after.expect("an optimize commit");
    assert_eq!(after.kind, CommitKind::Optimize);
    assert_ne!(
        after.tables.get("Person"),
        before.tables.get("Person"),
        "it was dropped"
    );
    let fresh = test.graph.fresh_rebuild().await;
    everything_held(&[("fresh", fresh.graph())], &test.model).await;
    everything_held(&[("the writer", writer.graph())], &test.model).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_with_nothing_to_do_makes_no_commit_and_a_new_cadence_needs_no_restart() {
    let _scenario = crash_points();
    let mut test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
    test.write_rounds(&writer, 5).await;
    test.every(Duration::from_millis(5));
    let optimized = test.wait_for_optimize_commit(Seq(0)).await;
    test.run_ends(&writer).await;
    let report = writer.advancer.progress.reports().view().optimizer;
    let last = report.last.expect("a report");
    assert!(last.what.contains("fragments compacted"), "{}", last.what);
    assert!(last.why.contains("every 5ms"), "{}", last.why);
    test.run_ends(&writer).await;
    test.run_ends(&writer).await;
    let head = test.graph.log.head(Seq(0)).await.expect("a log").expect("a head");
    let runs = checked_log(&test.graph.log).await;
    let optimizes = runs
        .iter()
        .filter(|record| record.kind == CommitKind::Optimize)
        .count();
    assert!(optimizes <= 2, "{optimizes} optimize commits for one change");
    assert!(head.seq <= Seq(optimized.0 + 2));
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn declared_indexes_are_there_cover_new_rows_and_go_when_they_are_not_declared_any_more() {
    let _scenario = crash_points();
    let mut test = Optimized::with_indexes();
    let writer = test.start_writer("writer", Duration::from_millis(20)).await;
    test.write_rounds(&writer, 3).await;
    test.indexes_become(&writer, &["name_fullText", "score_scalar"])
        .await;
    test.write_rounds(&writer, 3).await;
    test.indexes_become(&writer, &["name_fullText", "score_scalar"])
        .await;
    everything_held(&[("the writer", writer.graph())], &test.model).await;
    writer.stop().await;
    test.drop_declared_indexes();
    let writer = test.start_writer("writer", Duration::from_millis(20)).await;
    test.indexes_become(&writer, &[]).await;
    let records = checked_log(&test.graph.log).await;
    let schemas = records
        .iter()
        .filter(|record| record.kind == CommitKind::Schema)
        .count();
    assert_eq!(schemas, 1, "an index is no change of the schema");
    writer.stop().await;
}
