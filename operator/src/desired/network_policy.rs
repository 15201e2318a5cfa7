//! NetworkPolicy `<graph>`, opt-in: who may reach the graph's pods.
//!
//! Without `allowFrom`, that is every pod of the namespace. The operator is let in always, or status would be blind.
//! They reach the sidecar's port, and the ports that the user's own containers declare: those are served on purpose.
//! What pods may reach is not limited: object storage, NATS and DNS are rarely known by address.

use k8s_openapi::{
    api::{
        core::v1::PodTemplateSpec,
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{
    Installation,
    labels::{graph_object, graph_selector, owned},
    pod::HTTP_PORT,
};
use crate::validate::Validated;

/// The protocol of a port that names none.
const TCP: &str = "TCP";

pub(super) fn network_policy(graph: &Validated, installation: &Installation) -> Option<NetworkPolicy> {
    let asked = &graph.spec().network_policy;
    if !asked.enabled {
        return None;
    }
    let mut from = asked.allow_from.clone();
    if from.is_empty() {
        from.push(NetworkPolicyPeer {
            pod_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        });
    }
    from.extend(installation.namespace.as_deref().map(namespace));
    Some(NetworkPolicy {
        metadata: graph_object(graph, graph.name().to_owned()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(graph_selector(graph)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(from),
                ports: Some(ports(graph)),
            }]),
            egress: None,
        }),
    })
}

/// The sidecar's port, then those declared in `podTemplate`, in the order given. One list for both roles: a port that nobody
/// serves lets nobody in.
fn ports(graph: &Validated) -> Vec<NetworkPolicyPort> {
    let templates = [
        &graph.spec().writer.pod_template,
        &graph.spec().replica.pod_template,
    ];
    let mut ports = vec![port(HTTP_PORT, TCP)];
    for (number, protocol) in templates.into_iter().flatten().flat_map(declared) {
        let port = port(number, protocol);
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

/// Number and protocol of each port that a container of the template declares.
fn declared(template: &PodTemplateSpec) -> impl Iterator<Item = (i32, &str)> {
    let spec = template.spec.iter();
    let containers = spec.flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    });
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.map(|port| {
        let protocol = port.protocol.as_deref().filter(|protocol| !protocol.is_empty());
        (port.container_port, protocol.unwrap_or(TCP))
    })
}

fn port(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}

/// All pods of a namespace, by the label that every namespace has.
fn namespace(name: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(owned([("kubernetes.io/metadata.name", name)])),
            match_expressions: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}
