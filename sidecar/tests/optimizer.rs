//! The optimizer beside clients, replicas, crashes and other writers: whatever it does, every row stays what it was, and what
//! somebody needs is not removed.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

#[path = "optimizer/graph.rs"]
mod graph;
mod support;

use std::time::Duration;

use graph::{Optimized, everything_held};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use slipstream::commit_log::CommitKind;
use slipstream::ids::{LanceVersion, Seq};
use slipstream::lake::LakeError;
use slipstream::writer::CommitError;
use support::generator::operations;
use support::log::checked_log;
use support::requests::{keyed, upsert};
use support::waiting::{Stall, crash_points, until};

/// The points at which a run of the optimizer can be stopped that every run with clients beside comes to.
const POINTS: [&str; 8] = [
    "optimizer::after_rewrite",
    "optimizer::before_commit_tables",
    "optimizer::before_record",
    "optimizer::after_record",
    "optimizer::before_cleaning",
    "optimizer::between_cleanings",
    "optimizer::before_trim",
    "optimizer::between_trims",
];

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
async fn a_pinned_version_stays_and_what_lies_between_two_pins_goes() {
    let _scenario = crash_points();
    let mut test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
    let pinned = test.write_rounds(&writer, 3).await;
    // Its lease holds for a minute.
    let mut replica = test.graph.start_replica("replica-0").await;
    replica.catch_up().await;
    let between = test.write_rounds(&writer, 1).await;
    test.write_rounds(&writer, 3).await;
    test.graph.clock.shift_millis(20_000);
    test.write_rounds(&writer, 3).await;
    let cleaned = test.clean(&writer).await;
    assert!(cleaned > 0, "nothing was cleaned");
    let lake = test.graph.lake().await;
    let version = |answer: &slipstream::writer::CommitAnswer| answer.tables.get("Person").expect("a version");
    lake.at("Person", version(&pinned))
        .await
        .expect("what a lease pins");
    let error = lake.at("Person", version(&between)).await.expect_err("between");
    assert!(matches!(error, LakeError::VersionMissing { .. }), "{error}");
    let graph = test.graph.current_graph("replica-0");
    replica.catch_up().await;
    assert_eq!(test.graph.current_graph("replica-0"), graph, "it had to rebuild");
    everything_held(&[("the replica", replica.graph())], &test.model).await;

    // A minute of silence later its versions may go, and it builds anew.
    test.write_rounds(&writer, 3).await;
    test.graph.clock.shift_millis(120_000);
    test.write_rounds(&writer, 3).await;
    test.clean(&writer).await;
    let old = LanceVersion(
        replica
            .advancer
            .local
            .current()
            .expect("a graph")
            .watermark()
            .expect("readable")
            .expect("a watermark")
            .tables
            .get("Person")
            .expect("a version")
            .0,
    );
    let fresh_lake = test.graph.lake().await;
    assert!(
        fresh_lake.at("Person", old).await.is_err(),
        "an expired lease pins nothing"
    );
    replica.catch_up().await;
    everything_held(&[("the replica", replica.graph())], &test.model).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_reads_a_delta_meanwhile_reads_it_to_its_end() {
    let _scenario = crash_points();
    let mut test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
    test.write_rounds(&writer, 3).await;
    let mut replica = test.graph.start_replica("replica-0").await;
    replica.catch_up().await;
    test.write_rounds(&writer, 3).await;
    test.graph.clock.shift_millis(20_000);
    test.write_rounds(&writer, 1).await;
    let graph = test.graph.current_graph("replica-0");
    let stall = Stall::at("replica::before_graph_commit");
    let following = tokio::spawn(async move {
        replica.catch_up().await;
        replica
    });
    stall.reached().await;
    assert!(test.clean(&writer).await > 0);
    stall.resume();
    let replica = following.await.expect("it follows");
    assert_eq!(test.graph.current_graph("replica-0"), graph, "it had to rebuild");
    everything_held(&[("the replica", replica.graph())], &test.model).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_trimming_new_replicas_lagging_ones_and_a_new_writer_go_on_and_keys_still_answer() {
    let _scenario = crash_points();
    let mut test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
    let mut lagging = test.graph.start_replica("lagging").await;
    lagging.catch_up().await;
    for _ in 0..12 {
        test.write_rounds(&writer, 2).await;
    }
    test.graph.clock.shift_millis(120_000);
    let request = keyed(
        "late",
        [upsert("Person", [json!({"name": "late", "score": 1.0})])],
    );
    let first = writer.commit(&request).await;
    test.model.apply(&request.operations).expect("applies");
    test.clean(&writer).await;
    let trimmed = writer
        .advancer
        .progress
        .reports()
        .view()
        .optimizer
        .trimmed_commits;
    assert!(trimmed > 0, "nothing was trimmed");
    let head = test.graph.log.head(Seq(0)).await.expect("a log").expect("a head");
    let left = test
        .graph
        .log
        .listed_after(Seq(0), 1000)
        .await
        .expect("a listing");
    assert!(left.contains(&head.schema_version), "the schema's record stays");
    let dense: Vec<u64> = left
        .iter()
        .map(|seq| seq.0)
        .filter(|seq| *seq != head.schema_version.0)
        .collect();
    assert!(dense.windows(2).all(|pair| pair[1] == pair[0] + 1), "{dense:?}");
    assert!(dense[0] > 3 && head.seq.0 - dense[0] + 1 >= 5, "{dense:?}");

    lagging.catch_up().await;
    let fresh = test.graph.fresh_rebuild().await;
    everything_held(
        &[("lagging", lagging.graph()), ("fresh", fresh.graph())],
        &test.model,
    )
    .await;
    writer.stop().await;
    let writer = test.start_writer("writer-2", Duration::from_secs(3600)).await;
    assert_eq!(writer.submit(&request).await.expect("the first answer"), first);
    test.write_rounds(&writer, 2).await;
    everything_held(&[("a new writer", writer.graph())], &test.model).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leases_that_expired_long_ago_are_removed() {
    let _scenario = crash_points();
    let mut test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
    let mut replica = test.graph.start_replica("replica-0").await;
    test.write_rounds(&writer, 2).await;
    replica.catch_up().await;
    replica.stop().await;
    let leases = || async {
        test.graph
            .store
            .list("replicas/", None, 10)
            .await
            .expect("a listing")
            .len()
    };
    assert_eq!(leases().await, 1);
    test.graph.clock.shift_millis(120_000);
    test.clean(&writer).await;
    assert_eq!(leases().await, 0);
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fenced_writers_optimizer_changes_nothing() {
    let _scenario = crash_points();
    for point in ["optimizer::before_commit_tables", "optimizer::before_cleaning"] {
        let mut test = Optimized::new();
        let old = test.start_writer("old", Duration::from_secs(3600)).await;
        test.write_rounds(&old, 4).await;
        test.graph.clock.shift_millis(20_000);
        test.write_rounds(&old, 1).await;
        let stall = Stall::at(point);
        test.every(Duration::from_millis(5));
        stall.reached().await;
        test.every(Duration::from_secs(3600));
        let new = test.start_writer("new", Duration::from_secs(3600)).await;
        test.write_rounds(&new, 2).await;
        let lake = test.graph.lake().await;
        let versions = |lake: slipstream::lake::Lake| async move {
            let table = lake.newest("Person").await.expect("a table");
            table.versions().await.expect("a listing")
        };
        let before = versions(test.graph.lake().await).await;
        stall.resume();
        let ended = old.ended().await.expect_err("it is fenced");
        assert!(matches!(ended, CommitError::Fenced(_)), "{point}: {ended}");
        let after = versions(lake).await;
        // The version that the stalled step was about to write may be there, named by no commit; none is gone.
        assert!(
            before.iter().all(|version| after.contains(version)),
            "{point}: {before:?} {after:?}"
        );
        checked_log(&test.graph.log).await;
        test.write_rounds(&new, 2).await;
        everything_held(&[("the new writer", new.graph())], &test.model).await;
        new.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_moment_a_run_is_cut_off_nothing_is_lost() {
    let _scenario = crash_points();
    for point in POINTS {
        let mut test = Optimized::new();
        let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
        for _ in 0..6 {
            test.write_rounds(&writer, 2).await;
        }
        test.graph.clock.shift_millis(20_000);
        test.write_rounds(&writer, 1).await;
        if point.contains("trim") {
            // The first cleaning learns where the log may begin; only then is there something to trim.
            test.graph.clock.shift_millis(200_000);
        }
        fail::cfg(point, "1*return").expect("a crash point");
        test.every(Duration::from_millis(5));
        until(&format!("the writer to stop at {point}"), || writer.has_ended()).await;
        let ended = writer.ended().await.expect_err("it crashed");
        assert!(matches!(ended, CommitError::Crashed(_)), "{point}: {ended}");
        fail::remove(point);
        test.every(Duration::from_secs(3600));
        let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
        test.write_rounds(&writer, 2).await;
        test.clean(&writer).await;
        test.write_rounds(&writer, 1).await;
        let fresh = test.graph.fresh_rebuild().await;
        everything_held(
            &[("the writer", writer.graph()), ("fresh", fresh.graph())],
            &test.model,
        )
        .await;
        writer.stop().await;
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_many_commits_and_a_cleaning_the_tables_take_at_most_twice_the_room_of_their_rows() {
    let _scenario = crash_points();
    let test = Optimized::new();
    let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
    let bulk = "x".repeat(2_000);
    let rows = |round: usize| {
        let row = |id: usize| json!({"name": format!("n{id}"), "score": round as f64, "note": format!("{bulk}{round}-{id}")});
        upsert("Person", (0..50).map(row))
    };
    for round in 0..40 {
        writer.commit(&keyed(&format!("r{round}"), [rows(round)])).await;
    }
    test.graph.clock.shift_millis(200_000);
    test.clean(&writer).await;
    // What the run itself replaced is younger than the cut-off of its own cleaning.
    test.graph.clock.shift_millis(200_000);
    writer.commit(&keyed("last", [rows(40)])).await;
    test.graph.clock.shift_millis(200_000);
    test.clean(&writer).await;
    test.graph.clock.shift_millis(200_000);
    test.clean(&writer).await;
    let fresh = Optimized::new();
    let alone = fresh.start_writer("writer", Duration::from_secs(3600)).await;
    alone.commit(&keyed("all", [rows(40)])).await;
    let (held, live) = (test.table_bytes(), fresh.table_bytes());
    println!("{held} bytes held, {live} bytes live");
    assert!(held <= 2 * live, "{held} bytes held for {live} bytes of rows");
    writer.stop().await;
    alone.stop().await;
}
