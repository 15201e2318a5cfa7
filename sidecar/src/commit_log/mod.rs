//! The commit log: `commits/<seq>.json`, one object per commit, created with put-if-absent.
//!
//! Owns: the record's form, reading in order, finding the head, and the one durable step that makes a commit.
//! Does not own: what a commit contains (writer) or what is done with it (replica).

mod record;

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
        match self.store.put_if_absent(&key, Bytes::from(bytes)).await {
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
    let record: CommitRecord = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if record.seq != seq {
        return Err(damaged(format!("expected seq {seq}, found {}", record.seq)));
    }
    Ok(record)
}
