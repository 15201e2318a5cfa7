//! ConfigMap `<graph>-config`: the sidecars' config, which they read again when it changes.
//!
//! Pods mount the whole map, without a hash of it in their template: an edit reaches them without a restart.

use k8s_openapi::api::core::v1::ConfigMap;

use super::labels::{graph_object, owned};
use crate::validate::Validated;

/// Key of the config, and name of its file in a pod.
pub(super) const CONFIG_KEY: &str = "config.yaml";

pub(super) fn config_map_name(graph: &Validated) -> String {
    format!("{}-config", graph.name())
}

pub(super) fn config_map(graph: &Validated) -> ConfigMap {
    ConfigMap {
        metadata: graph_object(graph, config_map_name(graph)),
        data: Some(owned([(CONFIG_KEY, graph.config_yaml())])),
        ..ConfigMap::default()
    }
}
