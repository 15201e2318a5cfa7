//! The order in which a new pod template reaches the pods: replicas first, the writer last.
//!
//! ```text
//! new template ─▶ Deployment rolls (one pod more at a time, none less) ─▶ all of it ready ─▶ StatefulSet gets its template
//!                 meanwhile the StatefulSet keeps the template that was observed
//! ```
//! So a template that does not work stops at the first replica, and the writer goes on. A writer that is not ready has
//! nothing to lose and does not wait: a mended template must reach it even when replicas cannot become ready without it.
//! Owns: whether the writer waits. Does not own: how the workloads roll by themselves.

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use sha2::{Digest, Sha256};

use super::{Observed, labels::TEMPLATE_ANNOTATION};

/// A short hash of a template: equal for equal templates, whatever the API server adds to them later.
pub(super) fn template_hash(template: &PodTemplateSpec) -> String {
    // Maps are ordered and struct fields have a fixed order, so the text is the same in every process.
    let text = serde_json::to_string(template).unwrap_or_default();
    hex::encode(&Sha256::digest(text)[..8])
}

/// Whether the writer must keep its observed template for now.
pub(super) fn writer_waits(observed: &Observed, writer: &PodTemplateSpec, replica: &PodTemplateSpec) -> bool {
    let Some(stateful_set) = &observed.writer else {
        return false;
    };
    if applied_hash(&stateful_set.metadata) == Some(template_hash(writer).as_str()) {
        return false;
    }
    let writer_is_ready = stateful_set
        .status
        .as_ref()
        .is_some_and(|status| status.ready_replicas.unwrap_or_default() > 0);
    let replicas_have_rolled = observed.replica.as_ref().is_some_and(|deployment| {
        applied_hash(&deployment.metadata) == Some(template_hash(replica).as_str())
            && rollout_is_done(deployment)
    });
    writer_is_ready && !replicas_have_rolled
}

/// Whether every pod that a Deployment asks for has its present template and is available, and no other pod is left.
pub fn rollout_is_done(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else {
        return false;
    };
    let wanted = deployment.spec.replicas.unwrap_or(1);
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or_default() == wanted
        && status.replicas.unwrap_or_default() == wanted
        && status.available_replicas.unwrap_or_default() == wanted
}

fn applied_hash(metadata: &ObjectMeta) -> Option<&str> {
    let annotations = metadata.annotations.as_ref()?;
    annotations.get(TEMPLATE_ANNOTATION).map(String::as_str)
}
