//! What a search came by: behaviour that it must reach, or its silence about the properties would mean little.
//!
//! Kept beside the states, so that it does not make more of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Behaviour worth reaching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    FencedByRecord,
    FencedByHeartbeat,
    FencedInUndo,
    FencedInBarrier,
    OldCommitBeforeBarrier,
    StrayLeft,
    Interference,
    Redone,
    UnknownCommitted,
    UnknownNotThere,
    UnknownFenced,
    LatePutLanded,
    LatePutRefused,
    RolledForward,
    AnsweredFromLog,
    GraphFailureUndone,
    Optimized,
    Cleaned,
    Trimmed,
    StrayRecord,
    StrayRecordDetected,
    Coalesced,
    RebuiltAfterCleaning,
    JoinedAfterTrimming,
    SnapshotTaken,
    SnapshotRestored,
    SnapshotDropped,
    EventLost,
    EventForged,
    WriterBuiltAgain,
}

/// Set of [`Seen`], filled while searching.
#[derive(Debug, Default)]
pub struct Sightings(AtomicU64);

impl Sightings {
    pub(crate) fn add(&self, seen: Seen) {
        let bit = 1 << seen as u64;
        // Written rarely, asked all the time.
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether `seen` was come by.
    pub fn has(&self, seen: Seen) -> bool {
        self.0.load(Ordering::Relaxed) & (1 << seen as u64) != 0
    }
}
