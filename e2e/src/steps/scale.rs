//! Step 6: the resource file is edited, and a third replica joins.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::checks::same_counts;
use super::{REPLICAS, Scene, StepError, expect_equal};
use crate::report::{Passed, seconds};

const WITHIN: Duration = Duration::from_secs(120);

/// Edits `replicas` and waits for the new replica.
///
/// # Errors
/// When it does not become ready, or holds something else.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let file = scene.local.settings.graph_file.clone();
    let text =
        std::fs::read_to_string(&file).map_err(StepError::system(format!("read {}", file.display())))?;
    let (old, new) = (
        format!("replicas: {REPLICAS}\n"),
        format!("replicas: {}\n", REPLICAS + 1),
    );
    expect_equal(
        format!("lines `{}` in {}", old.trim_end(), file.display()),
        &text.matches(&old).count(),
        &1,
    )?;
    std::fs::write(&file, text.replace(&old, &new))
        .map_err(StepError::system(format!("edit {}", file.display())))?;

    let started = Instant::now();
    scene.replicas = REPLICAS + 1;
    scene.local.wait_ready(scene.replicas, WITHIN).await?;
    let took = started.elapsed();
    for node in scene.replica_nodes() {
        same_counts(&node, &scene.graph, &scene.newest_tx).await?;
    }
    let status = scene.local.replica(scene.replicas).status().await?;
    if let Some(build) = build_time(&status.other) {
        scene.measurements.add("build of the new replica's graph", build);
    }
    scene
        .measurements
        .add("edit of the file until replica-3 is ready", seconds(took));
    Ok(format!(
        "replica-3 ready {} after the edit, with the same counts as the others",
        seconds(took)
    )
    .into())
}

/// The last build by the node's own account, if it gives one.
fn build_time(status: &serde_json::Map<String, Value>) -> Option<String> {
    let ms = status.get("last_build")?.get("took_ms")?.as_u64()?;
    Some(format!("{ms} ms"))
}
