//! Removes everything a cluster left on the machine, whoever started it and however that ended.
//!
//! Nothing is asked to stop: all data is thrown away anyway, and what belongs to the cluster is known without its help.
//! Processes by its control group, mounts by their path, the network by its name, links by where they lead.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command::{command, output};
use super::error::{ClusterError, failed};
use super::place::Place;
use super::{control_groups, network};
use crate::wait::{Look, until};

const DEAD_WITHIN: Duration = Duration::from_secs(20);
/// Kept when the rest of the state directory goes.
const KEPT: [&str; 1] = ["logs"];
/// Where kubelet links the logs of containers, wherever it keeps them.
const LOG_LINKS: &str = "/var/log/containers";
/// Where containerd keeps running containers, in its state directory; `address` of each names its shim's socket, which is
/// elsewhere.
const CONTAINERS: &str = "containerd-state/io.containerd.runtime.v2.task/k8s.io";
/// Where containerd's network library notes what it did for each pod.
const NETWORK_RESULTS: &str = "/var/lib/cni/results";

/// Removes it all; nothing there: does nothing.
pub(super) async fn remove(place: &Place) -> Result<(), ClusterError> {
    // The owner of a process is its effective user.
    if !std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0) {
        return Err(ClusterError::NotRoot);
    }
    end_processes(place).await?;
    unmount(place).await?;
    network::remove(place).await?;
    control_groups::remove(place)?;
    remove_traces(place)?;
    remove_state(place)
}

/// Kills again and again: one may have started another meanwhile.
async fn end_processes(place: &Place) -> Result<(), ClusterError> {
    let ended = until("the cluster's processes to end", DEAD_WITHIN, async || {
        let processes = control_groups::processes(place);
        for process in &processes {
            // Ended meanwhile is what we want.
            let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
        }
        if processes.is_empty() {
            Look::Found(())
        } else {
            Look::NotYet(format!("processes {processes:?}"))
        }
    });
    Ok(ended.await?)
}

async fn unmount(place: &Place) -> Result<(), ClusterError> {
    for mount in mounts(place)?.iter().rev() {
        if output(command("umount").arg(mount)).await.is_err() {
            // Somebody looks into it, for example a shell: it goes when they do.
            output(command("umount").arg("--lazy").arg(mount)).await?;
        }
    }
    match mounts(place)?.as_slice() {
        [] => Ok(()),
        left => Err(ClusterError::LeftBehind(format!("mounts {left:?}"))),
    }
}

/// Mount points below the state directory, oldest first.
fn mounts(place: &Place) -> Result<Vec<PathBuf>, ClusterError> {
    let table =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(failed("read /proc/self/mountinfo"))?;
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape);
    Ok(points.filter(|point| point.starts_with(&place.state)).collect())
}

/// mountinfo writes blanks and backslashes as octal numbers.
fn unescape(text: &str) -> PathBuf {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| {
            text.replace(escaped, plain)
        })
        .into()
}

fn remove_traces(place: &Place) -> Result<(), ClusterError> {
    for container in entries(&place.state.join(CONTAINERS)) {
        let address = std::fs::read_to_string(container.join("address")).unwrap_or_default();
        let Some(socket) = address.strip_prefix("unix://").map(Path::new) else {
            continue;
        };
        if socket.exists() {
            std::fs::remove_file(socket).map_err(failed(format!("remove {}", socket.display())))?;
        }
    }
    for link in entries(Path::new(LOG_LINKS)) {
        if std::fs::read_link(&link).is_ok_and(|target| target.starts_with(&place.state)) {
            std::fs::remove_file(&link).map_err(failed(format!("remove {}", link.display())))?;
        }
    }
    let state = place.state.display().to_string();
    for result in entries(Path::new(NETWORK_RESULTS)) {
        if std::fs::read_to_string(&result).is_ok_and(|text| text.contains(&state)) {
            std::fs::remove_file(&result).map_err(failed(format!("remove {}", result.display())))?;
        }
    }
    Ok(())
}

fn remove_state(place: &Place) -> Result<(), ClusterError> {
    for path in entries(&place.state) {
        if KEPT.iter().any(|kept| path.ends_with(kept)) {
            continue;
        }
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(failed(format!("remove {}", path.display())))?;
    }
    Ok(())
}

/// What a directory holds; nothing, if there is none.
fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}
