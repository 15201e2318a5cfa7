//! The cluster's network: a namespace without uplink, whose node address sits on a bridge of its own.
//!
//! Entered by nsenter, never by `ip netns exec`: that mounts another /sys, where kubelet finds no control groups.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use tokio::process::Command;

use super::command::{command, output};
use super::error::{ClusterError, failed};
use super::place::{NODE, Place};

/// Runs inside. A bridge, because not every kernel has the dummy device. IPv6 stays off: nothing here uses it.
const SET_UP: &str = r#"
ip link set lo up
ip link add node0 type bridge
ip address add "$1/32" dev node0
ip link set node0 up
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
"#;

/// Makes the namespace.
pub(super) async fn make(place: &Place) -> Result<(), ClusterError> {
    // Pods' packets cross iptables on their way over the bridge only with this module; it may be built in.
    let _ = output(command("modprobe").arg("br_netfilter")).await;
    output(command("ip").args(["netns", "add", &place.name()])).await?;
    let mut set_up = inside(place, Path::new("sh"));
    set_up.args(["-euc", SET_UP, "sh", &NODE.to_string()]);
    output(&mut set_up).await.map(drop)
}

/// Removes the namespace, if it is there.
pub(super) async fn remove(place: &Place) -> Result<(), ClusterError> {
    if place.network().exists() {
        output(command("ip").args(["netns", "delete", &place.name()])).await?;
    }
    Ok(())
}

/// A command that runs inside.
pub(super) fn inside(place: &Place, program: &Path) -> Command {
    let [nsenter, network] = nsenter(place);
    let mut command = command(nsenter);
    command.arg(network).arg(program);
    command
}

/// The words before a command that make it run inside.
pub(super) fn nsenter(place: &Place) -> [OsString; 2] {
    let mut network = OsString::from("--net=");
    network.push(place.network());
    ["nsenter".into(), network]
}

/// Executes this program again inside, unless it is there already.
pub(super) fn enter(place: &Place) -> Result<(), ClusterError> {
    if is_inside(place)? {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(failed("find this program's own path"))?;
    let mut command = inside(place, &program);
    command.args(std::env::args_os().skip(1));
    Err(failed("run this program inside the cluster's network")(
        command.as_std_mut().exec(),
    ))
}

fn is_inside(place: &Place) -> Result<bool, ClusterError> {
    let identity = |path: &Path| {
        let metadata = std::fs::metadata(path).map_err(failed(format!("look at {}", path.display())))?;
        Ok::<_, ClusterError>((metadata.dev(), metadata.ino()))
    };
    Ok(identity(Path::new("/proc/self/ns/net"))? == identity(&place.network())?)
}
