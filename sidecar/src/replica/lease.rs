//! A replica's lease: `replicas/<id>.json` tells the writer's cleaner which Lance versions are still read.

use std::pin::pin;
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
    /// More such versions: those that a long way to the next commit reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<VersionMap>,
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
        self.write(store, watermark, None).await
    }

    /// Does `work`, which brings the graph from `held` to `target`, and keeps the versions of both pinned, however long it
    /// takes. Work of a moment writes no lease: nothing is cleaned so young.
    pub async fn while_reading<T>(
        &mut self,
        store: &dyn Store,
        held: Option<&Watermark>,
        target: &Watermark,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        let mut wait = MIN_RENEWAL;
        loop {
            if let Ok(done) = tokio::time::timeout(wait, &mut work).await {
                return done;
            }
            let reading = held.map(|_| &target.tables);
            tokio::select! {
                done = &mut work => return done,
                written = self.write(store, held.unwrap_or(target), reading) => {
                    if let Err(error) = written {
                        tracing::warn!(%error, "failed to renew the lease of what is being read");
                    }
                }
            }
            wait = self.renew_within();
        }
    }

    async fn write(
        &mut self,
        store: &dyn Store,
        watermark: &Watermark,
        reading: Option<&VersionMap>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let lease = Lease {
            replica: self.replica.clone(),
            watermark: watermark.position,
            tables: watermark.tables.clone(),
            reading: reading.cloned(),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{Epoch, LanceVersion, Seq, TxId};

    fn at(seq: u64) -> Watermark {
        Watermark {
            position: Position {
                seq: Seq(seq),
                tx_id: TxId::after(TxId::default(), seq),
            },
            epoch: Epoch(1),
            timestamp: Utc::now(),
            schema_version: Seq(0),
            graph_schema: crds::GraphSchema {
                nodes: Vec::new(),
                edges: Vec::new(),
            },
            tables: VersionMap([("Item".to_owned(), LanceVersion(seq))].into()),
            manifests: Default::default(),
        }
    }

    async fn lease(store: &Arc<dyn Store>) -> Option<Lease> {
        let object = store.get(&Key::new("replicas/r1.json").unwrap()).await.unwrap()?;
        Some(serde_json::from_slice(&object.bytes).unwrap())
    }

    /// Work that goes on until its lease was renewed twice; what the lease was then.
    async fn long_work(store: &Arc<dyn Store>) -> Lease {
        let mut seen: Vec<Lease> = Vec::new();
        loop {
            if let Some(found) = lease(store).await
                && seen.last().is_none_or(|last| last.expires_at < found.expires_at)
            {
                seen.push(found);
            }
            if seen.len() == 3 {
                return seen.remove(2);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_a_long_way_reads_is_pinned_beside_what_is_held_until_it_is_done() {
        let store = crate::store::open(&format!("memory://lease-{}", uuid::Uuid::now_v7())).unwrap();
        let ttl = Duration::from_millis(300);
        let mut keeper = LeaseKeeper::new("r1", ttl, Clock::default()).unwrap();
        let (held, target) = (at(3), at(9));
        let work = long_work(&store);
        let during = keeper.while_reading(&*store, Some(&held), &target, work).await;
        assert_eq!((during.watermark, &during.tables), (held.position, &held.tables));
        assert_eq!(during.reading.as_ref(), Some(&target.tables));
        // There is nothing yet that could be held: the target itself is what is pinned.
        let work = async {
            let before = lease(&store).await;
            loop {
                match lease(&store).await {
                    found if found != before => return found,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let during = keeper.while_reading(&*store, None, &target, work).await.unwrap();
        assert_eq!((&during.tables, during.reading), (&target.tables, None));
    }

    #[tokio::test]
    async fn work_of_a_moment_writes_no_lease() {
        let store = crate::store::open(&format!("memory://lease-{}", uuid::Uuid::now_v7())).unwrap();
        let mut keeper = LeaseKeeper::new("r1", Duration::from_secs(60), Clock::default()).unwrap();
        let work = std::future::ready(7);
        assert_eq!(keeper.while_reading(&*store, None, &at(1), work).await, 7);
        assert_eq!(lease(&store).await, None);
    }
}
