//! Step 7: the resource file is edited, and a third replica joins.

use std::time::{Duration, Instant};

use super::checks::same_counts;
use super::{REPLICAS, Scene, StepError, expect_equal};
use crate::client::Node;
use crate::report::{Passed, rate, seconds};

const WITHIN: Duration = Duration::from_secs(120);
/// What a node has spent on building graphs from Lance; a new replica does so once.
const BUILD_SECONDS: &str = "slipstream_rebuild_duration_seconds_sum";

/// Edits `replicas` and waits for the new replica.
///
/// # Errors
/// When it does not become ready, or holds something else.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    edit_replicas(scene)?;
    let started = Instant::now();
    scene.replicas = REPLICAS + 1;
    scene.local.wait_ready(scene.replicas, WITHIN).await?;
    let ready = seconds(started.elapsed());
    for node in scene.replica_nodes() {
        same_counts(&node, &scene.graph, &scene.newest_tx).await?;
    }
    let newest = scene.local.replica(scene.replicas);
    let built = build_time(&newest).await?;
    let rows: u64 = scene.graph.counts().iter().sum();
    let figures = format!("{}, {}", seconds(built), rate(rows, built));
    scene
        .measurements
        .add(format!("build of {}'s graph from Lance", newest.name), figures);
    scene.measurements.add(
        format!("edit of the file until {} is ready", newest.name),
        ready.clone(),
    );
    let built = seconds(built);
    let name = newest.name;
    Ok(
        format!("{name} ready {ready} after the edit (graph built in {built}), same counts as the others")
            .into(),
    )
}

fn edit_replicas(scene: &Scene) -> Result<(), StepError> {
    let file = &scene.local.settings.graph_file;
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(StepError::system(format!("read {shown}")))?;
    let [old, new] = [REPLICAS, REPLICAS + 1].map(|replicas| format!("replicas: {replicas}\n"));
    expect_equal(
        format!("lines `{}` in {shown}", old.trim_end()),
        &text.matches(&old).count(),
        &1,
    )?;
    std::fs::write(file, text.replace(&old, &new)).map_err(StepError::system(format!("edit {shown}")))
}

async fn build_time(node: &Node) -> Result<Duration, StepError> {
    let found = node.metric(BUILD_SECONDS).await?;
    found
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| StepError::Wrong {
            what: format!("{BUILD_SECONDS} of {}", node.name),
            expected: "a time".to_owned(),
            found: format!("{found:?}"),
        })
}
