//! One operator leads: the Lease `slipstream-operator`, held by compare-and-swap (`kube-lease-manager`).
//!
//! ```text
//! candidate ── lease free or expired ──> leader ── renewed every 8 s ──> leader
//!                                          ├─ lease held by another, or not renewable until it expires ──> Lost: the process ends
//!                                          └─ SIGTERM ──> release: the next candidate need not wait
//! ```
//! Guarantees: a dead leader is followed within 20 s (12 s until the lease expires, and the candidates' look at it); a leader
//! that cannot reach the API server stops before its lease runs out.
//! Owns: the lease's figures. Does not own: what leading means (`controller`).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError, LeaseParams};
use metrics::gauge;
use tokio::time::{Instant, sleep, timeout};

/// Name of the Lease.
pub const LEASE: &str = "slipstream-operator";

/// How long the lease is valid after a renewal.
const DURATION_S: u64 = 12;
/// The lease is renewed this long before it ends.
const GRACE_S: u64 = 4;
/// Between two tries after an error.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the leader makes sure that the lease is still its own, and a candidate whether it is free.
const LOOK: Duration = Duration::from_secs(2);
/// Longest of those looks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Why this process cannot take part in the election.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the Lease {LEASE} in namespace {namespace}: {source}")]
pub struct LeaderError {
    namespace: String,
    #[source]
    source: LeaseManagerError,
}

/// A place in the election.
pub struct Candidate {
    manager: LeaseManager,
    client: Client,
    namespace: String,
    identity: String,
}

impl Candidate {
    /// Makes the Lease if there is none. `identity` must be unique among the candidates.
    ///
    /// # Errors
    /// When the Lease can neither be read nor made.
    pub async fn new(client: Client, namespace: &str, identity: &str) -> Result<Self, LeaderError> {
        gauge!("slipstream_operator_leader").set(0.0);
        Ok(Self {
            manager: manager(&client, namespace, identity).await?,
            client,
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
        })
    }

    /// Waits until this process leads; goes on through every error.
    pub async fn lead(&mut self) {
        tracing::info!(identity = self.identity, "candidate");
        loop {
            match timeout(LOOK, self.manager.changed()).await {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the lease cannot be read or taken"
                    );
                    sleep(PAUSE).await;
                }
                // The manager sleeps until the lease expires; a new one sees at once that it was released.
                Err(_) => match manager(&self.client, &self.namespace, &self.identity).await {
                    Ok(manager) => self.manager = manager,
                    Err(error) => tracing::warn!(%error, "no look at the lease"),
                },
            }
        }
        gauge!("slipstream_operator_leader").set(1.0);
        tracing::info!(identity = self.identity, "leader");
    }

    /// Keeps the lease; ends when it is lost, with why.
    pub async fn lost(&self) -> String {
        let why = tokio::select! {
            why = self.renew() => why,
            why = self.watch_over() => why,
        };
        gauge!("slipstream_operator_leader").set(0.0);
        why
    }

    async fn renew(&self) -> String {
        loop {
            match self.manager.changed().await {
                Ok(true) => {}
                Ok(false) => return "another process holds the lease".to_owned(),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the lease cannot be renewed"
                    );
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Ends when the lease may have run out, whatever the renewing hangs on.
    async fn watch_over(&self) -> String {
        let leases = Api::<Lease>::namespaced(self.client.clone(), &self.namespace);
        let mut valid_until = Instant::now() + Duration::from_secs(DURATION_S);
        loop {
            sleep(LOOK).await;
            if let Ok(Ok(lease)) = timeout(REQUEST_TIMEOUT, leases.get(LEASE)).await {
                let Some(left) = time_left(&lease, &self.identity, Timestamp::now()) else {
                    return "the lease ran out or is held by another process".to_owned();
                };
                valid_until = Instant::now() + left;
            }
            if Instant::now() + REQUEST_TIMEOUT > valid_until {
                return "the lease could not be renewed in time".to_owned();
            }
        }
    }

    /// Gives the lease up, so that another takes over at once. Bounded in time.
    pub async fn release(&self) {
        gauge!("slipstream_operator_leader").set(0.0);
        match timeout(Duration::from_secs(5), self.manager.release()).await {
            Ok(Ok(())) => tracing::info!("lease released"),
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the lease was not released"
            ),
            Err(_) => tracing::warn!("the lease was not released in time"),
        }
    }
}

async fn manager(client: &Client, namespace: &str, identity: &str) -> Result<LeaseManager, LeaderError> {
    LeaseManagerBuilder::new(client.clone(), LEASE)
        .with_namespace(namespace)
        .with_parameters(LeaseParams::new(identity, DURATION_S, GRACE_S))
        .build()
        .await
        .map_err(|source| LeaderError {
            namespace: namespace.to_owned(),
            source,
        })
}

/// How long the lease is still `identity`'s; none when it is not.
fn time_left(lease: &Lease, identity: &str, now: Timestamp) -> Option<Duration> {
    let spec = lease.spec.as_ref()?;
    if spec.holder_identity.as_deref() != Some(identity) {
        return None;
    }
    let age = Duration::try_from(now.duration_since(spec.renew_time.as_ref()?.0)).unwrap_or_default();
    let duration = Duration::from_secs(u64::try_from(spec.lease_duration_seconds?).ok()?);
    duration.checked_sub(age).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lease_is_its_holders_until_it_expires() {
        let lease: Lease = serde_json::from_value(json!({
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 12, "renewTime": "2026-01-01T00:00:00.000000Z"}
        }))
        .unwrap();
        let left = |identity: &str, now: &str| time_left(&lease, identity, now.parse().unwrap());
        assert_eq!(left("a", "2026-01-01T00:00:11Z"), Some(Duration::from_secs(1)));
        assert_eq!(
            left("a", "2025-12-31T23:59:59Z"),
            Some(Duration::from_secs(12)),
            "clocks differ"
        );
        assert_eq!(left("a", "2026-01-01T00:00:12Z"), None);
        assert_eq!(left("b", "2026-01-01T00:00:01Z"), None);
        assert_eq!(time_left(&Lease::default(), "a", Timestamp::UNIX_EPOCH), None);
    }
}
