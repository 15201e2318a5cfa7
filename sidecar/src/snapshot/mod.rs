//! Snapshots: checkpointed copies of a replica's Kuzu file in the store, so that a node need not build its graph from Lance.
//!
//! ```text
//! snapshotter (between a replica's passes) ─> looking ─> look: catalog, due, duty ─> freeze: checkpoint, copy
//!                                              ─> uploading ─> upload: parts, meta ─> retention ─> outcomes: report, answers
//! bootstrap (a node without a graph) ─> catalog ─> restore: parts ─> open ─> LocalGraph
//! ```
//!
//! Owns: everything below `kuzu-snapshots/` and `duties/snapshot.json`. Does not own: the database (graph), which graph a node
//! serves (node), following the log after a restore (replica, writer), when Lance versions are cleaned (optimizer).
//!
//! Crash behaviour: a snapshot exists from its meta data on, which is written after all parts were read back and removed before
//! any of them. Whatever a crash leaves besides is removed by a later retention, or by the next start where it is on local disk.
//! Snapshots are an optimization: every error here ends in a rebuild from Lance at worst.

mod bootstrap;
mod catalog;
mod due;
mod duty;
mod error;
mod freeze;
mod listing;
mod look;
mod looking;
mod meta;
mod outcomes;
mod parts;
mod patient;
mod requests;
mod restore;
mod retention;
mod settings;
mod snapshotter;
mod upload;
mod uploading;

pub use bootstrap::bootstrap;
pub use due::Why;
pub use duty::DutyLease;
pub use error::SnapshotError;
pub use listing::{Listed, find, list};
pub use meta::{Begun, DIRECTORY, SnapshotFile, SnapshotMeta, SnapshotPart, SnapshotPin, pins, retained};
pub use requests::{SnapshotAnswer, SnapshotInbox, SnapshotRefusal, SnapshotRequests};
pub use restore::{check, restore_to};
pub use settings::SnapshotLimits;
pub use snapshotter::Snapshotter;
