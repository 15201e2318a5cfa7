//! From commit to visible: small transactions at a steady rate, each looked for on both replicas.
//!
//! Visible means: a query with `min_tx`, sent when the commit's answer came, is answered and shows the new value. So the
//! figure holds the way of one query as well. The rate does not wait for answers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipstream_e2e::client::{Node, Query};
use slipstream_e2e::debian::{EDGES, PACKAGE};
use slipstream_e2e::report::Latencies;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Effort;
use super::figure::Figure;
use super::running_graph::RunningGraph;

const TARGET_P50: Duration = Duration::from_millis(50);
const TARGET_P99: Duration = Duration::from_millis(150);
const EVERY: Duration = Duration::from_millis(100);
/// Half of them nodes, half of them edges.
const ROWS: u32 = 10;
/// Transactions until the same rows are written again.
const ROUND: u32 = 50;
const REPLICAS: u16 = 2;
/// Not counted: the first ones create tables' first deltas and prepare statements.
const WARM_UP: u32 = 10;

/// One transaction's times.
struct Seen {
    number: u32,
    answer: Duration,
    /// From the answer, per replica.
    visible: Vec<Duration>,
}

/// Runs on the example's graph.
///
/// # Errors
/// When a commit is refused or a replica shows something else.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let mut graph = RunningGraph::debian(&effort.example).await?;
    graph.load_debian(&effort.example).await?;
    graph.scale(REPLICAS).await?;
    let (writer, replicas) = (graph.local.writer(), graph.local.replicas(REPLICAS));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = JoinSet::new();
    for number in 0..WARM_UP + effort.visible_commits {
        ticks.tick().await;
        running.spawn(commit_and_look(writer.clone(), replicas.clone(), number));
    }
    let (mut answers, mut visible, mut sent) =
        (Latencies::default(), Latencies::default(), Latencies::default());
    for seen in running.join_all().await {
        let seen = seen.with_context(|| graph.local.logs_tail(15))?;
        if seen.number < WARM_UP {
            continue;
        }
        answers.add(seen.answer);
        for latency in seen.visible {
            visible.add(latency);
            sent.add(seen.answer + latency);
        }
    }
    Ok(vec![
        Figure::latency_at_most(
            "commit to visible on a replica, p50",
            visible.percentile(50),
            TARGET_P50,
        ),
        Figure::latency_at_most(
            "commit to visible on a replica, p99",
            visible.percentile(99),
            TARGET_P99,
        ),
        Figure::note("… transaction sent to answered", answers.summary()),
        Figure::note("… transaction sent to visible", sent.summary()),
    ])
}

async fn commit_and_look(writer: Node, replicas: Vec<Node>, number: u32) -> anyhow::Result<Seen> {
    let sent = Instant::now();
    let commit = writer.commit(&transaction(number)).await?;
    let answered = Instant::now();
    let mut looks = JoinSet::new();
    for replica in replicas {
        let tx_id = commit.tx_id.clone();
        looks.spawn(async move {
            let text = format!("MATCH (p:{PACKAGE} {{name: $name}}) RETURN p.version");
            let query = Query::new(&text).param("name", name(number, 0)).min_tx(&tx_id);
            let rows = replica.query(&query).await?.rows;
            let took = answered.elapsed();
            let version = rows.first().and_then(|row| row.first()).and_then(Value::as_str);
            let version = version.and_then(|version| version.parse::<u32>().ok());
            // A later transaction may have written the same rows again.
            ensure!(
                version >= Some(number),
                "expected version {number} on {}, found {rows:?}",
                replica.name
            );
            Ok(took)
        });
    }
    let visible: anyhow::Result<Vec<Duration>> = looks.join_all().await.into_iter().collect();
    Ok(Seen {
        number,
        answer: answered - sent,
        visible: visible?,
    })
}

fn name(number: u32, row: u32) -> String {
    format!("bench-{}-{row}", number % ROUND)
}

fn transaction(number: u32) -> Value {
    let version = number.to_string();
    let names: Vec<String> = (0..ROWS / 2).map(|row| name(number, row)).collect();
    let packages: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "version": version}))
        .collect();
    let edges: Vec<Value> = names
        .iter()
        .map(|name| json!({"from": name, "to": "libc6", "constraint": version}))
        .collect();
    json!({"operations": [
        {"upsert": {"table": PACKAGE, "rows": packages}},
        {"upsert": {"table": EDGES[0], "rows": edges}},
    ]})
}
