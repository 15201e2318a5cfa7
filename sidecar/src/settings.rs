//! Plain values that a process runs with, from the config and the command line; defaults in one place.

use std::path::PathBuf;
use std::time::Duration;

use crds::SidecarConfig;

use crate::graph::EngineLimits;
use crate::node::Role;
use crate::snapshot::SnapshotLimits;

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
    pub deferral: Deferral,
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
    /// Commits between two checkpoints of the local graph; one of many rows counts as several.
    pub checkpoint_commits: u64,
    /// How many commits back a client's idempotency key is known; their records are not trimmed.
    pub idempotency_commits: u64,
    pub optimizer: OptimizerSettings,
    pub snapshots: SnapshotLimits,
}

/// What no resource says about the optimizer.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerSettings {
    /// Nothing younger is ever cleaned or trimmed: far longer than a writer or replica stalls without noticing.
    pub cleaning_min_age: Duration,
    /// With `interval: auto`, from one look at the tables to the next.
    pub auto_look: Duration,
    /// A table with fewer rows gets no vector index: a scan is as fast.
    pub vector_min_rows: u64,
}

/// Bounds of one commit made of several clients' transactions.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    pub rows: usize,
    pub bytes: usize,
    /// How long the first transaction waits for company.
    pub wait: Duration,
}

/// When bulk commits run ahead of the writer's own graph, and when that follows.
#[derive(Debug, Clone, Copy)]
pub struct Deferral {
    /// Smaller bulk requests bring the graph along …
    pub min_rows: u64,
    /// … and so do those that are not, taken so many times, more than the tables hold: as in the choice between applying a
    /// delta and building anew (`replica::advance`).
    pub share: u64,
    /// The graph follows once nothing was loaded for so long, or when somebody needs it …
    pub quiet: Duration,
    /// … or when it was behind for so long.
    pub at_most: Duration,
}

impl Settings {
    /// Settings for a process that keeps its state in `data_dir`, with the limits that the config names for its role.
    pub fn new(config: &SidecarConfig, role: Role, holder: String, data_dir: PathBuf) -> Self {
        let of_role = match role {
            Role::Writer => &config.limits.writer,
            Role::Replica => &config.limits.replica,
        };
        let defaults = EngineLimits::default();
        let limits = EngineLimits {
            buffer_pool_bytes: of_role.buffer_pool_bytes.unwrap_or(defaults.buffer_pool_bytes),
            threads: of_role.query_threads.map_or(defaults.threads, u64::from),
            ..defaults
        };
        #[cfg_attr(
            not(feature = "failpoints"),
            expect(unused_mut, reason = "only tests change settings")
        )]
        let mut settings = Self {
            holder,
            data_dir,
            limits,
            queue: of_role.queue_transactions.map_or(1024, |queue| queue as usize),
            group: GroupLimits {
                rows: 10_000,
                bytes: 16 << 20,
                wait: Duration::from_millis(2),
            },
            deferral: Deferral {
                min_rows: 50_000,
                share: 5,
                quiet: Duration::from_millis(200),
                at_most: Duration::from_secs(5),
            },
            bulk_batch_rows: 16 * 1024,
            queries: 8,
            heartbeat: Duration::from_secs(5),
            lease_ttl: Duration::from_secs(60),
            coalesce: 256,
            checkpoint_commits: 500,
            idempotency_commits: 10_000,
            optimizer: OptimizerSettings {
                cleaning_min_age: Duration::from_secs(600),
                auto_look: Duration::from_secs(30),
                vector_min_rows: 10_000,
            },
            snapshots: SnapshotLimits::default(),
        };
        #[cfg(feature = "failpoints")]
        crate::test_settings::apply(&mut settings);
        settings
    }
}
