//! The commit log: `commits/<seq>.json`, one object per commit, created with put-if-absent.
//!
//! Owns: the record's form and checksum, reading in order, finding the head, and the one durable step that makes a commit.
//! Does not own: what a commit contains (writer) or what is done with it (replica).

mod record;
mod seal;
mod trim;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

pub use record::{
    CommitKind, CommitRecord, IdempotencyEntry, Position, TableChange, TableVersion, VersionMap,
};

use crate::ids::Seq;
use crate::store::{Key, Put, Store, StoreError};

/// Records read ahead at a time when a range is read.
const READ_AHEAD: usize = 16;
/// Commits per page when the head is looked for by listing.
const LIST_PAGE: usize = 10_000;

/// Reads and appends commits.
#[derive(Debug, Clone)]
pub struct CommitLog {
    store: Arc<dyn Store>,
}

/// What became of an append.
#[derive(Debug, PartialEq)]
pub enum Append {
    /// The commit exists and is ours.
    Committed,
    /// Another commit has that `seq`.
    Taken(Box<CommitRecord>),
}

/// Why the log could not be read or appended to.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("failed to reach the commit log: {0}")]
    Store(#[from] StoreError),
    /// Nobody can tell what the commit was: bring the object back from a copy of the bucket.
    #[error("commit record {key} is damaged: {detail}")]
    Damaged { key: String, detail: String },
    #[error("commit {missing} is missing from the log although commit {later} exists")]
    Gap { missing: Seq, later: Seq },
}

impl CommitLog {
    /// The log in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The record of `seq`, or `None` where there is none (yet, or any more).
    pub async fn read(&self, seq: Seq) -> Result<Option<CommitRecord>, LogError> {
        let key = key_of(seq)?;
        match self.store.get(&key).await? {
            None => Ok(None),
            Some(object) => parse(&key, seq, &object.bytes).map(Some),
        }
    }

    /// The records after `after`, dense, at most `limit`: reads forward until there is none.
    pub async fn read_after(&self, after: Seq, limit: usize) -> Result<Vec<CommitRecord>, LogError> {
        let mut records = Vec::new();
        let mut next = after.next();
        // The first read alone, as mostly there is nothing new; then a few at a time.
        let mut ahead = 1;
        while records.len() < limit {
            let window = ahead.min(limit - records.len()) as u64;
            let page: Vec<Option<CommitRecord>> = stream::iter(next.0..next.0 + window)
                .map(|seq| self.read(Seq(seq)))
                .buffered(READ_AHEAD)
                .try_collect()
                .await?;
            let found = page.iter().take_while(|record| record.is_some()).count();
            let complete = found == page.len();
            records.extend(page.into_iter().take(found).flatten());
            if !complete {
                break;
            }
            next = Seq(next.0 + window);
            ahead = READ_AHEAD;
        }
        Ok(records)
    }

    /// The newest commit, looked for from `known` on: forward by reading, or by listing where `known` is 0 or trimmed.
    pub async fn head(&self, known: Seq) -> Result<Option<CommitRecord>, LogError> {
        let mut newest = if known == Seq(0) {
            None
        } else {
            self.read(known).await?
        };
        if newest.is_none() {
            let mut after = None;
            loop {
                let page = self.store.list("commits/", after.as_ref(), LIST_PAGE).await?;
                let full = page.len() == LIST_PAGE;
                let Some(last) = page.into_iter().next_back() else {
                    break;
                };
                newest = self.read(seq_of(&last.key)?).await?;
                after = Some(last.key);
                if !full {
                    break;
                }
            }
        }
        let Some(mut head) = newest else { return Ok(None) };
        loop {
            let later = self.read_after(head.seq, READ_AHEAD).await?;
            match later.into_iter().next_back() {
                Some(record) => head = record,
                None => return Ok(Some(head)),
            }
        }
    }

    /// Whether commits exist after `seq` although the next one is missing: the log is dense, so it was trimmed or damaged.
    /// Lists the log, so it is for now and then, not for every poll.
    ///
    /// # Errors
    /// [`LogError::Gap`] names the missing commit.
    pub async fn check_dense_after(&self, seq: Seq) -> Result<(), LogError> {
        let later = self.store.list("commits/", Some(&key_of(seq)?), 1).await?;
        let Some(later) = later.first() else { return Ok(()) };
        let later = seq_of(&later.key)?;
        // The next one may have come since the caller looked.
        if later == seq.next() {
            Ok(())
        } else {
            Err(LogError::Gap {
                missing: seq.next(),
                later,
            })
        }
    }

