//! Plain values that a process runs with, from the config and the command line; defaults in one place.

use std::path::PathBuf;
use std::time::Duration;

use crds::SidecarConfig;

use crate::graph::EngineLimits;

/// Settings of one writer or replica process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This process's name in leases, `writer.json` and status.
    pub holder: String,
    /// Where the graph and spools are kept.
    pub data_dir: PathBuf,
    pub limits: EngineLimits,
    /// Client transactions waiting for the writer before it answers 429.
    pub queue: usize,
    pub group: GroupLimits,
    /// Rows per batch of a bulk request.
    pub bulk_batch_rows: usize,
    /// Queries running at the same time; more wait.
    pub queries: usize,
    /// How often the writer proves in `writer.json` that it lives.
    pub heartbeat: Duration,
    /// How long a replica's pins hold after its last sign of life.
    pub lease_ttl: Duration,
    /// Commits that a replica applies as one range at most.
    pub coalesce: usize,
    /// Commits between two checkpoints of the local graph.
    pub checkpoint_commits: u64,
}

/// Bounds of one commit made of several clients' transactions.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    pub rows: usize,
    pub bytes: usize,
    /// How long the first transaction waits for company.
    pub wait: Duration,
}

impl Settings {
    /// Settings for a process that keeps its state in `data_dir`, with the limits that the config names.
    pub fn new(config: &SidecarConfig, holder: String, data_dir: PathBuf) -> Self {
        let defaults = EngineLimits::default();
        let limits = EngineLimits {
            buffer_pool_bytes: config
                .limits
                .buffer_pool_bytes
                .unwrap_or(defaults.buffer_pool_bytes),
            threads: config.limits.query_threads.map_or(defaults.threads, u64::from),
            ..defaults
        };
        Self {
            holder,
            data_dir,
            limits,
            queue: config
                .limits
                .queue_transactions
                .map_or(1024, |queue| queue as usize),
            group: GroupLimits {
                rows: 10_000,
                bytes: 16 << 20,
                wait: Duration::from_millis(2),
            },
            bulk_batch_rows: 16 * 1024,
            queries: 8,
            heartbeat: Duration::from_secs(5),
            lease_ttl: Duration::from_secs(60),
            coalesce: 256,
            checkpoint_commits: 500,
        }
    }
}
