//! What a commit of ten rows costs on a long table and on a short one.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Effort;
use super::figure::{Figure, median_seconds};
use super::rows::{ITEM, SCHEMA, item, items};
use super::running_graph::{BUFFER_POOL_BYTES, RunningGraph};

const TARGET: f64 = 1.5;
const SHORT: i64 = 10_000;
const LONG: i64 = 1_000_000;
/// Half of them replace rows that are spread over the table, half of them are new.
const ROWS: i64 = 10;
/// Not counted: the first ones fill caches.
const WARM_UP: u32 = 5;
/// Runs of which each gives one ratio.
const PARTS: usize = 5;

/// Both graphs run at the same time and commit in turns, so that whatever else the machine does falls on both.
///
/// # Errors
/// When a load or a commit is refused.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let short = loaded(SHORT).await?;
    let long = loaded(LONG).await?;
    let mut latencies = [Vec::new(), Vec::new()];
    for number in 0..WARM_UP + effort.commits {
        for ((graph, rows), latencies) in [(&short, SHORT), (&long, LONG)].into_iter().zip(&mut latencies) {
            let took = commit(graph, rows, number).await?;
            if number >= WARM_UP {
                latencies.push(took);
            }
        }
    }
    let [short, long] = latencies;
    let part = short.len().div_ceil(PARTS).max(1);
    let ratios: Vec<f64> = short
        .chunks(part)
        .zip(long.chunks(part))
        .map(|(short, long)| median_seconds(long) / median_seconds(short))
        .collect();
    let detail = format!(
        "{:.1} ms on 1M rows, {:.1} ms on 10k",
        median_seconds(&long) * 1000.0,
        median_seconds(&short) * 1000.0
    );
    Ok(vec![Figure::ratio_at_most(
        "a 10-row commit on 1M rows / on 10k rows",
        &ratios,
        TARGET,
        &detail,
    )])
}

async fn loaded(rows: i64) -> anyhow::Result<RunningGraph> {
    let graph = RunningGraph::start(SCHEMA, BUFFER_POOL_BYTES).await?;
    graph.load(ITEM, items(0..rows, 0)?).await?;
    Ok(graph)
}

async fn commit(graph: &RunningGraph, rows: i64, number: u32) -> anyhow::Result<Duration> {
    let number = i64::from(number);
    let half = ROWS / 2;
    let old = (0..half).map(|place| (place * rows / half + number * 31) % rows);
    let new = (0..half).map(|place| rows + number * half + place);
    let upserts: Vec<serde_json::Value> = old.chain(new).map(|id| item(id, 1)).collect();
    let transaction = json!({"operations": [{"upsert": {"table": ITEM, "rows": upserts}}]});
    let started = Instant::now();
    graph.local.writer().commit(&transaction).await?;
    Ok(started.elapsed())
}
