//! What is decided, for graphs of two extremes and for changes between them.

mod cleaning;
mod decisions;
mod merging;
mod objects;
mod resizing;
mod restarting;

use std::sync::Arc;

use crds::ReplicatedGraphDB;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus, StatefulSet, StatefulSetStatus},
    core::v1::{Container, PodSpec},
};

use super::{Installation, Objects, Observed, SIDECAR_CONTAINER};
use crate::validate::{Validated, validate};

const MINIMAL: &str = include_str!("minimal.yaml");
const FULL: &str = include_str!("full.yaml");
const IMAGE: &str = "registry.example/slipstream:operator-default";

fn graph(yaml: &str) -> Validated {
    let resource = ReplicatedGraphDB::from_yaml(yaml).unwrap_or_else(|error| panic!("{error}"));
    validate(&resource).unwrap_or_else(|error| panic!("{error}"))
}

/// The graph of `yaml` with one text replaced.
fn changed(yaml: &str, from: &str, to: &str) -> Validated {
    assert!(yaml.contains(from), "the example has no `{from}`");
    graph(&yaml.replacen(from, to, 1))
}

/// A graph with this spec besides its storage, in YAML's flow form.
fn with_spec(fields: &str) -> Validated {
    graph(&format!("{MINIMAL}{fields}\n"))
}

fn empty_cluster() -> Observed {
    cluster_of(IMAGE)
}

/// An empty cluster, and an operator that was installed with this sidecar image.
fn cluster_of(image: &str) -> Observed {
    Observed::nothing(Arc::new(Installation {
        sidecar_image: image.to_owned(),
        namespace: Some("slipstream-system".to_owned()),
    }))
}

/// The cluster after `objects` were applied, and every pod became ready; the operator has `image` by now.
fn settled(objects: &Objects, image: &str) -> Observed {
    let mut observed = cluster_of(image);
    observed.writer = Some(Arc::new(ready_writer(objects.writer_stateful_set.clone())));
    observed.replica = Some(Arc::new(rolled(objects.replica_deployment.clone())));
    observed.config_map = Some(Arc::new(objects.config_map.clone()));
    observed
}

fn ready_writer(mut workload: StatefulSet) -> StatefulSet {
    workload.status = Some(StatefulSetStatus {
        replicas: 1,
        ready_replicas: Some(1),
        ..StatefulSetStatus::default()
    });
    workload
}

fn rolled(mut workload: Deployment) -> Deployment {
    workload.metadata.generation = Some(4);
    workload.status = Some(DeploymentStatus {
        observed_generation: Some(4),
        replicas: workload.spec.replicas,
        updated_replicas: workload.spec.replicas,
        available_replicas: workload.spec.replicas,
        ..DeploymentStatus::default()
    });
    workload
}

fn writer_pod(objects: &Objects) -> &PodSpec {
    objects
        .writer_stateful_set
        .spec
        .template
        .spec
        .as_ref()
        .expect("a pod")
}

fn replica_pod(objects: &Objects) -> &PodSpec {
    objects
        .replica_deployment
        .spec
        .template
        .spec
        .as_ref()
        .expect("a pod")
}

/// The sidecar's container, in whichever list it is.
fn sidecar(pod: &PodSpec) -> &Container {
    pod.containers
        .iter()
        .chain(pod.init_containers.iter().flatten())
        .find(|container| container.name == SIDECAR_CONTAINER)
        .expect("a sidecar")
}

fn image_of(pod: &PodSpec) -> &str {
    sidecar(pod).image.as_deref().unwrap_or_default()
}
