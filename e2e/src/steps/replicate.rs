//! Step 3: the replicas hold what the files hold.

use std::time::Instant;

use super::checks::{same_counts, same_edge, same_package};
use super::{Scene, StepError};
use crate::debian::EDGES;
use crate::report::{Passed, grouped, seconds};

/// Packages, and edges per table, that are compared value by value.
const SPOTS: usize = 5;

/// Waits by `min_tx` until each replica has the newest commit, then compares counts and values.
///
/// # Errors
/// When a replica does not get there in time or differs.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let started = Instant::now();
    for node in scene.replica_nodes() {
        same_counts(&node, &scene.graph, &scene.newest_tx).await?;
    }
    let took = started.elapsed();
    let mut values = 0;
    for node in scene.replica_nodes() {
        for name in spread(scene.graph.packages.keys()) {
            same_package(&node, name, scene.graph.packages.get(name), &scene.newest_tx).await?;
            values += 1;
        }
        for (edges, table) in scene.graph.edges.iter().zip(EDGES) {
            for ((from, to), constraint) in spread(edges.iter()) {
                same_edge(&node, table, (from, to), constraint.as_deref(), &scene.newest_tx).await?;
                values += 1;
            }
        }
    }
    scene.measurements.add(
        "replicas hold everything after",
        format!("{} from the last load's answer", seconds(took)),
    );
    let [packages, depends, recommends] = scene.graph.counts().map(grouped);
    Ok(format!(
        "both replicas count {packages} packages, {depends} DEPENDS, {recommends} RECOMMENDS as the files do; {values} rows compared"
    )
    .into())
}

/// The first, the last, and some between.
fn spread<T>(items: impl ExactSizeIterator<Item = T>) -> impl Iterator<Item = T> {
    let last = items.len().saturating_sub(1);
    let wanted: Vec<usize> = (0..SPOTS).map(|spot| spot * last / (SPOTS - 1)).collect();
    items
        .enumerate()
        .filter_map(move |(index, item)| wanted.contains(&index).then_some(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spots_reach_from_the_first_to_the_last() {
        assert_eq!(spread(0..101).collect::<Vec<_>>(), [0, 25, 50, 75, 100]);
        assert_eq!(spread(0..2).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(spread(0..0).count(), 0);
    }
}
