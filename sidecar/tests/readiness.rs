//! A replica that keeps up counts as keeping up, also while commits never stop coming.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use serde_json::json;
use support::cluster::TestGraph;
use support::requests::{transaction, upsert};

const SCHEMA: &str = "
nodes: [{name: Item, primaryKey: name, properties: [{name: name, type: string}]}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pass_that_applied_all_there_was_confirms_the_end_of_the_log() {
    let graph = TestGraph::new(SCHEMA);
    let writer = graph.start_writer("writer").await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    let before = replica.advancer.progress.view().confirmed_at.expect("caught up");
    let item = transaction([upsert("Item", [json!({"name": "a"})])]);
    writer.commit(&item).await;
    assert!(
        replica.pass().await.expect("a pass"),
        "there was a commit to apply"
    );
    let after = replica
        .advancer
        .progress
        .view()
        .confirmed_at
        .expect("still caught up");
    assert!(after > before, "{after} is not later than {before}");
}
