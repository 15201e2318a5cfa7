//! Where each write stands in the log.
//!
//! A transaction's notes name its write (`w17`); a commit of several transactions joins theirs with `; `.

use std::collections::{BTreeMap, HashMap};

use super::state::State;
use super::{Checked, Rule};
use crate::torture::history::{History, LogEntry, WriteOp, WriteOutcome};

/// Kind of the commits that hold transactions.
const DATA: &str = "data";

/// Writes by commit and commits by write.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    /// The writes of each commit that holds some, in the order of its notes.
    pub(super) by_seq: BTreeMap<u64, Vec<&'a WriteOp>>,
    /// The first commit that holds the write.
    pub(super) seq_of: HashMap<i64, u64>,
    /// Commits by their `tx_id`.
    pub(super) seq_of_tx: HashMap<&'a str, u64>,
    pub(super) tx_of: BTreeMap<u64, &'a str>,
}

/// The log is dense from 1, and each entry follows from the one before.
pub(super) fn check_form(log: &[LogEntry], checked: &mut Checked) {
    for (place, entry) in (1..).zip(log) {
        if entry.seq != place {
            checked.found(
                Rule::LogForm,
                format!("expected seq {place}, found {}", entry.seq),
            );
            return;
        }
    }
    for pair in log.windows(2) {
        let (before, entry) = (&pair[0], &pair[1]);
        if entry.tx_id <= before.tx_id {
            checked.found(
                Rule::LogForm,
                format!("seq {}: its tx_id is not above the one before", entry.seq),
            );
        }
        if entry.prev_tx_id != before.tx_id {
            checked.found(
                Rule::LogForm,
                format!("seq {}: its prev_tx_id is another", entry.seq),
            );
        }
        if entry.epoch < before.epoch {
            let (old, new) = (before.epoch, entry.epoch);
            checked.found(
                Rule::LogForm,
                format!("seq {}: epoch {new} after {old}", entry.seq),
            );
        }
    }
}

impl<'a> Placed<'a> {
    pub(super) fn new(history: &'a History, checked: &mut Checked) -> Self {
        let writes: HashMap<i64, &WriteOp> = history.writes.iter().map(|write| (write.id, write)).collect();
        let mut placed = Self {
            by_seq: BTreeMap::new(),
            seq_of: HashMap::new(),
            seq_of_tx: HashMap::new(),
            tx_of: BTreeMap::new(),
        };
        for entry in &history.log {
            placed.seq_of_tx.insert(&entry.tx_id, entry.seq);
            placed.tx_of.insert(entry.seq, &entry.tx_id);
            let ids = ids(entry);
            if entry.kind == DATA && ids.is_empty() {
                let notes = &entry.notes;
                checked.found(
                    Rule::PhantomWrite,
                    format!("seq {} holds rows of nobody: notes {notes:?}", entry.seq),
                );
            }
            for id in ids {
                let Some(write) = writes.get(&id) else {
                    checked.found(
                        Rule::PhantomWrite,
                        format!("seq {} holds w{id}, which nobody sent", entry.seq),
                    );
                    continue;
                };
                if let Some(first) = placed.seq_of.get(&id) {
                    checked.found(
                        Rule::DuplicateWrite,
                        format!("w{id} stands at seq {first} and at seq {}", entry.seq),
                    );
                } else {
                    placed.seq_of.insert(id, entry.seq);
                }
                placed.by_seq.entry(entry.seq).or_default().push(write);
            }
        }
        placed
    }

    /// Each write is in the log as often as its client was told.
    pub(super) fn check_writes(&self, history: &History, checked: &mut Checked) {
        for write in &history.writes {
            let id = write.id;
            match (&write.outcome, self.seq_of.get(&id)) {
                (WriteOutcome::Committed { seq, .. }, None) => {
                    checked.found(
                        Rule::LostWrite,
                        format!("w{id} was acknowledged at seq {seq}, and is not in the log"),
                    );
                }
                (WriteOutcome::Committed { seq, tx_id }, Some(found)) => {
                    if seq != found || self.tx_of.get(found) != Some(&tx_id.as_str()) {
                        checked.found(
                            Rule::WrongAnswer,
                            format!(
                                "w{id} was acknowledged at seq {seq} ({tx_id}), and stands at seq {found}"
                            ),
                        );
                    }
                }
                (WriteOutcome::Refused { problem }, Some(found)) => {
                    checked.found(
                        Rule::PhantomWrite,
                        format!("w{id} was refused ({problem}), and stands at seq {found}"),
                    );
                }
                (WriteOutcome::Unknown, Some(_)) => checked.unknown_committed += 1,
                (WriteOutcome::Refused { .. } | WriteOutcome::Unknown, None) => {}
            }
        }
    }

    /// Applies the writes of one commit; they must come to the same in any order, as the log does not say in which they came.
    pub(super) fn apply(&self, seq: u64, state: &mut State, checked: &mut Checked) {
        let Some(writes) = self.by_seq.get(&seq) else {
            return;
        };
        let mut forward = state.clone();
        let mut backward = state.clone();
        for write in writes {
            if let Err(problem) = forward.apply(write.id, &write.transaction) {
                checked.found(Rule::DependentGroup, format!("seq {seq}: {problem}"));
            }
        }
        if writes.len() > 1 {
            for write in writes.iter().rev() {
                if let Err(problem) = backward.apply(write.id, &write.transaction) {
                    checked.found(Rule::DependentGroup, format!("seq {seq}, backwards: {problem}"));
                }
            }
            if let Some(difference) = forward.difference(&backward) {
                checked.found(
                    Rule::DependentGroup,
                    format!("seq {seq} depends on the order: {difference}"),
                );
            }
        }
        *state = forward;
    }
}

/// The writes that a commit holds.
fn ids(entry: &LogEntry) -> Vec<i64> {
    let notes = entry.notes.as_deref().unwrap_or_default();
    notes
        .split("; ")
        .filter_map(|note| note.strip_prefix('w')?.parse().ok())
        .collect()
}
