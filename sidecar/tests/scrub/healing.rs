//! After a difference: no process goes on with the damaged graph, neither the next one nor a writer, and a crash in between
//! leaves it to the next scrub.

use serde_json::json;
use slipstream::scrub::ScrubError;

use crate::graph::{Scene, assert_equal, restarted, scrub, tamper};
use crate::support::requests::{transaction, upsert};
use crate::support::waiting::{crash_points, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_graph_that_was_given_up_is_not_opened_again_by_the_next_process() {
    let _scenario = crash_points();
    let Scene {
        graph,
        writer,
        replica,
    } = Scene::new().await;
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
    let Scene {
        graph,
        writer,
        mut replica,
    } = Scene::new().await;
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
    let Scene {
        graph,
        writer,
        replica,
    } = Scene::new().await;
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
