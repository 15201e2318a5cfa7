//! Kubernetes objects as scenarios look at them: one namespace, the graphs in it, their pods and clients.
//!
//! ```text
//! Space (a namespace) ─┬─> ready ───────── waits on conditions and pods, with deadlines
//!                      ├─> pods ────────── restarts, nodes, processes behind a pod
//!                      ├─> small_graph ─── the resource that most scenarios apply
//!                      ├─> made ────────── the objects that the operator made
//!                      └─> bucket, jetstream ─ what a graph has in the store and on the bus
//! reader, writer ─ clients in a loop, who note each failure
//! ```
//!
//! Owns: what is asked of the API server, in one place. Does not own: the cluster (`cluster`), what must hold (`scenarios`).

pub mod bucket;
pub mod jetstream;
pub mod made;
pub mod pods;
pub mod processes;
pub mod reader;
pub mod ready;
pub mod small_graph;
pub mod writer;

use crds::ReplicatedGraphDB;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ListParams};
use kube::{Client, Resource};
use serde_json::Value;

use crate::client::Node;
use crate::cluster::{Backends, Cluster, ClusterError};
use crate::scenarios::ScenarioError;

pub use small_graph::SmallGraph;

/// Role of a pod, as its label has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Writer,
    Replica,
}

impl Role {
    /// `writer`, `replica`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Replica => "replica",
        }
    }
}

/// One namespace of the cluster.
#[derive(Clone)]
pub struct Space {
    pub cluster: Cluster,
    pub client: Client,
    pub namespace: String,
}

impl Space {
    /// Makes the namespace, with the Secrets that graphs need to reach the backends.
    ///
    /// # Errors
    /// When it is there already.
    pub async fn create(
        cluster: &Cluster,
        client: &Client,
        backends: &Backends,
        namespace: &str,
    ) -> Result<Self, ScenarioError> {
        cluster.kubectl(["create", "namespace", namespace]).await?;
        backends.add_secrets(cluster, namespace).await?;
        Ok(Self::existing(cluster, client, namespace))
    }

    /// A namespace that is there.
    pub fn existing(cluster: &Cluster, client: &Client, namespace: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            client: client.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// Objects of one kind.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// `kubectl -n <namespace> ARGS`.
    ///
    /// # Errors
    /// What kubectl said, when it failed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String, ClusterError> {
        let mut all = vec!["--namespace", &self.namespace];
        all.extend_from_slice(args);
        self.cluster.kubectl(all).await
    }

    /// `kubectl apply -f -`, as a person does it.
    ///
    /// # Errors
    /// What kubectl said, when it failed.
    pub async fn apply(&self, manifest: &Value) -> Result<String, ClusterError> {
        let args = ["--namespace", &self.namespace, "apply", "-f", "-"];
        self.cluster.kubectl_stdin(args, &manifest.to_string()).await
    }

    /// `kubectl patch rgdb` with a merge patch.
    ///
    /// # Errors
    /// What kubectl said, when it failed.
    pub async fn patch_graph(&self, graph: &str, patch: &Value) -> Result<String, ClusterError> {
        self.kubectl(&[
            "patch",
            "rgdb",
            graph,
            "--type=merge",
            "--patch",
            &patch.to_string(),
        ])
        .await
    }

    /// The resource.
    ///
    /// # Errors
    /// When there is none.
    pub async fn graph(&self, name: &str) -> Result<ReplicatedGraphDB, ScenarioError> {
        Ok(self.api::<ReplicatedGraphDB>().get(name).await?)
    }

    /// The graph's pods of a role, oldest first, those that are going included.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self, graph: &str, role: Role) -> Result<Vec<Pod>, ScenarioError> {
        let selector = format!(
            "slipstream.dev/graph={graph},slipstream.dev/role={}",
            role.as_str()
        );
        let mut pods = self
            .api::<Pod>()
            .list(&ListParams::default().labels(&selector))
            .await?
            .items;
        pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
        Ok(pods)
    }

    /// `http://<cluster IP>:<first port>` of a Service.
    ///
    /// # Errors
    /// When there is no such Service, or it has no address.
    pub async fn service_url(&self, name: &str) -> Result<String, ScenarioError> {
        let service = self.api::<Service>().get(name).await?;
        let spec = service.spec.unwrap_or_default();
        let port = spec.ports.unwrap_or_default().first().map(|port| port.port);
        match (spec.cluster_ip.as_deref(), port) {
            (Some(ip), Some(port)) if ip != "None" => Ok(format!("http://{ip}:{port}")),
            found => Err(ScenarioError::wrong(
                format!("the Service {name}"),
                "a cluster IP and a port",
                found,
            )),
        }
    }

    /// The writer, through its Service.
    ///
    /// # Errors
    /// As [`Space::service_url`].
    pub async fn writer(&self, graph: &str) -> Result<Node, ScenarioError> {
        let service = format!("{graph}-writer");
        Ok(Node::behind(&service, &self.service_url(&service).await?))
    }

    /// Any replica, through the read Service.
    ///
    /// # Errors
    /// As [`Space::service_url`].
    pub async fn readers(&self, graph: &str) -> Result<Node, ScenarioError> {
        let service = format!("{graph}-read");
        Ok(Node::behind(&service, &self.service_url(&service).await?))
    }
}
