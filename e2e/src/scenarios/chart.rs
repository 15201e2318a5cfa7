//! The chart under test, installed and upgraded by the real helm.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::ScenarioError;
use crate::cluster::{Cluster, OPERATOR_IMAGE, SIDECAR_IMAGE};
use crate::objects::Space;

/// Where the operator runs.
pub(super) const NAMESPACE: &str = "slipstream-system";
/// The operator's Deployment.
pub(super) const DEPLOYMENT: &str = "slipstream-operator";
/// The operator's container.
pub(super) const CONTAINER: &str = "operator";
/// The Lease that the leading operator holds.
pub(super) const LEASE: &str = "slipstream-operator";
/// Selects the operator's pods.
pub(super) const OPERATOR_PODS: &str =
    "app.kubernetes.io/name=slipstream-operator,app.kubernetes.io/instance=slipstream";

const RELEASE: &str = "slipstream";

/// The chart's directory and the helm that installs it.
#[derive(Debug)]
pub struct Chart {
    helm: PathBuf,
    chart: PathBuf,
}

impl Chart {
    pub(super) fn new(cluster: &Cluster, chart: PathBuf) -> Self {
        Self {
            helm: cluster.place().tool("helm"),
            chart,
        }
    }

    /// Installs the chart with the images of this build, or brings the release back to them.
    ///
    /// # Errors
    /// What helm said.
    pub async fn install(&self, cluster: &Cluster) -> Result<Duration, ScenarioError> {
        let began = Instant::now();
        self.upgrade(cluster, &[]).await?;
        Ok(began.elapsed())
    }

    /// `helm upgrade --install` with further arguments; waits until the operator is ready.
    pub(super) async fn upgrade(&self, cluster: &Cluster, args: &[&str]) -> Result<(), ScenarioError> {
        self.upgrade_to(cluster, OPERATOR_IMAGE, SIDECAR_IMAGE, args)
            .await
    }

    /// The same with other images.
    pub(super) async fn upgrade_images(
        &self,
        cluster: &Cluster,
        operator: &str,
        sidecar: &str,
    ) -> Result<(), ScenarioError> {
        self.upgrade_to(cluster, operator, sidecar, &[]).await
    }

    async fn upgrade_to(
        &self,
        cluster: &Cluster,
        operator: &str,
        sidecar: &str,
        args: &[&str],
    ) -> Result<(), ScenarioError> {
        let mut helm = self.upgrade_command(cluster, RELEASE, NAMESPACE, operator, sidecar);
        helm.arg("--create-namespace").args(args);
        said(helm, "helm upgrade").await?;
        Ok(())
    }

    /// A release whose operator watches its own namespace only; the definition of the resource is there already.
    pub(super) async fn install_in(
        &self,
        cluster: &Cluster,
        release: &str,
        namespace: &str,
    ) -> Result<(), ScenarioError> {
        let mut helm = self.upgrade_command(cluster, release, namespace, OPERATOR_IMAGE, SIDECAR_IMAGE);
        helm.args(["--set", "scope=Namespace,crds.install=false"]);
        said(helm, "helm upgrade").await?;
        Ok(())
    }

    /// `helm uninstall`.
    pub(super) async fn uninstall(
        &self,
        cluster: &Cluster,
        release: &str,
        namespace: &str,
    ) -> Result<(), ScenarioError> {
        let mut helm = cluster.inside(&self.helm);
        helm.args([
            "uninstall",
            release,
            "--namespace",
            namespace,
            "--wait",
            "--timeout=60s",
        ]);
        said(helm, "helm uninstall").await?;
        Ok(())
    }

    fn upgrade_command(
        &self,
        cluster: &Cluster,
        release: &str,
        namespace: &str,
        operator: &str,
        sidecar: &str,
    ) -> Command {
        let mut helm = cluster.inside(&self.helm);
        helm.args(["upgrade", "--install", release]).arg(&self.chart);
        helm.args(["--namespace", namespace, "--wait", "--timeout=120s"]);
        for (key, image) in [("image", operator), ("sidecar.image", sidecar)] {
            let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
            helm.args(["--set", &format!("{key}.repository={repository},{key}.tag={tag}")]);
        }
        helm.args(["--set", "log.filter=info\\,operator=debug"]);
        helm
    }

    /// `helm test`.
    pub(super) async fn test(&self, cluster: &Cluster) -> Result<String, ScenarioError> {
        let mut helm = cluster.inside(&self.helm);
        helm.args(["test", RELEASE, "--namespace", NAMESPACE, "--timeout=120s"]);
        said(helm, "helm test").await
    }
}

impl Space {
    /// In the operator's namespace: ends the operator and waits until it is gone.
    pub(super) async fn pause_operator(&self) -> Result<(), ScenarioError> {
        self.kubectl(&["scale", "deployment", DEPLOYMENT, "--replicas=0"])
            .await?;
        let args = [
            "wait",
            "pods",
            "--selector",
            OPERATOR_PODS,
            "--for=delete",
            "--timeout=60s",
        ];
        self.kubectl(&args).await?;
        Ok(())
    }

    /// Starts it again.
    pub(super) async fn resume_operator(&self) -> Result<(), ScenarioError> {
        self.kubectl(&["scale", "deployment", DEPLOYMENT, "--replicas=1"])
            .await?;
        self.kubectl(&["rollout", "status", "deployment", DEPLOYMENT, "--timeout=90s"])
            .await?;
        Ok(())
    }
}

/// What a command wrote; everything of it when it failed.
async fn said(mut command: Command, what: &str) -> Result<String, ScenarioError> {
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .map_err(ScenarioError::system(format!("run {what}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(ScenarioError::wrong(
        format!("the end of {what}"),
        "exit status 0",
        format!("{}: {text}{errors}", output.status),
    ))
}
