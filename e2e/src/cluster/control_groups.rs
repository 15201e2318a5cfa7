//! The control group that holds every process of the cluster: its components, and the pods that kubelet makes below it.
//!
//! It is made in every hierarchy (version 1 has one per controller, version 2 a single one), because kubelet wants its root
//! in all of them; which processes belong to the cluster is read from one.
//!
//! ```text
//! <hierarchy>/<name>/components   etcd, kubelet, containerd with its shims …
//! <hierarchy>/<name>/kubepods     kubelet's own
//! ```

use std::path::{Path, PathBuf};

use super::error::{ClusterError, failed};
use super::place::Place;

const MOUNTS: &str = "/sys/fs/cgroup";
/// What kubelet needs below its root under version 2, as far as the kernel has it.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Makes the groups.
pub(super) fn make(place: &Place) -> Result<(), ClusterError> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(place.name());
        std::fs::create_dir_all(&group)
            .map_err(failed(format!("make the control group {}", group.display())))?;
        if hierarchy.join("cgroup.controllers").exists() {
            for controller in CONTROLLERS {
                // One that the kernel lacks, or that version 1 holds, is kubelet's to complain about.
                let _ = std::fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }
    let components = of_components(place);
    std::fs::create_dir_all(&components)
        .map_err(failed(format!("make the control group {}", components.display())))
}

/// Where the components are.
pub(super) fn of_components(place: &Place) -> PathBuf {
    group(place).join("components")
}

/// The process ids of everything in the cluster.
pub(super) fn processes(place: &Place) -> Vec<i32> {
    let mut found = Vec::new();
    for group in tree(&group(place)) {
        // Gone meanwhile means that nothing is in it.
        let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    found
}

/// Removes the groups; they must hold no process any more.
pub(super) fn remove(place: &Place) -> Result<(), ClusterError> {
    for hierarchy in hierarchies()? {
        for group in tree(&hierarchy.join(place.name())).iter().rev() {
            std::fs::remove_dir(group)
                .map_err(failed(format!("remove the control group {}", group.display())))?;
        }
    }
    Ok(())
}

/// The group in the hierarchy that tells who belongs to the cluster.
fn group(place: &Place) -> PathBuf {
    let pids = Path::new(MOUNTS).join("pids");
    let hierarchy = if pids.is_dir() {
        pids
    } else {
        PathBuf::from(MOUNTS)
    };
    hierarchy.join(place.name())
}

fn hierarchies() -> Result<Vec<PathBuf>, ClusterError> {
    let mounts = Path::new(MOUNTS);
    if mounts.join("cgroup.controllers").exists() {
        return Ok(vec![mounts.to_owned()]);
    }
    let doing = "list the hierarchies of control groups";
    let mut found = Vec::new();
    for entry in std::fs::read_dir(mounts).map_err(failed(doing))? {
        let path = entry.map_err(failed(doing))?.path();
        // Links are other names of the same hierarchy: cpu,cpuacct.
        if path.join("cgroup.procs").exists() && !path.is_symlink() {
            found.push(path);
        }
    }
    Ok(found)
}

/// A group and all below it, parents first; empty when there is none.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if root.is_dir() {
        found.push(root.to_owned());
        let below = std::fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        found.extend(below.filter(|path| path.is_dir()).flat_map(|path| tree(&path)));
    }
    found
}
