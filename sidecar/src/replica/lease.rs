//! A replica's lease: `replicas/<id>.json` tells the writer's cleaner which Lance versions are still read.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::commit_log::{Position, VersionMap};
use crate::graph::Watermark;
use crate::store::{Key, Store, StoreError};

/// The content of `replicas/<replica-id>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    pub replica: String,
    pub watermark: Position,
    /// Versions that must not be cleaned while the lease holds.
    pub tables: VersionMap,
    pub expires_at: DateTime<Utc>,
}

/// Renews one replica's lease.
pub struct LeaseKeeper {
    key: Key,
    replica: String,
    ttl: Duration,
    clock: Clock,
    written: Option<(Position, DateTime<Utc>)>,
}

/// While commits come in quickly the lease lags behind by this much: older pins than needed are safe.
const MIN_RENEWAL: Duration = Duration::from_secs(1);

impl LeaseKeeper {
    /// For the replica `id`, which must do as part of an object's name.
    pub fn new(id: &str, ttl: Duration, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self {
            key: Key::new(format!("replicas/{id}.json"))?,
            replica: id.to_owned(),
            ttl,
            clock,
            written: None,
        })
    }

    /// How soon a lease that is renewed now is due again.
    pub fn renew_within(&self) -> Duration {
        self.ttl / 3
    }

    /// Writes the lease if the watermark moved or a third of its time is over.
    pub async fn renew(&mut self, store: &dyn Store, watermark: &Watermark) -> Result<(), StoreError> {
        let now = self.clock.now();
        if let Some((position, at)) = self.written {
            let age = (now - at).to_std().unwrap_or(self.ttl);
            let due = age >= self.renew_within() || (position != watermark.position && age >= MIN_RENEWAL);
            if !due {
                return Ok(());
            }
        }
        let lease = Lease {
            replica: self.replica.clone(),
            watermark: watermark.position,
            tables: watermark.tables.clone(),
            expires_at: now + self.ttl,
        };
        let bytes = serde_json::to_vec(&lease).unwrap_or_default();
        fail::fail_point!("replica::before_lease");
        store.put(&self.key, Bytes::from(bytes)).await?;
        fail::fail_point!("replica::after_lease");
        self.written = Some((watermark.position, now));
        Ok(())
    }

    /// Gives the lease up: the replica leaves.
    pub async fn release(&self, store: &dyn Store) -> Result<(), StoreError> {
        fail::fail_point!("replica::before_release");
        store.delete(&self.key).await
    }
}
