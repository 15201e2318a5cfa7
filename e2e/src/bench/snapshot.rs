//! Snapshots: how fast a replica without a graph restores one, next to copying the same bytes, and how long taking one stops a
//! replica from applying.
//!
//! Restoring is from a real S3 server. It begins with the look for a snapshot and ends with the graph that queries are answered
//! from: listing, fetching, hashing, decompressing, writing, syncing and opening. The same bytes are those of the database
//! file: put into the same server as they are, fetched with another client, as many objects of the same size at a time, written
//! to the same disk and synced. For comparison also the compressed parts, copied without unpacking, and a copy from disk to disk.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use slipstream_e2e::client::{Node, Query};
use slipstream_e2e::report::millis;
use slipstream_e2e::servers::Servers;

use super::Effort;
use super::figure::{Figure, median, median_seconds};
use super::rows::{PAGE, PAGE_LINK, PAGE_SCHEMA, links, pages};
use super::running_graph::{RunningGraph, metric};
use super::snapshot_copy::{PartCopy, plain_copy};

const RESTORE_TARGET: f64 = 0.8;
const PAUSE_TARGET: Duration = Duration::from_millis(500);
/// With as many edges.
const NODES: i64 = 600_000;
const POOL_BYTES: u64 = 512 << 20;
/// Seconds of all restores of a process.
const RESTORES: &str = "slipstream_restore_duration_seconds";
/// Seconds of all pauses of a process.
const PAUSES: &str = "slipstream_snapshot_pause_duration_seconds";

/// What `POST /v1/snapshots` answers, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Taken {
    tx_id: String,
    parts: Vec<Part>,
    file: DatabaseFile,
}

#[derive(Debug, Deserialize)]
struct Part {
    name: String,
    size: u64,
}

#[derive(Debug, Deserialize)]
struct DatabaseFile {
    size: u64,
}

/// # Errors
/// When a process fails, or a replica did anything but restore once.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let mut figures = restore(effort).await?;
    figures.push(pause(effort).await?);
    Ok(figures)
}

/// Each repetition adds a replica, and copies beside it.
async fn restore(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::Builder::new().prefix("slipstream-bench-").tempdir()?;
    let servers = Servers::start(directory.path(), false).await?;
    let mut graph = RunningGraph::start_remote(PAGE_SCHEMA, POOL_BYTES, &servers).await?;
    graph.load(PAGE, pages(0..NODES)?).await?;
    graph.load(PAGE_LINK, links(0..NODES, NODES, 0)?).await?;
    graph.scale(1).await?;
    let taken = take(&graph.local.replica(1)).await?;
    let parts: Vec<(String, u64)> = taken
        .parts
        .iter()
        .map(|part| (part.name.clone(), part.size))
        .collect();
    let stored: u64 = parts.iter().map(|(_, size)| size).sum();
    let file_copy = PartCopy::of_file(&servers, &graph.database_file(1)?).await?;
    let part_copy = PartCopy::of_parts(&servers, &taken.tx_id, parts).await?;
    let (mut restores, mut files) = (Vec::new(), Vec::new());
    let (mut compressed, mut plain) = (Vec::new(), Vec::new());
    let scratch = directory.path().join("copied");
    for number in (2..).take(effort.repetitions) {
        files.push(file_copy.run(&scratch).await?);
        graph.scale(number).await?;
        let replica = graph.local.replica(number);
        let count = metric(&replica, &format!("{RESTORES}_count")).await?;
        anyhow::ensure!(
            count == 1.0,
            "expected one restore on {}, found {count}",
            replica.name
        );
        let restore = metric(&replica, &format!("{RESTORES}_sum")).await?;
        restores.push(Duration::from_secs_f64(restore));
        compressed.push(part_copy.run(&scratch).await?);
        plain.push(plain_copy(&graph.database_file(number)?, &scratch)?);
    }
    let ratios = |copied: &[Duration]| -> Vec<f64> {
        let pairs = copied.iter().zip(&restores);
        pairs
            .map(|(copy, restore)| copy.as_secs_f64() / restore.as_secs_f64())
            .collect()
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let detail = format!(
        "{:.0} MiB from S3: restored in {:.2} s, copied in {:.2} s",
        mib(taken.file.size),
        median_seconds(&restores),
        median_seconds(&files)
    );
    Ok(vec![
        Figure::ratio_at_least(
            "speed of a snapshot bootstrap / of copying the same bytes",
            &ratios(&files),
            RESTORE_TARGET,
            &detail,
        ),
        Figure::note(
            "… / of copying its compressed parts as they are",
            format!(
                "{:.2}; {:.0} MiB in {} parts in {:.2} s",
                median(&ratios(&compressed)),
                mib(stored),
                taken.parts.len(),
                median_seconds(&compressed)
            ),
        ),
        Figure::note(
            "… / of copying the file on the same disk",
            format!(
                "{:.2}; in {:.2} s",
                median(&ratios(&plain)),
                median_seconds(&plain)
            ),
        ),
    ])
}

/// The longest pause of several snapshots of the example's graph, each after a small commit.
async fn pause(effort: &Effort) -> anyhow::Result<Figure> {
    let mut graph = RunningGraph::debian(&effort.example).await?;
    graph.load_debian(&effort.example).await?;
    graph.scale(1).await?;
    let replica = graph.local.replica(1);
    let (mut longest, mut before) = (0.0_f64, 0.0);
    for number in 0..effort.repetitions {
        let row = json!({"name": format!("bench-{number}"), "version": "1"});
        let transaction = json!({"operations": [{"upsert": {"table": "Package", "rows": [row]}}]});
        let commit = graph.local.writer().commit(&transaction).await?;
        replica
            .count(&Query::new("MATCH (p:Package) RETURN count(*)").min_tx(&commit.tx_id))
            .await?;
        take(&replica).await?;
        let sum = metric(&replica, &format!("{PAUSES}_sum")).await?;
        longest = longest.max(sum - before);
        before = sum;
    }
    let mut figure = Figure::latency_at_most(
        "longest pause of applying for a snapshot (Debian)",
        Duration::from_secs_f64(longest),
        PAUSE_TARGET,
    );
    let mean = Duration::from_secs_f64(before / effort.repetitions.max(1) as f64);
    figure.measured = format!(
        "{}; mean {} of {}",
        figure.measured,
        millis(mean),
        effort.repetitions
    );
    Ok(figure)
}

async fn take(replica: &Node) -> anyhow::Result<Taken> {
    let taken = replica.post("/v1/snapshots", "application/json", "").await;
    taken.with_context(|| format!("failed to take a snapshot on {}", replica.name))
}
