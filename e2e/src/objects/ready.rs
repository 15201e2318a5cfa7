//! Waiting for what the API server says of a graph. Every wait has a deadline and tells what it saw last.

use std::time::Duration;

use crds::ReplicatedGraphDB;

use super::pods::PodView;
use super::{Role, Space};
use crate::scenarios::ScenarioError;
use crate::wait::{Look, until_every};

/// From one look at the API server to the next.
pub const LOOK: Duration = Duration::from_millis(200);
/// For pods to start and to catch up with a small graph, on a machine that is busy.
pub const START: Duration = Duration::from_secs(150);
/// For kube-proxy.
const SERVICES: Duration = Duration::from_secs(15);

/// `status`, `reason`, `message` of a condition; empty where it is not set.
pub fn condition(graph: &ReplicatedGraphDB, condition_type: &str) -> (String, String, String) {
    let conditions = graph.status.as_ref().map(|status| status.conditions.as_slice());
    conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == condition_type)
        .map(|found| (found.status.clone(), found.reason.clone(), found.message.clone()))
        .unwrap_or_default()
}

/// All conditions in one line, for errors.
pub fn conditions(graph: &ReplicatedGraphDB) -> String {
    let Some(status) = &graph.status else {
        return "no status".to_owned();
    };
    let each = status.conditions.iter().map(|condition| {
        format!(
            "{}={} ({}: {})",
            condition.type_, condition.status, condition.reason, condition.message
        )
    });
    format!(
        "generation {:?}, observed {:?}, {} of {} replicas ready, {}",
        graph.metadata.generation,
        status.observed_generation,
        status.ready_replicas,
        status.replicas,
        each.collect::<Vec<_>>().join("; ")
    )
}

impl Space {
    /// Waits until `holds` of the resource.
    ///
    /// # Errors
    /// When it does not hold in time; with all conditions.
    pub async fn wait_graph(
        &self,
        name: &str,
        what: &str,
        within: Duration,
        holds: impl Fn(&ReplicatedGraphDB) -> bool,
    ) -> Result<ReplicatedGraphDB, ScenarioError> {
        let what = format!("{}/{name}: {what}", self.namespace);
        let found = until_every(LOOK, &what, within, async || match self.graph(name).await {
            Ok(graph) if holds(&graph) => Look::Found(graph),
            Ok(graph) => Look::NotYet(conditions(&graph)),
            Err(error) => Look::NotYet(error.to_string()),
        });
        Ok(found.await?)
    }

    /// Waits until the resource says that it is ready, with that many replicas, and means its newest generation.
    ///
    /// # Errors
    /// As [`Space::wait_graph`].
    pub async fn wait_ready(
        &self,
        name: &str,
        replicas: u32,
        within: Duration,
    ) -> Result<ReplicatedGraphDB, ScenarioError> {
        let what = format!("ready with {replicas} replicas");
        self.wait_graph(name, &what, within, |graph| {
            let Some(status) = &graph.status else {
                return false;
            };
            condition(graph, "Ready").0 == "True"
                && status.observed_generation == graph.metadata.generation
                && (status.replicas, status.ready_replicas) == (replicas, replicas)
        })
        .await
    }

    /// Waits until a condition has that status.
    ///
    /// # Errors
    /// As [`Space::wait_graph`].
    pub async fn wait_condition(
        &self,
        name: &str,
        (condition_type, status): (&str, &str),
        within: Duration,
    ) -> Result<ReplicatedGraphDB, ScenarioError> {
        let what = format!("{condition_type}={status}");
        self.wait_graph(name, &what, within, |graph| {
            condition(graph, condition_type).0 == status
        })
        .await
    }

    /// Waits until `holds` of the pods of a role.
    ///
    /// # Errors
    /// When it does not hold in time; with the pods.
    pub async fn wait_pods(
        &self,
        graph: &str,
        role: Role,
        what: &str,
        within: Duration,
        holds: impl Fn(&[PodView]) -> bool,
    ) -> Result<Vec<PodView>, ScenarioError> {
        let what = format!("{}/{graph}, {} pods: {what}", self.namespace, role.as_str());
        let found = until_every(LOOK, &what, within, async || {
            match self.pod_views(graph, role).await {
                Ok(pods) if holds(&pods) => Look::Found(pods),
                Ok(pods) => Look::NotYet(format!("{pods:?}")),
                Err(error) => Look::NotYet(error.to_string()),
            }
        });
        Ok(found.await?)
    }

    /// Waits until there are exactly so many replica pods, all ready, none leaving.
    ///
    /// # Errors
    /// As [`Space::wait_pods`].
    pub async fn wait_replicas(
        &self,
        graph: &str,
        replicas: usize,
        within: Duration,
    ) -> Result<Vec<PodView>, ScenarioError> {
        let what = format!("{replicas}, all ready");
        self.wait_pods(graph, Role::Replica, &what, within, |pods| {
            pods.len() == replicas && pods.iter().all(|pod| pod.ready && !pod.leaving)
        })
        .await
    }

    /// Waits until the Services lead to the pods: kube-proxy hears of ready pods when everybody does, and then still has to
    /// change the node's tables.
    ///
    /// # Errors
    /// When one does not answer in time.
    pub async fn wait_services(&self, graph: &str, replicas: bool) -> Result<(), ScenarioError> {
        let mut nodes = vec![self.writer(graph).await?];
        if replicas {
            nodes.push(self.readers(graph).await?);
        }
        for node in nodes {
            let what = format!("an answer of the Service {}", node.name);
            until_every(LOOK, &what, SERVICES, async || match node.status().await {
                Ok(_) => Look::Found(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
            .await?;
        }
        Ok(())
    }
}
