//! Whether a history is one that Slipstream promises; pure, so that wrong histories can be given to it on purpose.
//!
//! ```text
//! History ─> place   (the log is whole; each write stands in it as often as its client was told)
//!         ─> order   (real time agrees with the log; floors of reads)
//!         ─> content (a read shows exactly the state at its commit)
//!         ─> session (nobody who passes its token goes back)         ─> violations
//! ```
//!
//! The log gives the order, so nothing has to be searched for: what is checked is that this one order explains everything that
//! was seen. If it does, writes are linearizable (each takes effect at its commit, between invocation and completion), and so are
//! they together with the `strong` reads (each placed after its commit). This is the definition of Herlihy and Wing (1990), with
//! the log as the witness.
//!
//! Owns: the rules. Does not own: how the history came about.

mod content;
mod order;
mod place;
mod session;
pub mod state;
#[cfg(test)]
mod tests;

use std::fmt;

use super::history::{Floor, History, WriteOutcome};
use place::Placed;

/// Violations of one rule beyond these are counted, not described.
const DESCRIBED: usize = 10;

/// What can be wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The log is dense, its `tx_id`s and epochs grow, each entry names the one before.
    LogForm,
    /// An acknowledged write stands in the log.
    LostWrite,
    /// A write stands in the log once.
    DuplicateWrite,
    /// What stands in the log was sent, and was not refused.
    PhantomWrite,
    /// A write stands where its answer says.
    WrongAnswer,
    /// Transactions of one commit do not depend on each other.
    DependentGroup,
    /// What completed before a write was invoked comes before it in the log.
    RealTimeOrder,
    /// A read names a commit of the log.
    UnknownCommit,
    /// A read shows a state that some commit left.
    TornRead,
    /// A read shows the state of the commit that it names.
    WrongCommit,
    /// A `strong` read shows everything that was seen before it was asked.
    StaleStrong,
    /// A read is not older than its `min_tx`.
    BelowMinTx,
    /// A read is not older than its `max_staleness` allows.
    TooStale,
    /// A session that passes its token never goes back.
    SessionWentBack,
}

/// One thing that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

/// What was checked, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// In the order they were found, at most a few per rule.
    pub violations: Vec<Violation>,
    /// Those that are not described.
    pub more: usize,
    pub commits: usize,
    pub epochs: usize,
    pub acknowledged: usize,
    pub refused: usize,
    /// Writes whose outcome their client never learned …
    pub unknown: usize,
    /// … and those of them that took effect.
    pub unknown_committed: usize,
    /// Reads by floor: nothing, `min_tx`, `max_staleness`, `strong`.
    pub reads: [usize; 4],
    pub unanswered_reads: u64,
}

impl Checked {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.more == 0
    }

    fn found(&mut self, rule: Rule, detail: String) {
        if self.violations.iter().filter(|found| found.rule == rule).count() < DESCRIBED {
            self.violations.push(Violation { rule, detail });
        } else {
            self.more += 1;
        }
    }
}

/// Checks a whole history.
pub fn check(history: &History) -> Checked {
    let mut checked = count(history);
    place::check_form(&history.log, &mut checked);
    let placed = Placed::new(history, &mut checked);
    placed.check_writes(history, &mut checked);
    order::check(history, &placed, &mut checked);
    content::check(history, &placed, &mut checked);
    session::check(history, &placed, &mut checked);
    checked
}

fn count(history: &History) -> Checked {
    let mut checked = Checked {
        commits: history.log.len(),
        epochs: {
            let mut epochs: Vec<u64> = history.log.iter().map(|entry| entry.epoch).collect();
            epochs.sort_unstable();
            epochs.dedup();
            epochs.len()
        },
        unanswered_reads: history.unanswered_reads,
        ..Checked::default()
    };
    for write in &history.writes {
        match write.outcome {
            WriteOutcome::Committed { .. } => checked.acknowledged += 1,
            WriteOutcome::Refused { .. } => checked.refused += 1,
            WriteOutcome::Unknown => checked.unknown += 1,
        }
    }
    for read in &history.reads {
        let floor = match read.floor {
            Floor::Nothing => 0,
            Floor::MinTx { .. } => 1,
            Floor::MaxStaleness { .. } => 2,
            Floor::Strong => 3,
        };
        checked.reads[floor] += 1;
    }
    checked
}
