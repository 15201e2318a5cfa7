//! NetworkPolicy `<graph>`, opt-in: who may reach the graph's pods.
//!
//! Without `allowFrom`, that is every pod of the namespace. The operator is let in always, or status would be blind.
//! What pods may reach is not limited: object storage, NATS and DNS are rarely known by address.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{
    Installation,
    labels::{graph_object, graph_selector, owned},
    pod::HTTP_PORT,
};
use crate::validate::Validated;

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
                ports: Some(vec![NetworkPolicyPort {
                    port: Some(IntOrString::Int(HTTP_PORT)),
                    protocol: Some("TCP".to_owned()),
                    end_port: None,
                }]),
            }]),
            egress: None,
        }),
    })
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
