//! Step 1: the resource file is copied, `slipstream local` started, and writer and replicas become ready.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{REPLICAS, Scene, StepError, expect_equal};
use crate::report::{Passed, seconds};

const WITHIN: Duration = Duration::from_secs(120);
/// The resource file of the example and of the demo's copy.
pub const RESOURCE: &str = "debian.yaml";

/// Copies the resource file to where the demo may edit it.
///
/// # Errors
/// When it cannot be read or written.
pub fn copy_resource(example: &Path, state: &Path) -> Result<std::path::PathBuf, StepError> {
    let (from, to) = (example.join(RESOURCE), state.join(RESOURCE));
    std::fs::copy(&from, &to).map_err(StepError::system(format!(
        "copy {} to {}",
        from.display(),
        to.display()
    )))?;
    Ok(to)
}

/// Waits until everything answers.
///
/// # Errors
/// When something does not become ready, or is not what it should be.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let started = Instant::now();
    scene.local.wait_ready(REPLICAS, WITHIN).await?;
    let took = started.elapsed();
    let writer = scene.local.writer().status().await?;
    expect_equal("role of the writer", &writer.other["role"], &"writer".into())?;
    for node in scene.replica_nodes() {
        expect_equal(
            format!("role of {}", node.name),
            &node.status().await?.other["role"],
            &"replica".into(),
        )?;
    }
    scene
        .measurements
        .add("start: writer and 2 replicas ready", seconds(took));
    let port = scene.local.settings.base_port;
    Ok(format!("1 writer on port {port} and {REPLICAS} replicas on the next ones are ready").into())
}
