//! The programs of the cluster: built from pinned Go modules by `e2e/cluster/tools.sh`, once per machine.

use super::command::command;
use super::error::{ClusterError, failed};
use super::place::Place;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/tools.sh");

/// Builds what is missing; says so on stderr.
pub(super) async fn ensure(place: &Place) -> Result<(), ClusterError> {
    let mut script = command(SCRIPT);
    script.env("SLIPSTREAM_CACHE", &place.cache);
    let status = script.status().await.map_err(failed(format!("run {SCRIPT}")))?;
    if status.success() {
        return Ok(());
    }
    Err(ClusterError::Command {
        command: SCRIPT.to_owned(),
        status,
        output: "(its output is above)".to_owned(),
    })
}
