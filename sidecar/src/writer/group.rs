//! Which waiting jobs become one commit. Pure: it takes what is there and decides.

use std::collections::{HashSet, VecDeque};

use super::transaction::Footprint;
use super::{Job, Work};
use crate::settings::GroupLimits;

/// What to do next.
pub(super) enum Next {
    /// One commit of these jobs; all are transactions that do not touch each other.
    Group(Vec<Job>),
    /// A commit of its own.
    Bulk(Box<Job>),
    Nothing,
}

/// Takes the next commit's jobs from the front, in order: until a limit, a bulk request, or a transaction that touches what
/// an earlier one of the group touches. The order of such two matters, so the later one waits for the next commit.
pub(super) fn take(waiting: &mut VecDeque<Job>, limits: GroupLimits) -> Next {
    let mut group = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    let mut touched = Footprint::default();
    let mut keys: HashSet<String> = HashSet::new();
    loop {
        match waiting.front().map(|job| &job.work) {
            None => break,
            Some(Work::Bulk(_)) => {
                if group.is_empty()
                    && let Some(job) = waiting.pop_front()
                {
                    return Next::Bulk(Box::new(job));
                }
                break;
            }
            Some(Work::Transaction(transaction)) => {
                let footprint = Footprint::of(transaction);
                let key = transaction.idempotency.as_ref().map(|entry| entry.key.clone());
                let full = rows + transaction.rows > limits.rows || bytes + transaction.bytes > limits.bytes;
                let retry = key.as_ref().is_some_and(|key| keys.contains(key));
                if !group.is_empty() && (full || retry || touched.touches(&footprint)) {
                    break;
                }
                rows += transaction.rows;
                bytes += transaction.bytes;
                touched.extend(footprint);
                keys.extend(key);
                group.extend(waiting.pop_front());
            }
        }
    }
    if group.is_empty() {
        Next::Nothing
    } else {
        Next::Group(group)
    }
}
