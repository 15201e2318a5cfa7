//! The check of a user's pod template: what would break the graph, or would be lost without a word.
//!
//! Owns: the rules that the merge with Slipstream's own template relies on. Does not own: the merge (operator), and what
//! the API server checks of any pod template.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};

use crate::field_error::SchemaErrors;

/// Slipstream's own container in a pod.
pub const SIDECAR_CONTAINER: &str = "sidecar";
/// The volume of the writer's Kuzu.
const DATA_VOLUME: &str = "data";
/// Labels by which Services, workloads and the operator find pods: all with this prefix, and `managed-by`.
const LABEL_PREFIX: &str = "slipstream.dev/";
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// `volume_is_claimed`: whether the data volume comes from a claim, which a volume of the pod cannot replace.
pub(crate) fn check(
    errors: &mut SchemaErrors,
    path: &str,
    template: Option<&PodTemplateSpec>,
    volume_is_claimed: bool,
) {
    let Some(template) = template else { return };
    let labels = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.as_ref());
    for key in labels.into_iter().flat_map(|labels| labels.keys()) {
        if key.starts_with(LABEL_PREFIX) || key == MANAGED_BY_LABEL {
            errors.push(
                format!("{path}.metadata.labels[{key}]"),
                "belongs to the operator, which finds pods by it; choose another label",
            );
        }
    }
    let Some(spec) = &template.spec else { return };
    let path = format!("{path}.spec");
    check_containers(errors, &path, spec);
    if let Some(policy) = &spec.restart_policy
        && policy != "Always"
    {
        errors.push(
            format!("{path}.restartPolicy"),
            format!("found `{policy}`, expected `Always`: pods of a graph run until they are removed"),
        );
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        if volume_is_claimed && volume.name == DATA_VOLUME {
            errors.push(
                format!("{path}.volumes[{index}].name"),
                "`data` is the writer's volume claim; see spec.writer.storage, or choose another name",
            );
        }
    }
}

fn check_containers(errors: &mut SchemaErrors, path: &str, spec: &PodSpec) {
    let mut names = BTreeSet::new();
    let none = Vec::new();
    let init_containers = spec.init_containers.as_ref().unwrap_or(&none);
    for (list, containers) in [
        ("initContainers", init_containers),
        ("containers", &spec.containers),
    ] {
        for (index, container) in containers.iter().enumerate() {
            let field = format!("{path}.{list}[{index}]");
            if !names.insert(&container.name) {
                errors.push(
                    format!("{field}.name"),
                    format!("`{}` is the name of another container too", container.name),
                );
            }
            check_image(errors, &field, container);
        }
    }
}

/// Only the sidecar has an image already; any other container without one is mostly a misspelt name.
fn check_image(errors: &mut SchemaErrors, field: &str, container: &Container) {
    let name = &container.name;
    let has_image = container.image.as_ref().is_some_and(|image| !image.is_empty());
    if !has_image && name != SIDECAR_CONTAINER {
        errors.push(
            format!("{field}.image"),
            format!("container `{name}` has no image; Slipstream's own container is `{SIDECAR_CONTAINER}`"),
        );
    }
}
