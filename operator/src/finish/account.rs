//! The account that the cleanup Job's pod runs as, `<graph>-writer`, for as long as a deletion needs it.
//!
//! ```text
//! owned by the resource ─ deleted in the foreground, or missing ─> without an owner ─ the cleaning is over ─> owned again
//! ```
//! A deletion in the foreground removes what is owned before the finalizer goes, and a pod whose account is gone is refused.
//! Owned again, it goes with the resource: so no right to delete accounts is needed, and one that was given back to a resource that is
//! gone already is collected all the same. One that was not given back is taken over by the next graph of this name.
//! Owns: whose the account is. Does not own: its content (`desired`), whether it has to be kept (`finalize`).

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;

use crate::apply::apply_one;
use crate::controller::{Context, Subject};
use crate::desired::{cleanup_account, writer_account};
use crate::error::Error;
use crate::finalize::keeps_account;
use crate::observe::Seen;
use crate::validate::{Invalid, Validated};

/// Takes the account out of the garbage collector's reach, where it is not; does nothing where it stays anyway.
///
/// # Errors
/// As the API server answers, also when it refuses the account.
pub(super) async fn keep(
    context: &Context,
    subject: &Subject,
    seen: &Seen,
    resource: Result<&Validated, &Invalid>,
) -> Result<(), Error> {
    let known = context.writer_account(subject, seen);
    // Without a usable resource there is no Job either.
    let Ok(resource) = resource else { return Ok(()) };
    if !keeps_account(subject.graph.finalizers(), seen.writer_account.is_some()) {
        return Ok(());
    }
    let Some(account) = cleanup_account(resource, known.as_deref()) else {
        return Ok(());
    };
    match apply_one(&context.watched.service_accounts, &account, &context.writes).await {
        // Somebody's account has this name: the Job's pod can run as it.
        Err(Error::NotOurs(_)) => Ok(()),
        applied => applied,
    }
}

/// Gives an account without an owner back to the resource, with which it goes.
pub(super) async fn give_back(context: &Context, seen: &Seen, resource: Result<&Validated, &Invalid>) {
    let is_kept = |account: &ServiceAccount| account.owner_references().is_empty();
    let (true, Ok(resource)) = (seen.writer_account.as_deref().is_some_and(is_kept), resource) else {
        return;
    };
    let account = writer_account(resource);
    if let Err(error) = apply_one(&context.watched.service_accounts, &account, &context.writes).await {
        tracing::warn!(%error, "the account of the cleanup Job is left behind");
    }
}
