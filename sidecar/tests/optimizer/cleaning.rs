//! What a run removes: nothing that a lease pins, that a replica reads, or that a key or a new writer still needs; all the rest.

use std::time::Duration;

use serde_json::json;
use slipstream::ids::{LanceVersion, Seq};
use slipstream::lake::LakeError;

use crate::graph::{Optimized, everything_held};
use crate::support::requests::{keyed, upsert};
use crate::support::waiting::{Stall, crash_points};

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
