//! A session that passes the newest commit it saw never goes back, and its writes come after what it saw.

use std::collections::BTreeMap;

use super::place::Placed;
use super::{Checked, Rule};
use crate::torture::history::{At, Floor, History, WriteOutcome};

/// One operation of a session.
struct Step {
    invoked: At,
    what: String,
    /// The commit it saw or made; `None` when its client does not know.
    saw: Option<u64>,
    /// Must be at this commit of the session or later …
    keeps: bool,
    /// … or later only.
    is_write: bool,
}

pub(super) fn check(history: &History, placed: &Placed<'_>, checked: &mut Checked) {
    let mut sessions: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
    for write in &history.writes {
        let saw = match write.outcome {
            WriteOutcome::Committed { .. } => placed.seq_of.get(&write.id).copied(),
            WriteOutcome::Refused { .. } | WriteOutcome::Unknown => None,
        };
        sessions.entry(write.session).or_default().push(Step {
            invoked: write.invoked,
            what: format!("w{}", write.id),
            saw,
            keeps: true,
            is_write: true,
        });
    }
    for read in &history.reads {
        sessions.entry(read.session).or_default().push(Step {
            invoked: read.invoked,
            what: format!("a read on {}", read.node),
            saw: Some(read.seq),
            keeps: matches!(read.floor, Floor::MinTx { own: true, .. }),
            is_write: false,
        });
    }
    for (session, mut steps) in sessions {
        steps.sort_by_key(|step| step.invoked);
        let mut newest = 0;
        for step in steps {
            let Some(saw) = step.saw else { continue };
            if step.keeps && (saw < newest || (step.is_write && saw == newest)) {
                let (what, at) = (step.what, step.invoked);
                checked.found(
                    Rule::SessionWentBack,
                    format!(
                        "session {session} had seen seq {newest}; {what}, invoked at {at} µs, is at seq {saw}"
                    ),
                );
            }
            newest = newest.max(saw);
        }
    }
}
