//! Pods: ready or not, how often restarted, where they answer.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{Role, Space};
use crate::client::Node;
use crate::scenarios::ScenarioError;

/// The container that every pod of a graph has.
pub const SIDECAR: &str = "sidecar";

/// What scenarios look at in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    pub name: String,
    pub uid: String,
    pub ip: Option<String>,
    pub ready: bool,
    /// It has been deleted and still runs.
    pub leaving: bool,
    /// All of its containers together.
    pub restarts: i32,
}

impl PodView {
    /// Reads the pod.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let restarts = container_statuses(pod)
            .map(|container| container.restart_count)
            .sum();
        let ready = status
            .conditions
            .unwrap_or_default()
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            ip: status.pod_ip,
            ready,
            leaving: pod.metadata.deletion_timestamp.is_some(),
            restarts,
        }
    }

    /// Its sidecar, without a Service in between.
    ///
    /// # Errors
    /// When it has no address yet.
    pub fn node(&self) -> Result<Node, ScenarioError> {
        let ip = self.ip.as_deref();
        let ip =
            ip.ok_or_else(|| ScenarioError::wrong(format!("the pod {}", self.name), "an address", "none"))?;
        Ok(Node::at(&self.name, &format!("http://{ip}:8080")))
    }
}

/// States of all containers, native sidecars included.
pub fn container_statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let initial = status.and_then(|status| status.init_container_statuses.as_ref());
    let others = status.and_then(|status| status.container_statuses.as_ref());
    initial.into_iter().chain(others).flatten()
}

/// The runtime's id of a container, without its scheme; none before it runs.
pub fn container_id<'a>(pod: &'a Pod, container: &str) -> Option<&'a str> {
    container_statuses(pod)
        .find(|status| status.name == container)
        .and_then(|status| status.container_id.as_deref())
        .and_then(|id| id.split_once("://"))
        .map(|(_, id)| id)
}

impl Space {
    /// The graph's pods of a role, oldest first.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pod_views(&self, graph: &str, role: Role) -> Result<Vec<PodView>, ScenarioError> {
        Ok(self.pods(graph, role).await?.iter().map(PodView::of).collect())
    }

    /// The replicas that are ready and stay.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn ready_replicas(&self, graph: &str) -> Result<Vec<PodView>, ScenarioError> {
        let mut pods = self.pod_views(graph, Role::Replica).await?;
        pods.retain(|pod| pod.ready && !pod.leaving);
        Ok(pods)
    }

    /// Restarts of all pods of the graph together.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn restarts(&self, graph: &str) -> Result<i32, ScenarioError> {
        let mut pods = self.pod_views(graph, Role::Writer).await?;
        pods.extend(self.pod_views(graph, Role::Replica).await?);
        Ok(pods.iter().map(|pod| pod.restarts).sum())
    }
}
