//! `slipstream local` is killed while clients write; started again, it continues where it was.

#![expect(clippy::unwrap_used, reason = "what fails fails the test")]

mod small_graph;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_e2e::client::{Commit, CommitAnswer, Node, Query};
use slipstream_e2e::local_process::{LocalProcess, is_alive};
use slipstream_e2e::ports::is_free;
use slipstream_e2e::wait::{Look, until};

use small_graph::SmallGraph;

const WITHIN: Duration = Duration::from_secs(60);
/// Commits that are acknowledged before the kill.
const ACKNOWLEDGED: usize = 30;

/// Two nodes and an edge between them: there whole, or not at all.
fn transaction(number: usize) -> Value {
    let (left, right) = (format!("left-{number}"), format!("right-{number}"));
    json!({"idempotency_key": format!("key-{number}"), "operations": [
        {"upsert": {"table": "Item", "rows": [{"id": left, "size": number}, {"id": right, "size": number}]}},
        {"upsert": {"table": "NEAR", "rows": [{"from": left, "to": right, "weight": 0.5}]}}]})
}

#[tokio::test]
async fn a_killed_local_graph_continues_where_it_was() {
    let mut graph = SmallGraph::start().await;
    let (writer, replica) = (graph.local.writer(), graph.local.replica(1));
    let pids = [
        writer.status().await.unwrap().pid,
        replica.status().await.unwrap().pid,
    ];

    // Clients write until the writer is gone.
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let clients = tokio::spawn(write_until_it_breaks(writer.clone(), acknowledged.clone()));
    until(
        "commits to be acknowledged",
        WITHIN,
        async || match acknowledged.lock().unwrap().len() {
            count if count >= ACKNOWLEDGED => Look::Found(()),
            count => Look::NotYet(format!("{count} of them")),
        },
    )
    .await
    .unwrap();
    graph.local.sigkill().await.unwrap();
    clients.await.unwrap();
    let acknowledged: Vec<CommitAnswer> = std::mem::take(&mut *acknowledged.lock().unwrap());

    // Nobody tells the children to stop: they notice.
    let base = graph.local.settings.base_port;
    until("the killed supervisor's children to end", WITHIN, async || {
        let alive: Vec<u32> = pids.iter().copied().filter(|pid| is_alive(*pid)).collect();
        if alive.is_empty() && (base..=base + 1).all(is_free) {
            return Look::Found(());
        }
        Look::NotYet(format!("processes {alive:?} alive"))
    })
    .await
    .unwrap();

    graph.local = LocalProcess::start(graph.local.settings.clone()).unwrap();
    graph.wait_ready().await;
    let commits = writer.all_commits().await.unwrap();
    assert_is_one_log(&commits);
    for answer in &acknowledged {
        let found = commits.iter().find(|commit| commit.seq == answer.seq);
        assert_eq!(
            found.map(|commit| &commit.tx_id),
            Some(&answer.tx_id),
            "seq {}",
            answer.seq
        );
    }

    // Retries get their first answers, and new commits follow the old ones.
    let head = commits.last().unwrap().seq;
    for (number, answer) in acknowledged.iter().enumerate() {
        assert_eq!(
            &writer.commit(&transaction(number)).await.unwrap(),
            answer,
            "retry of transaction {number}"
        );
    }
    let next = writer.commit(&transaction(1_000_000)).await.unwrap();
    assert_eq!(next.seq, head + 1, "retries made commits");
    assert!(next.tx_id > commits.last().unwrap().tx_id);
    assert_is_one_log(&writer.all_commits().await.unwrap());

    let whole = assert_only_whole_transactions(&writer, &next.tx_id).await;
    assert_eq!(assert_only_whole_transactions(&replica, &next.tx_id).await, whole);
    // The one that broke off may have been committed before the kill.
    let expected = acknowledged.len() + 1;
    assert!(
        (expected..=expected + 1).contains(&whole),
        "{whole} transactions, {expected} acknowledged"
    );
    let status = graph.local.terminate(WITHIN).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", graph.local.logs_tail(40));
}

async fn write_until_it_breaks(writer: Node, acknowledged: Arc<Mutex<Vec<CommitAnswer>>>) {
    for number in 0.. {
        match writer.commit(&transaction(number)).await {
            Ok(answer) => acknowledged.lock().unwrap().push(answer),
            Err(error) => {
                assert!(
                    error.problem().is_none_or(|problem| problem.status >= 500),
                    "{error}"
                );
                return;
            }
        }
    }
}

/// Dense from 1, each naming the one before, `tx_id` and epoch in order.
fn assert_is_one_log(commits: &[Commit]) {
    for (commit, seq) in commits.iter().zip(1..) {
        assert_eq!(commit.seq, seq);
    }
    for pair in commits.windows(2) {
        assert_eq!(pair[1].prev_tx_id, pair[0].tx_id, "{pair:?}");
        assert!(
            pair[1].tx_id > pair[0].tx_id && pair[1].epoch >= pair[0].epoch,
            "{pair:?}"
        );
    }
}

/// Every transaction has both nodes and the edge. Gives how many there are.
async fn assert_only_whole_transactions(node: &Node, min_tx: &str) -> usize {
    let count = async |text: &str| node.count(&Query::new(text).min_tx(min_tx)).await.unwrap();
    let nodes = count("MATCH (i:Item) RETURN count(*)").await;
    let edges = count("MATCH (:Item)-[r:NEAR]->(:Item) RETURN count(*)").await;
    let pairs =
        count("MATCH (l:Item)-[r:NEAR {weight: 0.5}]->(r2:Item) WHERE l.size = r2.size RETURN count(*)")
            .await;
    assert_eq!((nodes, pairs), (2 * edges, edges), "{}", node.name);
    usize::try_from(edges).unwrap()
}
