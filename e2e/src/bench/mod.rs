//! What `bench` measures: real processes on this machine, next to the engines alone on the same rows.
//!
//! ```text
//! bin/bench ─> load, first_build, visible, commit_cost, memory, in_place, snapshot, optimize ─┬─> running_graph ─> `slipstream local`, /metrics
//!      │                                                                            ├─> lance_alone, kuzu_alone ─> the engines, in process
//!      └────> figure ─> table, docs/benchmarks.md                                   └─> rows ─> made-up rows
//! ```
//!
//! Every figure with a target is a ratio of two things done in the same run, or a latency; the machine's own speed cancels
//! out of the ratios. Nothing of the sidecar's code is linked in.

pub(crate) mod commit_cost;
pub(crate) mod figure;
pub(crate) mod first_build;
pub(crate) mod in_place;
mod kuzu_alone;
mod lance_alone;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod optimize;
pub(crate) mod page;
mod rows;
mod running_graph;
pub(crate) mod snapshot;
mod snapshot_copy;
pub(crate) mod visible;

use std::path::{Path, PathBuf};

/// How much is done: more repetitions make steadier figures.
#[derive(Debug, Clone)]
pub(crate) struct Effort {
    /// Times that each pair of a ratio is measured.
    pub(crate) repetitions: usize,
    /// Small transactions, at ten per second, for the time from commit to visible.
    pub(crate) visible_commits: u32,
    /// Commits per table for the cost of a small commit.
    pub(crate) commits: u32,
    /// The example's directory.
    pub(crate) example: PathBuf,
}

impl Effort {
    /// For the documented figures.
    pub(crate) fn full(example: &Path) -> Self {
        Self {
            repetitions: 5,
            visible_commits: 300,
            commits: 60,
            example: example.to_owned(),
        }
    }

    /// For a look.
    pub(crate) fn quick(example: &Path) -> Self {
        Self {
            repetitions: 2,
            visible_commits: 100,
            commits: 20,
            example: example.to_owned(),
        }
    }
}
