//! Deployment `<graph>-replica`: any number of pods that follow, also none.
//!
//! `spec.replicas` of the resource is the one place for the number; scaling the Deployment itself is undone. A new pod
//! template surges: one pod more at a time, and none goes before its successor is ready, which means caught up.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    Role,
    labels::{IMAGE_ANNOTATION, TEMPLATE_ANNOTATION, owned, role_object, role_selector},
    rollout::template_hash,
};
use crate::validate::Validated;

/// Catching up may take long; an hour without one more pod ready is a reason to look.
const PROGRESS_DEADLINE_SECONDS: i32 = 3600;
/// Old ReplicaSets are only of use to a person who compares.
pub(super) const REVISIONS: i32 = 3;

pub(super) fn replica_deployment(graph: &Validated, template: PodTemplateSpec, image: &str) -> Deployment {
    Deployment {
        metadata: ObjectMeta {
            annotations: Some(owned([
                (IMAGE_ANNOTATION, image),
                (TEMPLATE_ANNOTATION, &template_hash(&template)),
            ])),
            ..role_object(graph, Role::Replica)
        },
        spec: DeploymentSpec {
            // At most 1000, so it fits.
            replicas: i32::try_from(graph.spec().replicas).ok(),
            selector: role_selector(graph, Role::Replica),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            revision_history_limit: Some(REVISIONS),
            template,
            ..DeploymentSpec::default()
        },
        status: None,
    }
}
