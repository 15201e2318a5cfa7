//! Every read shows exactly what the commit that it names left.

use std::collections::BTreeMap;

use super::place::Placed;
use super::state::State;
use super::{Checked, Rule};
use crate::torture::history::{History, ReadOp};

pub(super) fn check(history: &History, placed: &Placed<'_>, checked: &mut Checked) {
    let mut reads: BTreeMap<u64, Vec<&ReadOp>> = BTreeMap::new();
    for read in &history.reads {
        if placed.tx_of.get(&read.seq) == Some(&read.tx_id.as_str()) {
            reads.entry(read.seq).or_default().push(read);
        } else {
            let (node, seq, tx_id) = (&read.node, read.seq, &read.tx_id);
            checked.found(
                Rule::UnknownCommit,
                format!("{node} showed seq {seq} ({tx_id}), which is not in the log"),
            );
        }
    }
    let mut state = State::default();
    let mut wrong = Vec::new();
    for entry in &history.log {
        placed.apply(entry.seq, &mut state, checked);
        for read in reads.get(&entry.seq).into_iter().flatten() {
            if let Some(difference) = state.view(read.names.as_deref()).difference(&read.seen) {
                wrong.push((*read, difference));
            }
        }
    }
    for (read, difference) in wrong {
        name(read, &difference, history, placed, checked);
    }
}

/// Whether a wrong read shows another commit's state, or that of none.
fn name(read: &ReadOp, difference: &str, history: &History, placed: &Placed<'_>, checked: &mut Checked) {
    let mut state = State::default();
    // What is wrong with commits was found before.
    let mut ignored = Checked::default();
    let shown = history.log.iter().find(|entry| {
        placed.apply(entry.seq, &mut state, &mut ignored);
        state.view(read.names.as_deref()) == read.seen
    });
    let (node, seq, at) = (&read.node, read.seq, read.completed);
    match shown {
        Some(entry) => checked.found(
            Rule::WrongCommit,
            format!(
                "{node} at {at} µs named seq {seq} and showed seq {}: {difference}",
                entry.seq
            ),
        ),
        None => checked.found(
            Rule::TornRead,
            format!("{node} at {at} µs named seq {seq} and showed no commit's state: {difference}"),
        ),
    }
}
