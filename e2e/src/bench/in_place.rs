//! What a row costs that is applied in place, next to a row of a rebuild: the ground of the replica's choice between the two.

use super::Effort;
use super::figure::Figure;
use super::rows::{ITEM, LINK, SCHEMA, items, links};
use super::running_graph::{BUFFER_POOL_BYTES, RunningGraph, metric};

/// Items before the changes, and as many links.
const ITEMS: i64 = 200_000;
/// Below the size from which a replica rebuilds.
const CHANGED: i64 = 40_000;
const BUILDS: &str = "slipstream_rebuild_duration_seconds_sum";
const APPLIES: &str = "slipstream_apply_duration_seconds_sum";

/// Four large deltas on one replica, which also built the graph before them.
///
/// # Errors
/// When a load is refused or a replica does not follow in place.
pub(crate) async fn run(_effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let mut graph = RunningGraph::start(SCHEMA, BUFFER_POOL_BYTES).await?;
    graph.load(ITEM, items(0..ITEMS, 0)?).await?;
    graph.load(LINK, links(0..ITEMS, ITEMS, 0)?).await?;
    graph.scale(1).await?;
    let replica = graph.local.replica(1);
    let build = metric(&replica, BUILDS).await?;
    let per_built_row = build / (2 * ITEMS) as f64;
    let mut parts = Vec::new();
    let changes = [
        ("new nodes", ITEM, items(ITEMS..ITEMS + CHANGED, 0)?),
        ("replaced nodes", ITEM, items(0..CHANGED, 1)?),
        ("new edges", LINK, links(ITEMS..ITEMS + CHANGED, ITEMS, 0)?),
        ("replaced edges", LINK, links(0..CHANGED, ITEMS, 1)?),
    ];
    for (what, table, rows) in changes {
        let before = metric(&replica, APPLIES).await.unwrap_or_default();
        graph.load(table, rows).await?;
        graph.wait_ready(1).await?;
        let apply = metric(&replica, APPLIES).await? - before;
        anyhow::ensure!(
            apply > 0.0,
            "expected {what} to be applied in place, found no apply"
        );
        anyhow::ensure!(
            metric(&replica, BUILDS).await? == build,
            "expected {what} to be applied in place, found a rebuild"
        );
        parts.push(format!("{what} {:.1} ×", apply / CHANGED as f64 / per_built_row));
    }
    Ok(vec![Figure::note(
        "a row applied in place / a row of a rebuild",
        format!(
            "{}; rebuild {:.1} µs per row",
            parts.join(", "),
            per_built_row * 1e6
        ),
    )])
}
