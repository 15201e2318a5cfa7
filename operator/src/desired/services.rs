//! Services: where clients write, where they read, and the writer's stable name.
//!
//! Clients use port 80; pods listen on 8080. Only ready pods get requests, and a replica is ready only
//! while its lag is within `spec.readiness`.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    Role,
    labels::{graph_object, role_labels, role_object, selector_labels},
    pod::{HTTP_PORT, HTTP_PORT_NAME},
};
use crate::validate::Validated;

/// Port of the Services for clients.
const CLIENT_PORT: i32 = 80;

/// `<graph>-writer`: transactions, bulk loads, and reads of one's own writes.
pub(super) fn writer(graph: &Validated) -> Service {
    service(
        role_object(graph, Role::Writer),
        ServiceSpec {
            selector: Some(selector_labels(graph, Role::Writer)),
            ports: Some(vec![port(CLIENT_PORT)]),
            ..ServiceSpec::default()
        },
    )
}

/// `<graph>-read`: replicas only, so that reading never competes with writing.
pub(super) fn read(graph: &Validated) -> Service {
    service(
        of_role(graph, Role::Replica, "read"),
        ServiceSpec {
            selector: Some(selector_labels(graph, Role::Replica)),
            ports: Some(vec![port(CLIENT_PORT)]),
            ..ServiceSpec::default()
        },
    )
}

pub(super) fn writer_headless_name(graph: &Validated) -> String {
    format!("{}-writer-headless", graph.name())
}

/// `<graph>-writer-headless`: gives the pod `<graph>-writer-0` a DNS name, also while it is not ready.
pub(super) fn writer_headless(graph: &Validated) -> Service {
    service(
        of_role(graph, Role::Writer, "writer-headless"),
        ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(selector_labels(graph, Role::Writer)),
            ports: Some(vec![port(HTTP_PORT)]),
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        },
    )
}

fn of_role(graph: &Validated, role: Role, suffix: &str) -> ObjectMeta {
    ObjectMeta {
        labels: Some(role_labels(graph, role)),
        ..graph_object(graph, format!("{}-{suffix}", graph.name()))
    }
}

fn service(metadata: ObjectMeta, spec: ServiceSpec) -> Service {
    Service {
        metadata,
        spec: Some(spec),
        status: None,
    }
}

fn port(port: i32) -> ServicePort {
    ServicePort {
        name: Some(HTTP_PORT_NAME.to_owned()),
        port,
        // Given although it is the default: server-side apply tells the entries of this list apart by it.
        protocol: Some("TCP".to_owned()),
        // By number: a user's container beside the sidecar may have a port of the same name, and would be found first.
        target_port: Some(IntOrString::Int(HTTP_PORT)),
        ..ServicePort::default()
    }
}
