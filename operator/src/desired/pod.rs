//! The pod of both roles: one container `sidecar`, and what it needs.
//!
//! Flow: the pod as Slipstream needs it → the user's `podTemplate` laid over it (`overlay`) → the workload's template.
//! Owns: the container, its probes, where pods go. Does not own: volumes and variables (`pod_inputs`), the image (`image`),
//! how a template is laid over, and when a new template reaches the pods (`rollout`).
//!
//! Nothing here may depend on the operator's version or on the config's content: a difference restarts pods. The config
//! is mounted whole, so that an edit arrives in running pods. The one exception is what a sidecar reads only when it starts, once
//! that has changed (`start_config`).

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec, PodTemplateSpec,
        Probe, SleepAction, TopologySpreadConstraint,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    Role,
    config_map::CONFIG_KEY,
    labels::{owned, role_labels, role_name, role_selector},
    overlay,
    pod_inputs::{CONFIG_DIRECTORY, DATA_DIRECTORY, environment, mounts, volumes},
    pod_security::{container_security, pod_security},
    start_config::START_CONFIG_ANNOTATION,
};
use crate::validate::Validated;

/// Name of Slipstream's container in a pod.
pub use crds::SIDECAR_CONTAINER;

/// Port of the sidecar's HTTP interface.
pub const HTTP_PORT: i32 = 8080;
pub(super) const HTTP_PORT_NAME: &str = "http";
/// Far more than endpoints take to reach every node.
const DRAIN_SECONDS: i64 = 5;
/// Enough for a writer to finish the commit at hand and to answer its clients.
const TERMINATION_SECONDS: i64 = 60;

/// The pod template of a role. `start_config` says what it starts with, where that has changed since the graph was made.
pub(super) fn template(
    graph: &Validated,
    role: Role,
    image: &str,
    start_config: Option<String>,
) -> PodTemplateSpec {
    let overlay = match role {
        Role::Writer => &graph.spec().writer.pod_template,
        Role::Replica => &graph.spec().replica.pod_template,
    };
    let mut own = own_template(graph, role, image);
    if let (Some(hash), Some(metadata)) = (start_config, &mut own.metadata) {
        metadata.annotations = Some(owned([(START_CONFIG_ANNOTATION, &hash)]));
    }
    overlay::lay_over(own, overlay.as_ref())
}

fn own_template(graph: &Validated, role: Role, image: &str) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(role_labels(graph, role)),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(role_name(graph, role)),
            automount_service_account_token: Some(false),
            // Variables for every Service of the namespace would only be noise, and limit its size.
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: Some(TERMINATION_SECONDS),
            topology_spread_constraints: Some(vec![
                spread(graph, role, "kubernetes.io/hostname"),
                spread(graph, role, "topology.kubernetes.io/zone"),
            ]),
            containers: vec![sidecar(graph, role, image)],
            volumes: Some(volumes(graph, role)),
            ..PodSpec::default()
        }),
    }
}

fn sidecar(graph: &Validated, role: Role, image: &str) -> Container {
    let resources = match role {
        Role::Writer => &graph.spec().writer.resources,
        Role::Replica => &graph.spec().replica.resources,
    };
    Container {
        name: SIDECAR_CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["slipstream".to_owned()]),
        args: Some(arguments(role)),
        env: Some(environment(graph)),
        ports: Some(vec![ContainerPort {
            name: Some(HTTP_PORT_NAME.to_owned()),
            container_port: HTTP_PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources.clone()),
        security_context: Some(container_security()),
        // A first build reads all tables: half an hour to answer at all, then liveness takes over.
        startup_probe: Some(probe("/healthz", 2, 900)),
        // A minute without an answer; a pod that answers but lags is not restarted, it is not ready.
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        lifecycle: lifecycle(role),
        volume_mounts: Some(mounts(graph)),
        ..Container::default()
    }
}

fn arguments(role: Role) -> Vec<String> {
    let name = match role {
        Role::Writer => "--holder=$(POD_NAME)",
        Role::Replica => "--id=$(POD_NAME)",
    };
    vec![
        role.as_str().to_owned(),
        format!("--config={CONFIG_DIRECTORY}/{CONFIG_KEY}"),
        format!("--data-dir={DATA_DIRECTORY}"),
        format!("--listen=0.0.0.0:{HTTP_PORT}"),
        name.to_owned(),
    ]
}

/// A probe that counts as failed after `period` times `failures` seconds.
pub(super) fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(HTTP_PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// A replica goes on answering until every node knows that it is no longer an endpoint of the read Service; a writer
/// stops at once, so that its successor starts the sooner.
fn lifecycle(role: Role) -> Option<Lifecycle> {
    (role == Role::Replica).then(|| Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction {
                seconds: DRAIN_SECONDS,
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    })
}

/// Spreads the pods of a role, where that is possible; a pod never waits for it.
fn spread(graph: &Validated, role: Role, topology_key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(role_selector(graph, role)),
        ..TopologySpreadConstraint::default()
    }
}
