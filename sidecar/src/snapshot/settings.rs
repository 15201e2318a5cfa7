//! Plain values of taking and restoring snapshots that no resource names.

use std::time::Duration;

/// How snapshots are cut, sent and kept.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotLimits {
    /// Bytes of the database file per part.
    pub part_bytes: usize,
    /// Parts that are compressed and sent, or fetched and written, at the same time. Each needs up to twice its bytes of memory.
    pub in_flight: usize,
    /// zstd's level.
    pub compression: i32,
    /// How long the duty holds without a sign of life.
    pub duty_ttl: Duration,
    /// What was begun so long ago and has no meta data is left over.
    pub leftover_age: Duration,
    /// From one look at what is in the store to the next, when nothing is due.
    pub look: Duration,
    /// How long a checkpoint lets running queries go first; then it waits for them and lets new ones wait.
    pub patience: Duration,
    /// Between failed attempts: at first; doubled up to twenty times this.
    pub back_off: Duration,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        Self {
            part_bytes: 8 << 20,
            in_flight: 4,
            compression: 1,
            duty_ttl: Duration::from_secs(60),
            leftover_age: Duration::from_secs(3600),
            look: Duration::from_secs(300),
            patience: Duration::from_secs(10),
            back_off: Duration::from_secs(15),
        }
    }
}
