//! Step 10: a clean stop; nobody is left.

use std::time::{Duration, Instant};

use super::{Scene, StepError, expect_equal};
use crate::local_process::is_alive;
use crate::ports::{PORTS, is_listening};
use crate::report::{Passed, seconds};
use crate::wait::{Look, until};

const WITHIN: Duration = Duration::from_secs(60);
/// The children ended before their supervisor; the system may need a moment to forget them.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// SIGTERM to the supervisor, and a look at what should be gone.
///
/// # Errors
/// When it does not end with status 0, or a child or a listener is left.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let mut nodes = scene.replica_nodes();
    nodes.push(scene.local.writer());
    let mut pids = Vec::new();
    for node in &nodes {
        pids.push(node.status().await?.pid);
    }
    let started = Instant::now();
    let status = scene.local.terminate(WITHIN).await?;
    let took = started.elapsed();
    expect_equal("exit status of `slipstream local`", &status.code(), &Some(0))?;
    let base = scene.local.settings.base_port;
    until(
        "all processes and listeners to be gone",
        GONE_WITHIN,
        async || {
            let alive: Vec<u32> = pids.iter().copied().filter(|pid| is_alive(*pid)).collect();
            let listening: Vec<u16> = (base..base + PORTS).filter(|port| is_listening(*port)).collect();
            if alive.is_empty() && listening.is_empty() {
                return Look::Found(());
            }
            Look::NotYet(format!(
                "processes {alive:?} alive, ports {listening:?} listening"
            ))
        },
    )
    .await?;
    Ok(format!(
        "stopped in {} with status 0; its {} processes are gone, no port listens",
        seconds(took),
        pids.len()
    )
    .into())
}
