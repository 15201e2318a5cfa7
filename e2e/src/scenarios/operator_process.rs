//! The operator as a process of this machine: it can be made to die at a chosen write, without a kubelet that waits longer
//! and longer before it starts it again.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::process::Child;

use super::beside::bound_command;
use super::{ScenarioError, Stage};
use crate::cluster::SIDECAR_IMAGE;
use crate::local_process::find_binary;

/// A running operator; killed when dropped.
#[derive(Debug)]
pub(super) struct OperatorProcess {
    child: Child,
    log: PathBuf,
}

impl OperatorProcess {
    /// Starts the operator for one namespace, with its Lease there; `fail_points` as the variable `FAILPOINTS` has them.
    pub(super) fn start(stage: &Stage, namespace: &str, fail_points: &str) -> Result<Self, ScenarioError> {
        let binary = find_binary()?.with_file_name("slipstream-operator");
        let log = stage
            .cluster
            .place()
            .logs()
            .join(format!("operator-{namespace}.log"));
        let file = File::create(&log).map_err(ScenarioError::system(format!("make {}", log.display())))?;
        let errors = file
            .try_clone()
            .map_err(ScenarioError::system("share the log file"))?;
        let child = bound_command(&binary)
            .args([
                "--namespace",
                namespace,
                "--sidecar-image",
                SIDECAR_IMAGE,
                "--listen",
                "127.0.0.1:0",
            ])
            .env("KUBECONFIG", stage.cluster.place().kubeconfig())
            .env("POD_NAME", "operator-process")
            .env("POD_NAMESPACE", namespace)
            .env("FAILPOINTS", fail_points)
            .env("RUST_LOG", "info,operator=debug")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(ScenarioError::system(format!("start {}", binary.display())))?;
        Ok(Self { child, log })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, ScenarioError> {
        self.child
            .try_wait()
            .map_err(ScenarioError::system("look after the operator"))
    }

    /// SIGKILL, and its end.
    pub(super) async fn kill(mut self) -> Result<(), ScenarioError> {
        self.child
            .kill()
            .await
            .map_err(ScenarioError::system("kill the operator"))
    }

    /// The end of its log.
    pub(super) fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}
