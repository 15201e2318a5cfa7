//! The duty to take snapshots: `duties/snapshot.json`, one replica at a time, changed only by compare-and-swap.
//!
//! It saves work; nothing rests on it. A holder that lost it without noticing still uploads a correct snapshot, into a directory
//! where its parts cannot replace another's, and it deletes nothing.
//!
//! Crash behaviour: a holder that died keeps the duty until it expires; one of the same name that starts anew has it at once.

use std::time::Duration;

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::clock::Clock;
use crate::store::{ETag, Key, Put, Store, StoreError};

const KEY: &str = "duties/snapshot.json";

/// The content of `duties/snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyLease {
    pub holder: String,
    pub expires_at: DateTime<Utc>,
}

/// The duty, held.
#[derive(Debug)]
pub(super) struct Duty {
    store: Arc<dyn Store>,
    holder: String,
    ttl: Duration,
    clock: Clock,
    etag: ETag,
    expires_at: DateTime<Utc>,
}

/// The answer to asking for the duty.
#[derive(Debug)]
pub(super) enum Asked {
    Held(Duty),
    /// Another has it.
    Busy(String),
}

impl Duty {
    /// Takes the duty if nobody has it, if it expired, or if an earlier process of this name had it.
    pub(super) async fn ask(
        store: &Arc<dyn Store>,
        holder: &str,
        ttl: Duration,
        clock: &Clock,
    ) -> Result<Asked, SnapshotError> {
        let key = Key::new(KEY)?;
        let found = store.get(&key).await?;
        let expires_at = clock.now() + ttl;
        let lease = encode(holder, expires_at);
        let put = match found {
            None => store.put_if_absent(&key, lease).await,
            Some(object) => {
                // What nobody can read, nobody holds.
                let current: Option<DutyLease> = serde_json::from_slice(&object.bytes).ok();
                if let Some(current) = current
                    && current.holder != holder
                    && current.expires_at > clock.now()
                {
                    return Ok(Asked::Busy(current.holder));
                }
                store.put_if_match(&key, &object.etag, lease).await
            }
        };
        let duty = |etag| Self {
            store: store.clone(),
            holder: holder.to_owned(),
            ttl,
            clock: clock.clone(),
            etag,
            expires_at,
        };
        match settled(store, &key, holder, expires_at, put).await? {
            Ok(etag) => Ok(Asked::Held(duty(etag))),
            Err(other) => Ok(Asked::Busy(other)),
        }
    }

    /// Holds it for another while.
    ///
    /// # Errors
    /// [`SnapshotError::DutyLost`] when another has it now.
    pub(super) async fn renew(&mut self) -> Result<(), SnapshotError> {
        self.write(self.clock.now() + self.ttl).await
    }

    /// Renews it until another has it or it ran out; never returns before.
    pub(super) async fn keep(&mut self) -> SnapshotError {
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            match self.renew().await {
                Ok(()) => {}
                Err(error @ SnapshotError::DutyLost { .. }) => return error,
                Err(error) if self.clock.now() >= self.expires_at => return error,
                Err(error) => tracing::warn!(%error, "failed to renew the duty to take snapshots"),
            }
        }
    }

    /// Gives it up; if that fails it expires.
    pub(super) async fn release(mut self) {
        if let Err(error) = self.write(self.clock.now()).await {
            tracing::debug!(%error, "the duty to take snapshots was not given up; it expires");
        }
    }

    async fn write(&mut self, expires_at: DateTime<Utc>) -> Result<(), SnapshotError> {
        let key = Key::new(KEY)?;
        let put = self
            .store
            .put_if_match(&key, &self.etag, encode(&self.holder, expires_at))
            .await;
        match settled(&self.store, &key, &self.holder, expires_at, put).await? {
            Ok(etag) => {
                (self.etag, self.expires_at) = (etag, expires_at);
                Ok(())
            }
            Err(holder) => Err(SnapshotError::DutyLost { holder }),
        }
    }
}

/// The etag of our own write, or who has the duty instead. A write whose outcome is unknown is read back once.
async fn settled(
    store: &Arc<dyn Store>,
    key: &Key,
    holder: &str,
    expires_at: DateTime<Utc>,
    put: Result<Put, StoreError>,
) -> Result<Result<ETag, String>, SnapshotError> {
    match put {
        Ok(Put::Stored(etag)) => return Ok(Ok(etag)),
        Ok(Put::Refused) | Err(StoreError::OutcomeUnknown { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(object) = store.get(key).await? else {
        return Ok(Err("nobody".to_owned()));
    };
    match serde_json::from_slice::<DutyLease>(&object.bytes) {
        Ok(lease) if lease.holder == holder && lease.expires_at == expires_at => Ok(Ok(object.etag)),
        Ok(lease) => Ok(Err(lease.holder)),
        Err(_) => Ok(Err("somebody unreadable".to_owned())),
    }
}

fn encode(holder: &str, expires_at: DateTime<Utc>) -> Bytes {
    let lease = DutyLease {
        holder: holder.to_owned(),
        expires_at,
    };
    Bytes::from(serde_json::to_vec(&lease).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn held(asked: Asked) -> Duty {
        match asked {
            Asked::Held(duty) => duty,
            Asked::Busy(holder) => panic!("{holder} has it"),
        }
    }

    fn store(name: &str) -> Arc<dyn Store> {
        crate::store::open(&format!("memory://{name}-{}", uuid::Uuid::now_v7())).unwrap()
    }

    #[tokio::test]
    async fn one_holds_the_duty_until_it_expires_or_is_given_up() {
        let (store, clock) = (store("duty"), Clock::default());
        let ask = async |holder: &str| Duty::ask(&store, holder, TTL, &clock).await.unwrap();
        let first = held(ask("a").await);
        assert!(matches!(ask("b").await, Asked::Busy(holder) if holder == "a"));
        first.release().await;
        let mut second = held(ask("b").await);
        clock.shift_millis(61_000);
        let _third = held(ask("a").await);
        let lost = second.renew().await.unwrap_err();
        assert!(
            matches!(&lost, SnapshotError::DutyLost { holder } if holder == "a"),
            "{lost}"
        );
    }

    #[tokio::test]
    async fn a_process_that_starts_anew_has_its_duty_and_a_damaged_lease_binds_nobody() {
        let (store, clock) = (store("duty"), Clock::default());
        let mut earlier = held(Duty::ask(&store, "a", TTL, &clock).await.unwrap());
        let _later = held(Duty::ask(&store, "a", TTL, &clock).await.unwrap());
        assert!(matches!(
            earlier.renew().await,
            Err(SnapshotError::DutyLost { .. })
        ));
        let key = Key::new(KEY).unwrap();
        store.put(&key, Bytes::from("{")).await.unwrap();
        held(Duty::ask(&store, "b", TTL, &clock).await.unwrap());
    }

    #[tokio::test]
    async fn of_many_that_ask_at_once_one_holds_it() {
        let (store, clock) = (store("duty"), Clock::default());
        let asking = (0..8).map(|number| {
            let (store, clock) = (store.clone(), clock.clone());
            async move {
                Duty::ask(&store, &format!("replica-{number}"), TTL, &clock)
                    .await
                    .unwrap()
            }
        });
        let held = futures::future::join_all(asking).await;
        let count = held
            .iter()
            .filter(|asked| matches!(asked, Asked::Held(_)))
            .count();
        assert_eq!(count, 1, "{held:?}");
    }
}
