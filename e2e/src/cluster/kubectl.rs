//! Talking to the cluster: kubectl, any command inside its network, a client for Rust.

use std::ffi::OsStr;
use std::path::Path;

use tokio::process::Command;

use super::command::{output, output_with_stdin};
use super::error::ClusterError;
use super::{Cluster, READY_WITHIN, network};

impl Cluster {
    /// `kubectl ARGS` inside the cluster's network, as its administrator; returns stdout.
    ///
    /// # Errors
    /// When it exits with anything but 0: [`ClusterError::Command`], whose `output` is what kubectl said.
    pub async fn kubectl<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, ClusterError> {
        output(&mut self.kubectl_command(args)).await
    }

    /// Like [`Cluster::kubectl`], with `stdin` for `-f -`.
    ///
    /// # Errors
    /// As there.
    pub async fn kubectl_stdin<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &str,
    ) -> Result<String, ClusterError> {
        output_with_stdin(&mut self.kubectl_command(args), stdin).await
    }

    /// `kubectl apply -f -` (server-side, so that it takes large objects).
    ///
    /// # Errors
    /// As of [`Cluster::kubectl`].
    pub async fn apply(&self, manifest: &str) -> Result<String, ClusterError> {
        self.kubectl_stdin(
            ["apply", "--server-side", "--force-conflicts", "-f", "-"],
            manifest,
        )
        .await
    }

    /// Waits until a Deployment, StatefulSet or DaemonSet (`deployment/NAME`) runs as specified.
    ///
    /// # Errors
    /// When it does not in time; the error holds the pods' state and events.
    pub async fn rolled_out(&self, namespace: &str, workload: &str) -> Result<(), ClusterError> {
        let timeout = format!("--timeout={}s", READY_WITHIN.as_secs());
        let waited = self
            .kubectl(["rollout", "status", "--namespace", namespace, workload, &timeout])
            .await;
        let Err(ClusterError::Command {
            command,
            status,
            output,
        }) = waited
        else {
            return waited.map(drop);
        };
        // A look at what is there instead; the look itself may fail.
        let pods = self
            .kubectl(["get", "pods", "--namespace", namespace, "-o", "wide"])
            .await
            .unwrap_or_default();
        let events = self
            .kubectl(["events", "--namespace", namespace])
            .await
            .unwrap_or_default();
        Err(ClusterError::Command {
            command,
            status,
            output: format!("{output}\n{pods}\n{events}"),
        })
    }

    /// The address of a Service, for a process inside the cluster's network: names only resolve in pods.
    ///
    /// # Errors
    /// When there is no such Service.
    pub async fn service_address(&self, namespace: &str, service: &str) -> Result<String, ClusterError> {
        self.kubectl([
            "get",
            "service",
            "--namespace",
            namespace,
            service,
            "-o",
            "jsonpath={.spec.clusterIP}",
        ])
        .await
    }

    /// The kubectl command itself, for who wants to stream it.
    pub fn kubectl_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.inside(self.place.tool("kubectl"));
        command.args(args);
        command
    }

    /// A command that runs inside the cluster's network, with `KUBECONFIG` set; services and pods answer there. For helm,
    /// curl, and the like.
    pub fn inside(&self, program: impl AsRef<Path>) -> Command {
        let mut command = network::inside(&self.place, program.as_ref());
        command.env("KUBECONFIG", self.place.kubeconfig());
        command
    }

    /// A client with the administrator's rights. Only for a process inside the cluster's network: see [`Cluster::enter`].
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<kube::Client, ClusterError> {
        let failed = |error: &dyn std::fmt::Display| ClusterError::Client(error.to_string());
        let kubeconfig =
            kube::config::Kubeconfig::read_from(self.place.kubeconfig()).map_err(|error| failed(&error))?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| failed(&error))?;
        kube::Client::try_from(config).map_err(|error| failed(&error))
    }
}
