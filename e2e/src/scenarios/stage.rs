//! What all scenarios share: the running cluster with its backends, the images, and the chart that is installed once.

use std::path::PathBuf;

use kube::Client;

use super::ScenarioError;
use super::chart::Chart;
use crate::cluster::{Backends, Cluster};
use crate::objects::Space;

/// The stage on which scenarios play.
pub struct Stage {
    pub cluster: Cluster,
    pub client: Client,
    pub backends: Backends,
    pub chart: Chart,
    /// The directory of the Debian example.
    pub example: PathBuf,
    /// Ends the names of this run's namespaces: a cluster may be used for more than one run.
    pub run: String,
}

impl Stage {
    /// Everything of the cluster but the chart; this process is inside the cluster's network already.
    ///
    /// # Errors
    /// When images or backends cannot be installed.
    pub async fn prepare(cluster: Cluster) -> Result<Self, ScenarioError> {
        cluster.install_images().await?;
        let backends = cluster.install_backends().await?;
        let client = cluster.client().await?;
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map(|since| since.as_secs());
        Ok(Self {
            chart: Chart::new(&cluster, root.join("charts/slipstream")),
            example: root.join("examples/debian"),
            run: format!("{:05x}", seconds.unwrap_or_default() & 0xf_ffff),
            cluster,
            client,
            backends,
        })
    }

    /// A new namespace for a scenario.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn space(&self, name: &str) -> Result<Space, ScenarioError> {
        let namespace = format!("{name}-{}", self.run);
        Space::create(&self.cluster, &self.client, &self.backends, &namespace).await
    }

    /// The namespace of the backends.
    pub fn backends_space(&self) -> Space {
        Space::existing(&self.cluster, &self.client, "backends")
    }
}
