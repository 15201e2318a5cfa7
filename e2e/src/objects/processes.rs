//! The processes behind a container, found on the node: to freeze them, and to see what memory they take.

use std::fs;

use k8s_openapi::api::core::v1::Pod;
use nix::sys::signal::Signal;

use super::pods::container_id;
use crate::local_process::send_signal;
use crate::scenarios::ScenarioError;

/// Processes of a running container.
#[derive(Debug)]
pub struct Processes {
    of: String,
    pids: Vec<u32>,
}

impl Processes {
    /// Finds them by the control group that is named after the container.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn of(pod: &Pod, container: &str) -> Result<Self, ScenarioError> {
        let of = format!(
            "{} of {}",
            container,
            pod.metadata.name.as_deref().unwrap_or_default()
        );
        let id = container_id(pod, container)
            .ok_or_else(|| ScenarioError::wrong(format!("the container {of}"), "an id", "none"))?;
        let pids = pids_in_group(id);
        if pids.is_empty() {
            return Err(ScenarioError::wrong(
                format!("processes of {of}"),
                "at least one",
                id,
            ));
        }
        Ok(Self { of, pids })
    }

    /// Stops them all without their knowledge (SIGSTOP).
    fn freeze(&self) -> Result<(), ScenarioError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets them go on (SIGCONT).
    fn thaw(&self) -> Result<(), ScenarioError> {
        self.signal(Signal::SIGCONT)
    }

    /// Ends them all (SIGKILL).
    ///
    /// # Errors
    /// When one is gone.
    pub fn kill(&self) -> Result<(), ScenarioError> {
        self.signal(Signal::SIGKILL)
    }

    /// Resident memory of all of them, in bytes.
    ///
    /// # Errors
    /// When one is gone.
    pub fn resident_bytes(&self) -> Result<u64, ScenarioError> {
        self.pids.iter().map(|pid| resident_bytes(*pid, &self.of)).sum()
    }

    fn signal(&self, signal: Signal) -> Result<(), ScenarioError> {
        for pid in &self.pids {
            send_signal(*pid, signal)?;
        }
        Ok(())
    }
}

/// Stopped processes; they go on when this is dropped, whatever happened.
#[derive(Debug)]
pub struct Frozen(Processes);

impl Frozen {
    /// Stops them.
    ///
    /// # Errors
    /// When one is gone.
    pub fn now(processes: Processes) -> Result<Self, ScenarioError> {
        let frozen = Self(processes);
        frozen.0.freeze()?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // A process that is gone needs nothing any more.
        let _ = self.0.thaw();
    }
}

fn pids_in_group(container_id: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|groups| groups.contains(container_id))
        })
        .collect()
}

/// Resident memory of one process, in bytes; `of` is for the error.
///
/// # Errors
/// When it is gone.
pub fn resident_bytes(pid: u32, of: &str) -> Result<u64, ScenarioError> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(ScenarioError::system(format!(
        "read the status of process {pid}, {of}"
    )))?;
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.unwrap_or_default() * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory() {
        let bytes = resident_bytes(std::process::id(), "the test").unwrap();
        assert!(bytes > 1 << 20, "{bytes}");
    }
}
