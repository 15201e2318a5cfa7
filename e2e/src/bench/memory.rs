//! Peak memory of a replica that builds its graph, for a graph and for one ten times as long.

use slipstream_e2e::report::grouped;

use super::Effort;
use super::figure::Figure;
use super::rows::{ITEM, LINK, SCHEMA, items, links};
use super::running_graph::{RunningGraph, peak_memory};

const TARGET: f64 = 1.3;
/// About the smallest that takes the `COPY` of the long graph's links.
const POOL_BYTES: u64 = 96 << 20;
/// Items, and as many links; the long graph has ten times as many of each.
const ITEMS: i64 = 200_000;

/// Each repetition builds with two fresh processes.
///
/// # Errors
/// When a load is refused or a replica does not become ready.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let mut short = loaded(ITEMS).await?;
    let mut long = loaded(10 * ITEMS).await?;
    let (mut ratios, mut peaks) = (Vec::new(), [Vec::new(), Vec::new()]);
    for number in (1..).take(effort.repetitions.min(3)) {
        let mut pair = [0.0; 2];
        for ((graph, peak), peaks) in [&mut short, &mut long].into_iter().zip(&mut pair).zip(&mut peaks) {
            graph.scale(number).await?;
            let pid = graph.local.replica(number).status().await?.pid;
            *peak = peak_memory(pid)? as f64 / f64::from(1 << 20);
            peaks.push(*peak);
        }
        ratios.push(pair[1] / pair[0]);
    }
    let [short, long] = peaks.map(|peaks| super::figure::median(&peaks));
    let rows = |items: i64| grouped(2 * items.unsigned_abs());
    let detail = format!(
        "{long:.0} MiB for {} rows, {short:.0} MiB for {}, buffer pool {} MiB",
        rows(10 * ITEMS),
        rows(ITEMS),
        POOL_BYTES >> 20
    );
    Ok(vec![Figure::ratio_at_most(
        "a building replica's peak memory, graph ten times as long",
        &ratios,
        TARGET,
        &detail,
    )])
}

async fn loaded(count: i64) -> anyhow::Result<RunningGraph> {
    let graph = RunningGraph::start(SCHEMA, POOL_BYTES).await?;
    graph.load(ITEM, items(0..count, 0)?).await?;
    graph.load(LINK, links(0..count, count, 0)?).await?;
    Ok(graph)
}
