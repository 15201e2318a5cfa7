//! Names and labels that tie a graph's objects together.
//!
//! Owns: label keys, selectors, and the metadata every object starts from. Does not own: names of single objects beyond
//! `<graph>-<suffix>`; each object's file has its suffix.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::Role;
use crate::validate::Validated;

/// Label of every object and pod of a graph; its value is the graph's name.
pub const GRAPH_LABEL: &str = "slipstream.dev/graph";
/// Label of pods, and of objects that belong to one role: `writer` or `replica`.
pub const ROLE_LABEL: &str = "slipstream.dev/role";
/// Label by which the operator watches only what it made.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "slipstream-operator";
/// Annotation of StatefulSet and Deployment (never of pods): the sidecar image decided for the graph.
pub const IMAGE_ANNOTATION: &str = "slipstream.dev/sidecar-image";
/// Annotation of StatefulSet and Deployment (never of pods): the hash of the pod template as it was applied. It answers
/// "is this template rolled out?" without comparing with what the API server filled in.
pub const TEMPLATE_ANNOTATION: &str = "slipstream.dev/template-hash";

pub(super) type Labels = BTreeMap<String, String>;

/// Labels of every object of the graph.
pub(super) fn graph_labels(graph: &Validated) -> Labels {
    owned([
        ("app.kubernetes.io/name", "slipstream"),
        ("app.kubernetes.io/instance", graph.name()),
        (MANAGED_BY_LABEL, MANAGED_BY),
        (GRAPH_LABEL, graph.name()),
    ])
}

/// Labels of pods and objects of one role.
pub(super) fn role_labels(graph: &Validated, role: Role) -> Labels {
    let mut labels = graph_labels(graph);
    labels.insert(ROLE_LABEL.to_owned(), role.as_str().to_owned());
    labels
}

/// The labels that select the pods of one role; immutable in a workload, so never add to them.
pub(super) fn selector_labels(graph: &Validated, role: Role) -> Labels {
    owned([(GRAPH_LABEL, graph.name()), (ROLE_LABEL, role.as_str())])
}

/// Selects the pods of one role.
pub(super) fn role_selector(graph: &Validated, role: Role) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector_labels(graph, role)),
        match_expressions: None,
    }
}

/// Selects writer and replica pods.
pub(super) fn graph_selector(graph: &Validated) -> LabelSelector {
    LabelSelector {
        match_labels: Some(owned([(GRAPH_LABEL, graph.name())])),
        match_expressions: None,
    }
}

/// The pods of one role of a graph, as a selector in text form.
pub fn role_selector_text(graph: &str, role: Role) -> String {
    format!("{GRAPH_LABEL}={graph},{ROLE_LABEL}={}", role.as_str())
}

/// `status.selector`: replica pods only, so that scale and autoscalers never count the writer.
pub fn replica_selector_text(graph: &str) -> String {
    role_selector_text(graph, Role::Replica)
}

/// Metadata of an object of the graph as a whole.
pub(super) fn graph_object(graph: &Validated, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(graph.namespace().to_owned()),
        labels: Some(graph_labels(graph)),
        owner_references: Some(vec![graph.owner().clone()]),
        ..ObjectMeta::default()
    }
}

/// Metadata of an object of one role, named `<graph>-<role>`.
pub(super) fn role_object(graph: &Validated, role: Role) -> ObjectMeta {
    ObjectMeta {
        labels: Some(role_labels(graph, role)),
        ..graph_object(graph, role_name(graph, role))
    }
}

/// `<graph>-writer` or `<graph>-replica`.
pub(super) fn role_name(graph: &Validated, role: Role) -> String {
    format!("{}-{}", graph.name(), role.as_str())
}

pub(super) fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
