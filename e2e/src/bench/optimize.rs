//! What a client's commit costs while the optimizer compacts, next to what it costs while it does not.
//!
//! Each round replaces every row of a table in many commits, so that there are many fragments and as many deleted rows. Then
//! ten-row commits are timed with a long cadence, and again with a short one: those that begin and end while the optimizer
//! runs. Whenever it is done, rows are replaced with the long cadence, as many as make all of the table worth rewriting.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};
use slipstream_e2e::client::Query;
use slipstream_e2e::wait::{Look, until_every};

use super::Effort;
use super::figure::{Figure, median_seconds};
use super::rows::{ITEM, SCHEMA, item, items};
use super::running_graph::{BUFFER_POOL_BYTES, RunningGraph};

const TARGET: f64 = 3.0;
const ROWS: i64 = 400_000;
const FRAGMENT_ROWS: i64 = 20_000;
/// Replaced before each run: a fifth of the table, where a tenth is enough to rewrite a fragment.
const REPLACED_ROWS: i64 = 80_000;
const BASELINE_COMMITS: u32 = 150;
const BESIDE_COMMITS: usize = 100;
const ROUNDS: usize = 3;
const IDLE: &str = "  optimizer: {interval: 1h, compaction: {enabled: false}}\n";
const BUSY: &str = "  optimizer: {interval: 1s}\n";
const PATIENCE: Duration = Duration::from_secs(120);
/// A run may be shorter than the usual interval of looks.
const LOOK: Duration = Duration::from_millis(2);

/// p99 of commits beside a compaction over p99 without, one ratio per round.
///
/// # Errors
/// When a load or a commit is refused, or no compaction comes.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let mut graph = RunningGraph::start(&format!("{SCHEMA}{IDLE}"), BUFFER_POOL_BYTES).await?;
    let (mut ratios, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let mut number = 0;
    for round in 0..ROUNDS.min(effort.repetitions.max(1)) {
        replace(&graph, 0, ROWS, round as u32).await?;
        let mut without = Vec::new();
        for _ in 0..BASELINE_COMMITS {
            without.push(commit(&graph, &mut number).await?);
        }
        let (started, mut with) = (Instant::now(), Vec::new());
        while with.len() < BESIDE_COMMITS {
            if started.elapsed() > PATIENCE {
                bail!(
                    "expected {BESIDE_COMMITS} commits beside compactions within {PATIENCE:?}, found {}",
                    with.len()
                );
            }
            graph.edit(IDLE, BUSY)?;
            until_every(
                LOOK,
                "a run of the optimizer",
                PATIENCE,
                async || match is_running(&graph).await {
                    Ok(true) => Look::Found(()),
                    Ok(false) => Look::NotYet("none runs".to_owned()),
                    Err(error) => Look::NotYet(error.to_string()),
                },
            )
            .await?;
            loop {
                let took = commit(&graph, &mut number).await?;
                // Both ends beside it: the last one of a run may be after it.
                if !is_running(&graph).await? {
                    break;
                }
                with.push(took);
            }
            graph.edit(BUSY, IDLE)?;
            let first = number * FRAGMENT_ROWS % (ROWS - REPLACED_ROWS);
            replace(&graph, first, REPLACED_ROWS, 100 + number as u32).await?;
        }
        ratios.push(p99(&with) / p99(&without));
        alone.extend(without);
        beside.extend(with);
    }
    let millis = |latencies: &[Duration]| p99(latencies) * 1000.0;
    let detail = format!(
        "p99 {:.1} ms (p50 {:.1}) of {} commits beside it, {:.1} ms (p50 {:.1}) of {} without",
        millis(&beside),
        median_seconds(&beside) * 1000.0,
        beside.len(),
        millis(&alone),
        median_seconds(&alone) * 1000.0,
        alone.len(),
    );
    Ok(vec![Figure::ratio_at_most(
        "p99 of a 10-row commit while 400k rows are compacted / without",
        &ratios,
        TARGET,
        &detail,
    )])
}

fn p99(latencies: &[Duration]) -> f64 {
    let mut sorted: Vec<f64> = latencies.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

async fn commit(graph: &RunningGraph, number: &mut i64) -> anyhow::Result<Duration> {
    *number += 1;
    let rows = (0..10).map(|place| item((place * ROWS / 10 + *number * 31) % ROWS, 99));
    let rows: Vec<Value> = rows.collect();
    let transaction = json!({"operations": [{"upsert": {"table": ITEM, "rows": rows}}]});
    let started = Instant::now();
    graph.local.writer().commit(&transaction).await?;
    Ok(started.elapsed())
}

/// Writes `rows` rows anew, and waits until the writer's graph holds them: a commit right behind a load waits for it.
async fn replace(graph: &RunningGraph, first: i64, rows: i64, version: u32) -> anyhow::Result<()> {
    for first in (first..first + rows).step_by(FRAGMENT_ROWS as usize) {
        let loaded = graph
            .load(ITEM, items(first..first + FRAGMENT_ROWS, version)?)
            .await?;
        let held = Query::new("MATCH (i:Item) RETURN count(*)").min_tx(&loaded.tx_id);
        graph.local.writer().count(&held).await?;
    }
    Ok(())
}

async fn is_running(graph: &RunningGraph) -> anyhow::Result<bool> {
    let status = graph.local.writer().status().await?;
    Ok(status.other["optimizer"]["running"].is_string())
}
