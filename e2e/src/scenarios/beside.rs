//! Programs beside the cluster that a scenario needs: where they listen so that pods and the API server reach them, and
//! that none outlives the scenarios.

use std::ffi::OsStr;
use std::net::TcpListener;

use tokio::process::Command;

use super::ScenarioError;
use crate::objects::Space;

/// The node's address, which this process has too.
pub(super) async fn node_address(space: &Space) -> Result<String, ScenarioError> {
    let path = "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
    Ok(space
        .kubectl(&["get", "nodes", "-o", path])
        .await?
        .trim()
        .to_owned())
}

/// A port that nobody listens on.
pub(super) fn free_port(address: &str) -> Result<u16, ScenarioError> {
    TcpListener::bind((address, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ScenarioError::system(format!("find a free port on {address}")))
}

/// A command that ends with this process, even if this one is killed, and when its handle is dropped.
pub(super) fn bound_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .kill_on_drop(true);
    command
}
