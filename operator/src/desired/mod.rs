//! What a graph needs in the cluster: decided purely, from the validated resource and the little that must be sticky.
//!
//! Flow: [`Validated`] + [`Observed`] → [`desired`] → [`Objects`] → `apply`. Each kind of object has a file of its own.
//! Owns: the content of every object the operator makes. Does not own: talking to the API server, deleting what is no
//! longer wanted, and the status.
//!
//! **Stickiness.** A change of the operator must never restart a pod of an existing graph. So the sidecar's image is the
//! one a graph was created with until `spec.image` says otherwise, and the snapshots next to this module pin every pod
//! template to the byte. What a StatefulSet cannot change (its claim templates) stays as observed. A change of what a
//! sidecar reads only when it starts is the one part of the config that reaches a template: see `start_config`.
//!
//! **Order of updates.** Replicas roll first, the writer last: see `rollout`.

mod cleanup_job;
mod config_map;
mod disruption_budgets;
mod image;
mod labels;
mod network_policy;
mod overlay;
mod pod;
mod pod_inputs;
mod pod_monitor;
mod pod_security;
mod replica_deployment;
mod rollout;
mod service_accounts;
mod services;
mod start_config;
mod volume_growth;
mod writer_stateful_set;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::core::DynamicObject;

use crate::validate::Validated;

pub use cleanup_job::{cleanup_job, cleanup_job_name};
pub use config_map::config_map_name;
pub use labels::{
    GRAPH_LABEL, IMAGE_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, ROLE_LABEL, TEMPLATE_ANNOTATION,
    replica_selector_text, role_selector_text,
};
pub use pod::{HTTP_PORT, SIDECAR_CONTAINER};
pub use pod_monitor::pod_monitor_resource;
pub use rollout::rollout_is_done;
pub use service_accounts::{cleanup_account, writer_account};
pub use volume_growth::{VolumeGrowth, data_claim_name, storage_class_to_read};

/// Role of a pod; it names the objects of that role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Commits.
    Writer,
    /// Follows.
    Replica,
}

impl Role {
    /// `writer` or `replica`: the value of the label `slipstream.dev/role`, and the end of names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Replica => "replica",
        }
    }
}

/// How the operator itself was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Sidecar image of graphs that are new and do not choose one (`--sidecar-image`).
    pub sidecar_image: String,
    /// Namespace the operator runs in; its requests for status are let through network policies. None outside a cluster.
    pub namespace: Option<String>,
}

/// What must be known of the cluster to decide; everything here is only read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// How the operator was installed.
    pub installation: Arc<Installation>,
    /// The sidecar image in the resource's status: known even when the workloads are gone.
    pub image_before: Option<String>,
    /// ConfigMap `<graph>-config`.
    pub config_map: Option<Arc<ConfigMap>>,
    /// StatefulSet `<graph>-writer`.
    pub writer: Option<Arc<StatefulSet>>,
    /// Deployment `<graph>-replica`.
    pub replica: Option<Arc<Deployment>>,
    /// Claim [`data_claim_name`]: the StatefulSet controller makes it, the operator lets it grow.
    pub data_claim: Option<Arc<PersistentVolumeClaim>>,
    /// The claim's storage class; only needed where [`storage_class_to_read`] names one, none when it does not exist.
    pub storage_class: Option<Arc<StorageClass>>,
    /// Whether the cluster knows `PodMonitor`.
    pub pod_monitor_installed: bool,
}

impl Observed {
    /// A cluster in which nothing of the graph exists yet.
    pub fn nothing(installation: Arc<Installation>) -> Self {
        Self {
            installation,
            image_before: None,
            config_map: None,
            writer: None,
            replica: None,
            data_claim: None,
            storage_class: None,
            pod_monitor_installed: false,
        }
    }
}

/// Every object of a graph; each carries its name, namespace, labels and the owner reference. Take it apart without
/// `..`, so that an object nobody applies does not compile. An object that is `None` must not exist.
#[derive(Clone, Debug)]
pub struct Objects {
    /// `<graph>-config`, the sidecars' config.
    pub config_map: ConfigMap,
    /// `<graph>-writer`.
    pub writer_service_account: ServiceAccount,
    /// `<graph>-replica`.
    pub replica_service_account: ServiceAccount,
    /// `<graph>-writer-headless`, for the StatefulSet's stable names.
    pub writer_headless_service: Service,
    /// `<graph>-writer`, where clients write.
    pub writer_service: Service,
    /// `<graph>-read`, where clients read: replicas only.
    pub read_service: Service,
    /// `<graph>-replica`; applied before the writer's, because replicas roll first.
    pub replica_deployment: Deployment,
    /// `<graph>-writer`; while `writer_waits`, it still has the pod template that was observed.
    pub writer_stateful_set: StatefulSet,
    /// `<graph>-writer`.
    pub writer_disruption_budget: PodDisruptionBudget,
    /// `<graph>-replica`.
    pub replica_disruption_budget: PodDisruptionBudget,
    /// `<graph>`, only when the resource asks for it.
    pub network_policy: Option<NetworkPolicy>,
    /// `<graph>`, a `PodMonitor` ([`pod_monitor_resource`]); only when that kind is installed.
    pub pod_monitor: Option<DynamicObject>,
    /// What to do about the size of the writer's volume.
    pub volume_growth: VolumeGrowth,
    /// Whether a new pod template of the writer is held back until the replicas have rolled.
    pub writer_waits: bool,
    /// The sidecar image in use: for status and messages.
    pub sidecar_image: String,
}

/// Decides every object of a graph. Equal input gives equal output, to the byte.
pub fn desired(graph: &Validated, observed: &Observed) -> Objects {
    let image = image::sidecar_image(graph, observed);
    let started_with = start_config::StartedWith::of(graph, observed);
    let template = |role| pod::template(graph, role, &image, started_with.changed(graph, role));
    let (replica_template, writer_template) = (template(Role::Replica), template(Role::Writer));
    let writer_waits = rollout::writer_waits(observed, &writer_template, &replica_template);
    Objects {
        config_map: config_map::config_map(graph, &started_with),
        writer_service_account: service_accounts::service_account(graph, Role::Writer),
        replica_service_account: service_accounts::service_account(graph, Role::Replica),
        writer_headless_service: services::writer_headless(graph),
        writer_service: services::writer(graph),
        read_service: services::read(graph),
        replica_deployment: replica_deployment::replica_deployment(graph, replica_template, &image),
        writer_stateful_set: writer_stateful_set::writer_stateful_set(
            graph,
            observed,
            writer_template,
            &image,
            writer_waits,
        ),
        writer_disruption_budget: disruption_budgets::disruption_budget(graph, Role::Writer),
        replica_disruption_budget: disruption_budgets::disruption_budget(graph, Role::Replica),
        network_policy: network_policy::network_policy(graph, &observed.installation),
        pod_monitor: pod_monitor::pod_monitor(graph, observed.pod_monitor_installed),
        volume_growth: volume_growth::volume_growth(graph, observed),
        writer_waits,
        sidecar_image: image,
    }
}
