//! Keeps the tables in shape: merges fragments, updates indexes, removes what nobody needs any more.
//!
//! ```text
//!  due ─> Rewriting ─> commit ─> Indexing ─> commit ─> Cleaning ─> next due
//!         (background)  (writer)  (background)  (writer)  (background: versions, commit records, leases)
//! ```
//!
//! The background half works on pinned versions and names nothing; the writer (`writer::optimize`) names the results between
//! two commits of clients, as a commit of kind `optimize`. What a client changed meanwhile is dropped and done again next time.
//!
//! Owns: what is worth doing ([`decide`]), doing it ([`rewrite`], [`index`]), which versions are pinned ([`pins`]), removing the
//! rest ([`clean`], [`trim`]). Does not own: the commit (writer), Lance (lake).
//!
//! Crash behaviour: results that were not committed are files that no version names. Cleaning and trimming remove in an order
//! that leaves a usable graph after every single removal, and begin anew at the next run.

mod clean;
mod decide;
mod pins;
mod rewrite;
mod trim;

pub use clean::{Cleaning, CleaningOutcome};
pub use decide::{Shape, TableShape, TableTask, Task, decide};
pub use pins::{Pin, PinError, cut_off, pins};
pub use rewrite::{Prepared, PreparedTable, Rewriting, index, rewrite};

use crate::commit_log::LogError;
use crate::lake::LakeError;
use crate::store::StoreError;

/// Why a run of the optimizer ended early. The next one begins anew; nothing is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum OptimizeError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to learn what is pinned: {0}")]
    Pins(#[from] PinError),
    /// A newer writer is there: nothing more may be removed.
    #[error("writer.json names another writer")]
    Fenced,
    #[error("cancelled")]
    Cancelled,
    /// The task itself went down.
    #[error("the optimizer's task failed: {0}")]
    Task(String),
    /// A crash point of a test.
    #[error("stopped at crash point {0}")]
    Crashed(&'static str),
}
