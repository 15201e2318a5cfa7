//! ServiceAccounts `<graph>-writer` and `<graph>-replica`.
//!
//! They give each role an identity of its own: for a cloud's workload identity (annotate the account; the operator
//! leaves foreign annotations alone) and for admission policies. They come without a Role on purpose: a sidecar never
//! talks to the API server, so the least privilege is none, and no token is mounted that could be used.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Role, labels::role_object};
use crate::validate::Validated;

pub(super) fn service_account(graph: &Validated, role: Role) -> ServiceAccount {
    ServiceAccount {
        metadata: role_object(graph, role),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
