//! ConfigMap `<graph>-config`: the sidecars' config, which they read again when it changes.
//!
//! Pods mount the whole map, without a hash of it in their template: an edit reaches them without a restart, as far as a
//! running sidecar takes it up (`start_config` has the rest).

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::labels::{graph_object, owned};
use super::start_config::StartedWith;
use crate::validate::Validated;

/// Key of the config, and name of its file in a pod.
pub(super) const CONFIG_KEY: &str = "config.yaml";

/// Name of a graph's ConfigMap.
pub fn config_map_name(graph: &str) -> String {
    format!("{graph}-config")
}

pub(super) fn config_map(graph: &Validated, started_with: &StartedWith) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            annotations: Some(started_with.annotations()),
            ..graph_object(graph, config_map_name(graph.name()))
        },
        data: Some(owned([(CONFIG_KEY, graph.config_yaml())])),
        ..ConfigMap::default()
    }
}
