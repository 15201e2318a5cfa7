//! Step 5: how long a small commit takes, and how long until every replica shows it.
//!
//! Visible means: a plain query, without any floor, answers the new values. What is measured begins with the commit's
//! answer and ends with the query's, so it holds the time of one query as well.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::change::NEW;
use super::checks::same_counts;
use super::{Scene, StepError, expect};
use crate::client::{Node, Query};
use crate::debian::{EDGES, PACKAGE, Package};
use crate::report::{Latencies, Passed};
use crate::wait::TimedOut;

const COMMITS: usize = 50;
/// Half of them nodes, half of them edges.
const ROWS: usize = 10;
const VISIBLE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Commits small transactions one after the other: the first creates rows, the others change them.
///
/// # Errors
/// When a commit does not become visible, or half of one does.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let (mut commits, mut visible) = (Latencies::default(), Latencies::default());
    let writer = scene.local.writer();
    let nodes = scene.replica_nodes();
    for number in 1..=COMMITS {
        let version = number.to_string();
        let transaction = change(scene, &version);
        let sent = Instant::now();
        scene.newest_tx = writer.commit(&transaction).await?.tx_id;
        let answered = Instant::now();
        commits.add(answered - sent);
        let mut looks = tokio::task::JoinSet::new();
        for node in nodes.clone() {
            let version = version.clone();
            looks.spawn(async move { until_visible(&node, &version).await.map(|seen| seen - answered) });
        }
        for outcome in looks.join_all().await {
            visible.add(outcome?);
        }
    }
    for node in &nodes {
        same_counts(node, &scene.graph, &scene.newest_tx).await?;
    }
    scene.measurements.add(
        format!("commit of {ROWS} rows, request to answer"),
        commits.summary(),
    );
    scene
        .measurements
        .add("commit to visible on a replica", visible.summary());
    Ok(format!(
        "{COMMITS} transactions of {ROWS} rows: commit {}; visible on both replicas after {}",
        commits.summary(),
        visible.summary()
    )
    .into())
}

/// The next transaction; the model is changed along.
fn change(scene: &mut Scene, version: &str) -> serde_json::Value {
    let (mut packages, mut edges) = (Vec::new(), Vec::new());
    for number in 0..ROWS / 2 {
        let name = format!("{NEW}-{number}");
        let package = Package {
            version: Some(version.to_owned()),
            section: Some("database".to_owned()),
            installed_size: None,
            description: None,
        };
        packages.push(package.row(&name));
        edges.push(json!({"from": name, "to": NEW, "constraint": version}));
        scene.graph.edges[0].insert((name.clone(), NEW.to_owned()), Some(version.to_owned()));
        scene.graph.packages.insert(name, package);
    }
    json!({"operations": [{"upsert": {"table": PACKAGE, "rows": packages}}, {"upsert": {"table": EDGES[0], "rows": edges}}]})
}

/// When the version was seen. Every look must see all nodes and edges at one version: never half a commit.
async fn until_visible(node: &Node, version: &str) -> Result<Instant, StepError> {
    let text = format!(
        "MATCH (p:{PACKAGE})-[r:{}]->(:{PACKAGE} {{name: $name}}) RETURN p.version, r.constraint",
        EDGES[0]
    );
    let query = Query::new(&text).param("name", NEW);
    let mut last_seen = Vec::new();
    let look = async {
        loop {
            let rows = node.query(&query).await?.rows;
            let seen = Instant::now();
            let is_whole =
                rows.len() == ROWS / 2 && rows.iter().all(|row| row[0] == row[1] && *row == rows[0]);
            expect(
                rows.is_empty() || is_whole,
                format!("a commit on {}", node.name),
                "all of it or nothing",
                &rows,
            )?;
            if rows.first().is_some_and(|row| row[0] == version) {
                return Ok(seen);
            }
            last_seen = rows;
            sleep(LOOK_AGAIN).await;
        }
    };
    match timeout(VISIBLE_WITHIN, look).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let what = format!("version {version} to be visible on {}", node.name);
            Err(TimedOut {
                what,
                within: VISIBLE_WITHIN,
                last_seen: format!("{last_seen:?}"),
            }
            .into())
        }
    }
}
