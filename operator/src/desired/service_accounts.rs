//! ServiceAccounts `<graph>-writer` and `<graph>-replica`.
//!
//! They give each role an identity of its own: for a cloud's workload identity (annotate the account; the operator
//! leaves foreign annotations alone) and for admission policies. They come without a Role on purpose: a sidecar never
//! talks to the API server, so the least privilege is none, and no token is mounted that could be used (decision 0013).
//!
//! The cleanup Job runs as the writer's account, so that what a cloud grants to that name is granted to the Job.

use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    Role,
    labels::{role_name, role_object},
};
use crate::validate::Validated;

/// Annotations that are the operator's own; it writes them anew.
const OWN_ANNOTATIONS: &str = "slipstream.dev/";

pub(super) fn service_account(graph: &Validated, role: Role) -> ServiceAccount {
    ServiceAccount {
        metadata: role_object(graph, role),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// `<graph>-writer` as it is while the graph lives: it goes with the resource.
pub fn writer_account(graph: &Validated) -> ServiceAccount {
    service_account(graph, Role::Writer)
}

/// `<graph>-writer` for the cleanup Job: without an owner, so that a deletion in the foreground does not take it from the Job's pod.
/// What others gave to the account as it was last `known` (a cloud's annotations, pull secrets) is on it even if it has to be made
/// anew. None where `podTemplate` names another account, which is not the operator's.
pub fn cleanup_account(graph: &Validated, known: Option<&ServiceAccount>) -> Option<ServiceAccount> {
    let template = graph.spec().writer.pod_template.as_ref();
    let named = template.and_then(|template| template.spec.as_ref()?.service_account_name.as_deref());
    if named.is_some_and(|named| named != role_name(graph, Role::Writer)) {
        return None;
    }
    let own = writer_account(graph);
    let mut annotations = known
        .and_then(|known| known.metadata.annotations.clone())
        .unwrap_or_default();
    annotations.retain(|name, _| !name.starts_with(OWN_ANNOTATIONS));
    Some(ServiceAccount {
        metadata: ObjectMeta {
            owner_references: None,
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..own.metadata
        },
        image_pull_secrets: known.and_then(|known| known.image_pull_secrets.clone()),
        ..own
    })
}
