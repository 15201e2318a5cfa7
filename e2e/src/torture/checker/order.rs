//! Real time against the order of the log: writes, and the floors of reads.

use super::place::Placed;
use super::{Checked, Rule};
use crate::torture::history::{At, Floor, History, ReadOp, WriteOutcome};

/// The newest commit that somebody had seen, over time.
#[derive(Debug)]
struct Seen {
    /// When an operation completed, the newest commit that was seen until then; ascending in both.
    steps: Vec<(At, u64)>,
}

impl Seen {
    /// From completed operations in any order.
    fn new(mut operations: Vec<(At, u64)>) -> Self {
        operations.sort_unstable();
        let mut newest = 0;
        for (_, seq) in &mut operations {
            newest = newest.max(*seq);
            *seq = newest;
        }
        Self { steps: operations }
    }

    /// Seen by operations that completed before `at`; 0 for none.
    fn before(&self, at: At) -> u64 {
        let steps = self.steps.partition_point(|(completed, _)| *completed < at);
        steps.checked_sub(1).map_or(0, |last| self.steps[last].1)
    }
}

pub(super) fn check(history: &History, placed: &Placed<'_>, checked: &mut Checked) {
    let seen = Seen::new(completed(history));
    for write in &history.writes {
        let Some(seq) = placed.seq_of.get(&write.id) else {
            continue;
        };
        let before = seen.before(write.invoked);
        if before >= *seq {
            let (id, at) = (write.id, write.invoked);
            checked.found(
                Rule::RealTimeOrder,
                format!(
                    "w{id} was invoked at {at} µs, when seq {before} had been seen, and stands at seq {seq}"
                ),
            );
        }
    }
    for read in &history.reads {
        check_floor(read, &seen, placed, checked);
    }
}

/// When each operation completed, and the commit it saw or made.
fn completed(history: &History) -> Vec<(At, u64)> {
    let writes = history.writes.iter().filter_map(|write| match &write.outcome {
        WriteOutcome::Committed { seq, .. } => Some((write.completed?, *seq)),
        WriteOutcome::Refused { .. } | WriteOutcome::Unknown => None,
    });
    let reads = history.reads.iter().map(|read| (read.completed, read.seq));
    writes.chain(reads).collect()
}

fn check_floor(read: &ReadOp, seen: &Seen, placed: &Placed<'_>, checked: &mut Checked) {
    let (node, found, at) = (&read.node, read.seq, read.invoked);
    match &read.floor {
        Floor::Nothing => {}
        Floor::Strong => {
            let expected = seen.before(at);
            if found < expected {
                checked.found(
                    Rule::StaleStrong,
                    format!("{node}, asked at {at} µs when seq {expected} had been seen, showed seq {found}"),
                );
            }
        }
        Floor::MaxStaleness { ms } => {
            let expected = seen.before(at.saturating_sub(ms * 1000));
            if found < expected {
                checked.found(
                    Rule::TooStale,
                    format!("{node}, asked at {at} µs for at most {ms} ms, showed seq {found}; seq {expected} had been seen before that"),
                );
            }
        }
        Floor::MinTx { tx_id, .. } => match placed.seq_of_tx.get(tx_id.as_str()) {
            None => checked.found(
                Rule::UnknownCommit,
                format!("{tx_id}, passed to {node}, is not in the log"),
            ),
            Some(expected) if found < *expected => checked.found(
                Rule::BelowMinTx,
                format!("{node}, asked at {at} µs for seq {expected} or later, showed seq {found}"),
            ),
            Some(_) => {}
        },
    }
}
