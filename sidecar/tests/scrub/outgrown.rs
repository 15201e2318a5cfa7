//! A graph whose file has outgrown its content is built anew, and holds what it held.

use serde_json::{Value, json};

use crate::graph::{SCHEMA, assert_equal};
use crate::support::cluster::TestGraph;
use crate::support::requests::{transaction, upsert};
use crate::support::waiting::crash_points;

/// Long texts, and how long.
const THINGS: usize = 40;
const LONG: usize = 100_000;
/// Until then every node has built anew.
const AT_MOST: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_that_outgrew_its_content_is_built_anew() {
    let _scenario = crash_points();
    let mut graph = TestGraph::new(SCHEMA);
    graph.outgrown_from_bytes = 1;
    let mut settings = graph.settings("writer");
    settings.checkpoint_commits = 1;
    let writer = graph
        .try_start_writer(settings, &graph.schema)
        .await
        .expect("a takeover");
    let things = |length: usize| -> Vec<Value> {
        let text = |number: usize| number.to_string().repeat(length);
        (0..THINGS)
            .map(|number| json!({"name": number.to_string(), "text": text(number)}))
            .collect()
    };
    writer.commit(&transaction([upsert("Thing", things(LONG))])).await;
    let mut replica = graph.start_replica_with("replica", 1, 1).await;
    replica.catch_up().await;
    let before = ["writer", "replica"].map(|name| (name, graph.current_graph(name)));
    let is_as_before = || {
        before
            .iter()
            .any(|(name, then)| graph.current_graph(name) == *then)
    };
    // The pages of the long texts become free, and what comes after them keeps the file from being cut off there.
    let mut commits = 0;
    while is_as_before() {
        assert!(commits < AT_MOST, "after {commits} commits no file is outgrown");
        let place = json!({"id": commits});
        let length = 1 + commits % 3;
        writer
            .commit(&transaction([
                upsert("Thing", things(length)),
                upsert("Place", [place]),
            ]))
            .await;
        replica.catch_up().await;
        commits += 1;
    }
    for (who, advancer) in [
        ("the writer", &writer.advancer),
        ("the replica", &replica.advancer),
    ] {
        let bytes = advancer.local.current().expect("a graph").bytes_on_disk();
        assert!(bytes < (THINGS * LONG / 2) as u64, "{who}: {bytes} bytes");
        assert_equal(who, advancer).await;
    }
}
