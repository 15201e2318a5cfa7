//! Which requests were committed already. The truth is in the commit records; this is their newest part, by key.

use std::collections::{HashMap, VecDeque};

use futures::{StreamExt, TryStreamExt, stream};

use super::{CommitAnswer, WriteError};
use crate::commit_log::{CommitLog, CommitRecord, IdempotencyEntry, LogError};
use crate::ids::Seq;

/// How many commits back a key is known.
const WINDOW: u64 = 10_000;
/// Records read at the same time at start.
const READS: usize = 64;

/// Keys of the last [`WINDOW`] commits.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    answers: HashMap<String, (String, CommitAnswer)>,
    order: VecDeque<(Seq, String)>,
}

impl KnownKeys {
    /// Reads the keys back from the log: a retry finds its answer across a restart.
    pub(super) async fn load(log: &CommitLog, head: Seq) -> Result<Self, LogError> {
        let first = head.0.saturating_sub(WINDOW) + 1;
        let records: Vec<Option<CommitRecord>> = stream::iter(first..=head.0)
            .map(|seq| log.read(Seq(seq)))
            .buffered(READS)
            .try_collect()
            .await?;
        let mut known = Self::default();
        records.iter().flatten().for_each(|record| known.add(record));
        Ok(known)
    }

    /// Remembers a commit's keys and forgets those that fell out of the window.
    pub(super) fn add(&mut self, record: &CommitRecord) {
        for entry in &record.idempotency {
            self.answers
                .insert(entry.key.clone(), (entry.request.clone(), record.into()));
            self.order.push_back((record.seq, entry.key.clone()));
        }
        while self
            .order
            .front()
            .is_some_and(|(seq, _)| seq.0 + WINDOW <= record.seq.0)
        {
            if let Some((_, key)) = self.order.pop_front() {
                self.answers.remove(&key);
            }
        }
    }

    /// The answer that this request got before, if it did.
    ///
    /// # Errors
    /// [`WriteError::IdempotencyConflict`] when the key stood for another request.
    pub(super) fn find(&self, entry: &IdempotencyEntry) -> Result<Option<CommitAnswer>, WriteError> {
        match self.answers.get(&entry.key) {
            None => Ok(None),
            Some((request, answer)) if *request == entry.request => Ok(Some(answer.clone())),
            Some((_, answer)) => Err(WriteError::IdempotencyConflict {
                key: entry.key.clone(),
                seq: answer.seq.0,
            }),
        }
    }
}
