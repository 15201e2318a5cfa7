//! Scrubs: is the graph that this node serves exactly what Lance holds at the same commit?
//!
//! ```text
//! cadence ─┐
//! request ─┴─> compare: graph digests, one transaction ─> its watermark ─> Lance digests at that version map
//!                 │ equal: report          │ gave way, replaced, version cleaned: begin again
//!                 └ different: LocalGraph::diverged ─> not served, not ready, built again from Lance (replica, writer)
//! ```
//!
//! Owns: when and what is compared, the verdict, its report and metrics.
//! Does not own: reading the engines (`graph/digest.rs`, `lake/digest.rs`), and the rebuild, which is the follower's or the
//! writer's own task as after every loss of the local graph.
//!
//! Crash behaviour: nothing durable before a difference; then the mark that the next process must build from Lance, and not
//! from a snapshot, which may hold the same damage (`node/local_graph.rs`).

mod compare;
mod digest;
mod keeper;

pub use compare::{Comparison, ScrubError, TableComparison, compare};
pub(crate) use digest::RowHasher;
pub use digest::TableDigest;
pub use keeper::{ScrubKeeper, ScrubRequests, Scrubbed};
