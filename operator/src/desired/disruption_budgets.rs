//! PodDisruptionBudgets `<graph>-writer` and `<graph>-replica`: a node drain takes one pod of a role at a time.
//!
//! The writer's budget allows its one pod to go: forbidding it would block every drain until a person steps in, while a
//! writer is back after one restart. Pods that are not ready never block a drain.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    Role,
    labels::{role_object, role_selector},
};
use crate::validate::Validated;

pub(super) fn disruption_budget(graph: &Validated, role: Role) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: role_object(graph, role),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(role_selector(graph, role)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
