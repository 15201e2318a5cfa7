//! More clients than the writer's queue takes: some are told to come back later, and what was acknowledged is there, no more.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use slipstream_e2e::client::Query;
use slipstream_e2e::local_process::{LocalProcess, LocalSettings, find_binary};
use slipstream_e2e::ports::free_base_port;
use tokio::task::JoinSet;

const READY_WITHIN: Duration = Duration::from_secs(120);
const CLIENTS: usize = 64;
/// Rounds of all clients at once.
const ROUNDS: usize = 5;

const RESOURCE: &str = "
apiVersion: slipstream.dev/v1alpha1
kind: ReplicatedGraphDB
metadata: {name: narrow}
spec:
  replicas: 0
  storage: {uri: 's3://graphs/narrow'}
  schema:
    nodes:
      - name: Item
        primaryKey: id
        properties: [{name: id, type: string}]
    edges: []
  writer: {queueTransactions: 1}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_429_with_retry_after_and_every_acknowledged_row_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let graph_file = directory.path().join("narrow.yaml");
    std::fs::write(&graph_file, RESOURCE).unwrap();
    let mut local = LocalProcess::start(LocalSettings {
        binary: find_binary().unwrap(),
        graph_file,
        data_dir: directory.path().join("data"),
        log_file: directory.path().join("local.log"),
        base_port: free_base_port().unwrap(),
        detached: false,
        remote: None,
    })
    .unwrap();
    local.wait_ready(0, READY_WITHIN).await.unwrap();
    let writer = local.writer();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();

    let (mut acknowledged, mut turned_away) = (BTreeSet::new(), 0);
    for round in 0..ROUNDS {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let id = format!("{round}-{client}");
            let body = json!({"operations": [{"upsert": {"table": "Item", "rows": [{"id": id}]}}]});
            let request = http
                .post(format!("{}/v1/transactions", writer.url))
                .header("content-type", "application/json")
                .body(body.to_string());
            clients.spawn(async move { (id, request.send().await.unwrap()) });
        }
        for (id, answer) in clients.join_all().await {
            match answer.status().as_u16() {
                200 => {
                    acknowledged.insert(id);
                }
                429 => {
                    let wait = answer.headers()["retry-after"].to_str().unwrap();
                    assert!(wait.parse::<u64>().unwrap() >= 1, "Retry-After: {wait}");
                    turned_away += 1;
                }
                other => panic!("a client got {other}: {}", answer.text().await.unwrap()),
            }
        }
    }
    assert!(turned_away > 0, "the queue was never full: nothing was tried");
    assert!(!acknowledged.is_empty(), "nobody was served");
    let there = writer
        .query(&Query::new("MATCH (i:Item) RETURN i.id").strong())
        .await
        .unwrap();
    let there: BTreeSet<String> = there
        .rows
        .iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(there, acknowledged, "who was turned away left nothing behind");
}
