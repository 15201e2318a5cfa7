//! What keeps a Lance version from being cleaned and a commit record from being trimmed.
//!
//! | pin | keeps |
//! | --- | --- |
//! | a lease that has not expired | exactly the versions it names, held or being read; its commit record and all after it |
//! | a snapshot, whole or being uploaded | the same |
//! | the writer's own graph | the same |
//! | the time-travel window, and the age below which nothing is ever cleaned | every version from the newest commit before it on |
//!
//! Two forms, because they are two things: a pin names versions, so it keeps these and not everything since; time is a line.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::commit_log::{CommitLog, CommitRecord, LogError, VersionMap};
use crate::ids::Seq;
use crate::replica::Lease;
use crate::snapshot::{self, SnapshotError};
use crate::store::{Key, Store, StoreError};

/// Leases per page of a listing.
const PAGE: usize = 1000;

/// Why it is not known what is pinned: then nothing may be removed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// One pin.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// Whose, in words.
    pub by: String,
    /// The commit: its record and all after it stay.
    pub seq: Seq,
    pub tables: VersionMap,
}

/// Leases as they are now.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) held: Vec<Pin>,
    /// Objects whose lease expired before the time that was asked for.
    pub(super) long_expired: Vec<Key>,
}

/// Reads `replicas/`. One that cannot be read names no versions: its replica writes it anew within a third of its time.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn leases(
    store: &dyn Store,
    now: DateTime<Utc>,
    expired_before: DateTime<Utc>,
) -> Result<Leases, StoreError> {
    let mut found = Leases::default();
    let mut after: Option<Key> = None;
    loop {
        let page = store.list("replicas/", after.as_ref(), PAGE).await?;
        for entry in &page {
            let Some(object) = store.get(&entry.key).await? else {
                continue;
            };
            match serde_json::from_slice::<Lease>(&object.bytes) {
                Ok(lease) if lease.expires_at > now => {
                    let maps = std::iter::once(lease.tables).chain(lease.reading);
                    found.held.extend(maps.map(|tables| Pin {
                        by: format!("replica {}", lease.replica),
                        seq: lease.watermark.seq,
                        tables,
                    }));
                }
                Ok(lease) if lease.expires_at < expired_before => found.long_expired.push(entry.key.clone()),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(lease = %entry.key, %error, "a lease cannot be read; it pins nothing")
                }
            }
        }
        let full = page.len() == PAGE;
        match page.into_iter().next_back() {
            Some(last) if full => after = Some(last.key),
            _ => return Ok(found),
        }
    }
}

/// Everything that names versions, `own` among it: what the writer's graph holds.
///
/// # Errors
/// When any of it cannot be read: then nothing may be removed.
pub async fn pins(store: &dyn Store, own: Pin, now: DateTime<Utc>) -> Result<Vec<Pin>, PinError> {
    let mut pins = leases(store, now, now).await?.held;
    pins.extend(snapshot::pins(store).await?.into_iter().map(|pin| Pin {
        by: format!("the snapshot of commit {}", pin.seq),
        seq: pin.seq,
        tables: pin.tables,
    }));
    pins.push(own);
    Ok(pins)
}

/// The newest commit that was made before `now - age`: what is older than it may go unless it is pinned. `None`: there is no
/// such commit.
///
/// Timestamps are the writers' clocks and mostly in order; where a clock went back, the line lies a little elsewhere.
///
/// # Errors
/// When the log cannot be read.
pub async fn cut_off(
    log: &CommitLog,
    head: &CommitRecord,
    now: DateTime<Utc>,
    age: Duration,
) -> Result<Option<CommitRecord>, LogError> {
    let age = chrono::Duration::from_std(age).unwrap_or(chrono::Duration::MAX);
    let Some(line) = now.checked_sub_signed(age) else {
        return Ok(None);
    };
    if head.timestamp < line {
        return Ok(Some(head.clone()));
    }
    let Some(oldest) = log.oldest().await? else {
        return Ok(None);
    };
    // Invariant: `below` was made before the line (or is none yet), `above` was not.
    let (mut below, mut above) = (None, head.seq.0);
    let mut from = oldest.0;
    while from < above {
        let middle = from + (above - from) / 2;
        match log.read(Seq(middle)).await? {
            Some(record) if record.timestamp < line => {
                from = middle + 1;
                below = Some(record);
            }
            Some(_) => above = middle,
            // The schema's commit stays when those after it are trimmed.
            None => from = middle + 1,
        }
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::CommitKind;
    use crate::ids::{Epoch, TxId};

    async fn log_of(ages_s: &[i64], now: DateTime<Utc>) -> (CommitLog, Vec<CommitRecord>) {
        let store = crate::store::open(&format!("memory://pins-{}", uuid::Uuid::now_v7())).unwrap();
        let log = CommitLog::new(store);
        let mut records = Vec::new();
        for (index, age) in ages_s.iter().enumerate() {
            let record = CommitRecord {
                seq: Seq(index as u64 + 1),
                tx_id: TxId::after(TxId::default(), index as u64),
                prev_tx_id: TxId::default(),
                epoch: Epoch(1),
                timestamp: now - chrono::Duration::seconds(*age),
                kind: CommitKind::Data,
                tables: VersionMap::default(),
                manifests: Default::default(),
                changed: Vec::new(),
                schema_version: Seq(0),
                schema: None,
                notes: None,
                idempotency: Vec::new(),
                traceparent: None,
            };
            log.append(&record).await.unwrap();
            records.push(record);
        }
        (log, records)
    }

    #[tokio::test]
    async fn the_cut_off_is_the_newest_commit_before_the_line() {
        let now = Utc::now();
        let ages = [900, 800, 700, 60, 50, 40, 5];
        let (log, records) = log_of(&ages, now).await;
        let head = records.last().unwrap();
        for (age, expected) in [
            (1000, None),
            (850, Some(1)),
            (100, Some(3)),
            (45, Some(5)),
            (10, Some(6)),
            (1, Some(7)),
        ] {
            let found = cut_off(&log, head, now, Duration::from_secs(age)).await.unwrap();
            assert_eq!(found.map(|record| record.seq.0), expected, "{age} s");
        }
        assert_eq!(cut_off(&log, head, now, Duration::MAX).await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_leases_that_hold_pin_and_only_long_expired_ones_go() {
        let store = crate::store::open(&format!("memory://leases-{}", uuid::Uuid::now_v7())).unwrap();
        let now = Utc::now();
        for (name, left_s) in [
            ("holds-one", 30),
            ("holds-two", 30),
            ("expired", -30),
            ("long-expired", -3000),
        ] {
            let lease = Lease {
                replica: name.to_owned(),
                watermark: Default::default(),
                tables: VersionMap::default(),
                reading: (name != "holds-one").then(VersionMap::default),
                expires_at: now + chrono::Duration::seconds(left_s),
            };
            let key = Key::new(format!("replicas/{name}.json")).unwrap();
            store
                .put(&key, serde_json::to_vec(&lease).unwrap().into())
                .await
                .unwrap();
        }
        let damaged = Key::new("replicas/damaged.json").unwrap();
        store.put(&damaged, "{".into()).await.unwrap();
        let found = leases(&*store, now, now - chrono::Duration::seconds(600))
            .await
            .unwrap();
        let names: Vec<&str> = found.held.iter().map(|pin| pin.by.as_str()).collect();
        assert_eq!(
            names,
            ["replica holds-one", "replica holds-two", "replica holds-two"]
        );
        assert_eq!(
            found.long_expired,
            [Key::new("replicas/long-expired.json").unwrap()]
        );
    }
}
