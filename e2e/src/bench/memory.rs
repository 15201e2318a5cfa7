//! Peak memory of a replica that builds its graph, for a graph and for one whose tables are ten times as long.
//!
//! The pool is the same for both, and the shorter graph already is about as large as it: a pool that is half empty in one of them
//! would be measured otherwise. Twice: with node rows as wide as those of `examples/debian`, and with narrow ones.

use slipstream_e2e::report::grouped;

use super::Effort;
use super::figure::{Figure, median};
use super::rows::{ITEM, LINK, PAGE, PAGE_LINK, PAGE_SCHEMA, SCHEMA, items, links, pages};
use super::running_graph::{RunningGraph, peak_memory};

const TARGET: f64 = 1.3;

/// Replicas per graph, at most: each holds a local copy of it on the disk.
const REPETITIONS: usize = 2;

/// What is built.
struct Subject {
    metric: &'static str,
    pool_bytes: u64,
    schema: &'static str,
    node_table: &'static str,
    edge_table: &'static str,
    /// Nodes of the short graph, which has as many edges; the long one has ten times as many of each.
    nodes: i64,
}

const WIDE: Subject = Subject {
    metric: "a building replica's peak memory, tables ten times as long (nodes of 230 bytes)",
    // A full node group of such rows, several times.
    pool_bytes: 160 << 20,
    schema: PAGE_SCHEMA,
    node_table: PAGE,
    edge_table: PAGE_LINK,
    nodes: 600_000,
};

const NARROW: Subject = Subject {
    metric: "… with nodes of 40 bytes",
    pool_bytes: 96 << 20,
    schema: SCHEMA,
    node_table: ITEM,
    edge_table: LINK,
    nodes: 1_000_000,
};

/// Each repetition builds with two fresh processes.
///
/// # Errors
/// When a load is refused or a replica does not become ready.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![
        measure(effort, &WIDE).await?,
        measure(effort, &NARROW).await?,
    ])
}

async fn measure(effort: &Effort, subject: &Subject) -> anyhow::Result<Figure> {
    let mut short = loaded(subject, subject.nodes).await?;
    let mut long = loaded(subject, 10 * subject.nodes).await?;
    let (mut ratios, mut peaks) = (Vec::new(), [Vec::new(), Vec::new()]);
    for number in (1..).take(effort.repetitions.min(REPETITIONS)) {
        let mut pair = [0.0; 2];
        for ((graph, peak), peaks) in [&mut short, &mut long].into_iter().zip(&mut pair).zip(&mut peaks) {
            graph.scale(number).await?;
            let pid = graph.local.replica(number).status().await?.pid;
            *peak = peak_memory(pid)? as f64 / f64::from(1 << 20);
            peaks.push(*peak);
        }
        ratios.push(pair[1] / pair[0]);
    }
    let [short, long] = peaks.map(|peaks| median(&peaks));
    let rows = |nodes: i64| grouped(2 * nodes.unsigned_abs());
    let detail = format!(
        "{long:.0} MiB for {} rows, {short:.0} MiB for {}, buffer pool {} MiB",
        rows(10 * subject.nodes),
        rows(subject.nodes),
        subject.pool_bytes >> 20
    );
    Ok(Figure::ratio_at_most(subject.metric, &ratios, TARGET, &detail))
}

async fn loaded(subject: &Subject, count: i64) -> anyhow::Result<RunningGraph> {
    let graph = RunningGraph::start(subject.schema, subject.pool_bytes).await?;
    let nodes = match subject.node_table {
        PAGE => pages(0..count)?,
        _ => items(0..count, 0)?,
    };
    graph.load(subject.node_table, nodes).await?;
    graph.load(subject.edge_table, links(0..count, count, 0)?).await?;
    Ok(graph)
}
