//! Torture: real processes that are killed, stopped and starved, and a plain model that says what must be there afterwards.
//!
//! ```text
//! bin/torture ─> run(Part) ─┬─> matrix ─────── SIGKILL at every fail point of the sidecar
//!                           ├─> random_kills ─ SIGKILL at random moments
//!                           ├─> zombies ────── SIGSTOP, another writer takes over, SIGCONT
//!                           ├─> damage ─────── files cut off, changed, missing
//!                           ├─> consistency ── every answer beside faults of nodes, or of servers and disks, judged (`history`, `checker`)
//!                           └─> soak ───────── a steady load beside the background work: nothing may grow
//!      all of them ─> harness ── a graph's directories, writers and replicas as processes (`node_process`)
//!                  ├> workload ─ clients that write and note every answer, readers that look for half a commit
//!                  ├> model ──── what the log says must be in every node, and the comparison
//!                  └> report ─── tables for people
//! ```
//!
//! Every part prints its seed, is bounded, and counts as failed if anything was lost or torn, or if what it wanted to happen did
//! not happen. Owns: the parts' common form. Does not own: what each part does.

pub mod checker;
pub mod consistency;
pub mod damage;
mod damage_blows;
pub mod harness;
pub mod history;
pub mod log_book;
pub mod matrix;
mod matrix_recipes;
mod matrix_staging;
pub mod model;
pub mod model_check;
mod node_process;
pub mod random_kills;
pub mod reads;
pub mod report;
mod requests;
pub mod running;
mod slow_link;
mod small_disk;
pub mod soak;
pub mod workload;
pub mod zombies;

use std::path::PathBuf;
use std::process::ExitStatus;

pub use report::PartReport;

use crate::client::ClientError;
use crate::local_process::ProcessError;
use crate::ports::NoFreePorts;
use crate::wait::TimedOut;

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Few points, kills and trials: for the tests.
    pub small: bool,
    pub seed: u64,
    /// Runs per crash point, kills, trials; each part has its own default.
    pub runs: Option<u32>,
    /// For the parts that go on for a time.
    pub minutes: Option<f64>,
    /// The `slipstream` to torture, built with its fail points.
    pub binary: PathBuf,
    /// Where graphs are put; each part makes directories of its own below it.
    pub directory: PathBuf,
}

/// Why a part could not be carried out. What is wrong with the graph stands in the [`PartReport`] instead.
#[derive(Debug, thiserror::Error)]
pub enum TortureError {
    #[error("failed to {doing}: {source}")]
    System { doing: String, source: std::io::Error },
    #[error("{name} ended by itself: {status}")]
    Ended { name: String, status: ExitStatus },
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Ports(#[from] NoFreePorts),
    #[error("failed to write the config: {0}")]
    Config(#[from] crds::ConfigError),
    #[error("failed to read or write YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    #[error(transparent)]
    Servers(#[from] crate::servers::ServersError),
    /// What was to happen did not happen, so nothing was shown.
    #[error("{0}")]
    NotReached(String),
}

impl TortureError {
    /// For `map_err`: what was being done.
    pub fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }
}
