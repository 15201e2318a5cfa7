//! Which requests were committed already. The truth is in the commit records; this is their newest part, by key.

use std::collections::{HashMap, VecDeque};

use futures::{StreamExt, TryStreamExt, stream};

use super::{CommitAnswer, WriteError};
use crate::commit_log::{CommitLog, CommitRecord, IdempotencyEntry, LogError};
use crate::ids::Seq;

/// Records read at the same time at start.
const READS: usize = 64;

/// Keys of the last `window` commits.
#[derive(Debug)]
pub(super) struct KnownKeys {
    window: u64,
    answers: HashMap<String, (String, CommitAnswer)>,
    order: VecDeque<(Seq, String)>,
}

impl KnownKeys {
    /// Reads the keys back from the log: a retry finds its answer across a restart.
    ///
    /// From `head` back as far as the records are one log: what lies below a gap may be of a writer that was fenced, and its
    /// keys stand for nothing.
    pub(super) async fn load(log: &CommitLog, head: &CommitRecord, window: u64) -> Result<Self, LogError> {
        let mut records: Vec<CommitRecord> = Vec::new();
        let oldest = head.seq.0.saturating_sub(window) + 1;
        let mut pages = stream::iter((oldest..=head.seq.0).rev())
            .map(|seq| log.read(Seq(seq)))
            .buffered(READS);
        while let Some(record) = pages.try_next().await? {
            let follows = |record: &CommitRecord| {
                let newer = records.last();
                newer.is_none_or(|newer| newer.prev_tx_id == record.tx_id)
            };
            match record.filter(follows) {
                Some(record) => records.push(record),
                None => break,
            }
        }
        drop(pages);
        let mut known = Self::new(window);
        records.iter().rev().for_each(|record| known.add(record));
        Ok(known)
    }

    fn new(window: u64) -> Self {
        Self {
            window,
            answers: HashMap::new(),
            order: VecDeque::new(),
        }
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
            .is_some_and(|(seq, _)| seq.0 + self.window <= record.seq.0)
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
