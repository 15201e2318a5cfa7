//! PodMonitor `<graph>`: Prometheus scrapes `/metrics` of every pod of the graph.
//!
//! The kind belongs to the Prometheus operator; without its CRD there is nothing to make.

use kube::{
    api::{ApiResource, GroupVersionKind},
    core::DynamicObject,
};
use serde_json::json;

use super::{
    labels::{GRAPH_LABEL, ROLE_LABEL, graph_object, graph_selector},
    pod::{HTTP_PORT_NAME, SIDECAR_CONTAINER},
};
use crate::validate::Validated;

/// `monitoring.coreos.com/v1`, kind `PodMonitor`: what a client needs to apply or find one.
pub fn pod_monitor_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor"),
        "podmonitors",
    )
}

pub(super) fn pod_monitor(graph: &Validated, installed: bool) -> Option<DynamicObject> {
    if !installed {
        return None;
    }
    let mut object = DynamicObject::new(graph.name(), &pod_monitor_resource());
    object.metadata = graph_object(graph, graph.name().to_owned());
    object.data = json!({
        "spec": {
            "selector": graph_selector(graph),
            "podTargetLabels": [GRAPH_LABEL, ROLE_LABEL],
            "podMetricsEndpoints": [{
                "port": HTTP_PORT_NAME,
                "path": "/metrics",
                // A user's container beside the sidecar may have a port of the same name.
                "relabelings": [{
                    "sourceLabels": ["__meta_kubernetes_pod_container_name"],
                    "action": "keep",
                    "regex": SIDECAR_CONTAINER,
                }],
            }],
        }
    });
    Some(object)
}
