//! What a node of either role holds locally and shows to its readers.
//!
//! Owns: which graph directory is current, swapping graphs under readers, the position that floors and lag are measured by.
//! Does not own: how the graph is brought forward (writer, replica) or how it is asked (api).

mod local_graph;
mod progress;
mod reports;

pub use local_graph::LocalGraph;
pub use progress::{NodeState, Progress, ProgressView, Role, StoreHealth};
pub use reports::{
    LastOptimize, LastScrub, LastSnapshot, OptimizeReport, Reports, ReportsView, ScrubReport, SettingsReport,
    SnapshotReport,
};