    /// The commit point: creates `commits/<seq>.json` if there is none.
    ///
    /// Guarantees: `Committed` means that the record exists for ever with exactly this content. When the outcome of the put
    /// is unknown the object is read back and decides; as long as that fails too, this keeps the error, and the caller must
    /// find out by [`CommitLog::read`] before it does anything else.
    pub async fn append(&self, record: &CommitRecord) -> Result<Append, LogError> {
        let key = key_of(record.seq)?;
        let bytes = serde_json::to_vec(record).map_err(|error| LogError::Damaged {
            key: key.to_string(),
            detail: error.to_string(),
        })?;
        match self
            .store
            .put_if_absent(&key, Bytes::from(seal::seal(bytes)))
            .await
        {
            Ok(Put::Stored(_)) => Ok(Append::Committed),
            // A retry inside the store may have met our own first attempt: content decides here as well.
            Ok(Put::Refused) => self.decide(record).await,
            Err(StoreError::OutcomeUnknown { .. }) => self.decide(record).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn decide(&self, ours: &CommitRecord) -> Result<Append, LogError> {
        match self.read(ours.seq).await? {
            Some(found) if found.tx_id == ours.tx_id && found.epoch == ours.epoch => Ok(Append::Committed),
            Some(found) => Ok(Append::Taken(Box::new(found))),
            None => Err(StoreError::OutcomeUnknown {
                action: "create the commit record",
                place: format!("commits/{:020}.json", ours.seq.0),
                source: "the record is not there (yet)".into(),
            }
            .into()),
        }
    }
}

fn key_of(seq: Seq) -> Result<Key, StoreError> {
    Key::new(format!("commits/{:020}.json", seq.0))
}

fn seq_of(key: &Key) -> Result<Seq, LogError> {
    key.as_str()
        .strip_prefix("commits/")
        .and_then(|name| name.strip_suffix(".json"))
        .and_then(|digits| digits.parse().ok())
        .map(Seq)
        .ok_or_else(|| LogError::Damaged {
            key: key.to_string(),
            detail: "the name is not commits/<20 digits>.json".to_owned(),
        })
}

fn parse(key: &Key, seq: Seq, bytes: &[u8]) -> Result<CommitRecord, LogError> {
    let damaged = |detail: String| LogError::Damaged {
        key: key.to_string(),
        detail,
    };
    let bytes = seal::unseal(bytes).map_err(damaged)?;
    let record: CommitRecord = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if record.seq != seq {
        return Err(damaged(format!("expected seq {seq}, found {}", record.seq)));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::ids::{Epoch, TxId};

    fn record(seq: u64, epoch: u64, previous: TxId) -> CommitRecord {
        CommitRecord {
            seq: Seq(seq),
            tx_id: TxId::after(previous, 1_700_000_000_000),
            prev_tx_id: previous,
            epoch: Epoch(epoch),
            timestamp: Utc::now(),
            kind: CommitKind::Data,
            tables: VersionMap::default(),
            manifests: Default::default(),
            changed: Vec::new(),
            schema_version: Seq(0),
            schema: None,
            notes: None,
            idempotency: Vec::new(),
            traceparent: None,
        }
    }

    /// A log of `length` commits in a store of its own.
    async fn log_of(length: u64) -> (CommitLog, Vec<CommitRecord>) {
        let store = crate::store::open(&format!("memory://log-{}", uuid::Uuid::now_v7())).unwrap();
        let log = CommitLog::new(store);
        let mut records = Vec::new();
        let mut previous = TxId::default();
        for seq in 1..=length {
            records.push(record(seq, 1, previous));
            previous = records.last().unwrap().tx_id;
            assert_eq!(
                log.append(records.last().unwrap()).await.unwrap(),
                Append::Committed
            );
        }
        (log, records)
    }

    #[tokio::test]
    async fn the_head_is_found_from_any_known_commit_and_from_none() {
        let (log, records) = log_of(40).await;
        for known in [0, 1, 17, 39, 40] {
            assert_eq!(
                log.head(Seq(known)).await.unwrap().as_ref(),
                records.last(),
                "from {known}"
            );
        }
        assert_eq!(log_of(0).await.0.head(Seq(0)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn records_are_read_in_order_up_to_a_limit() {
        let (log, records) = log_of(40).await;
        assert_eq!(log.read_after(Seq(0), usize::MAX).await.unwrap(), records);
        assert_eq!(log.read_after(Seq(5), 20).await.unwrap(), records[5..25]);
        assert_eq!(log.read_after(Seq(40), 20).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_missing_commit_is_told_apart_from_the_end_of_the_log() {
        let (log, _) = log_of(6).await;
        log.store.delete(&key_of(Seq(4)).unwrap()).await.unwrap();
        assert_eq!(log.read_after(Seq(3), 10).await.unwrap(), []);
        let error = log.check_dense_after(Seq(3)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "commit 4 is missing from the log although commit 5 exists"
        );
        log.check_dense_after(Seq(6)).await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_seq_shows_whose_it_is_and_an_own_retry_is_a_success() {
        let (log, records) = log_of(3).await;
        assert_eq!(log.append(&records[2]).await.unwrap(), Append::Committed);
        let other = record(3, 2, records[1].tx_id);
        assert_eq!(
            log.append(&other).await.unwrap(),
            Append::Taken(Box::new(records[2].clone()))
        );
    }

    #[tokio::test]
    async fn a_damaged_record_is_named() {
        let (log, _) = log_of(1).await;
        log.store
            .put(&key_of(Seq(2)).unwrap(), Bytes::from_static(b"{\"seq\": 2"))
            .await
            .unwrap();
        let error = log.read(Seq(2)).await.unwrap_err().to_string();
        assert!(
            error.starts_with("commit record commits/00000000000000000002.json is damaged: "),
            "{error}"
        );
    }
}
