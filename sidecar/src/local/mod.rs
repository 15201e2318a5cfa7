//! `slipstream local`: a graph on this machine, its writer and replicas as processes of this same program.
//!
//! ```text
//! resource file ── resource ──> edit ──> config.yaml ──> children re-read it
//!                                └────> plan (what should run) ──> supervisor ──> process (start, signal, exit)
//! /v1/status of the children ──────────────────────────────────────────┴──> screen
//! ```
//!
//! Owns: which processes run, their ports and directories, following edits of the resource file.
//! Does not own: what the processes do. A child that crashes, or is fenced, is started again; it continues from the store.
//!
//! Guarantee: children never outlive the supervisor. They are stopped in order (replicas, then the writer) when it is
//! asked to stop; when it dies without a word, the pipe that is their standard input ends, and with
//! `--exit-with-parent` they stop by themselves.

mod data_dir;
mod edit;
mod nodes;
mod plan;
mod process;
mod resource;
mod screen;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{CliError, DEFAULT_PORT};
use process::Program;
use supervisor::Supervisor;

/// Arguments of `slipstream local`.
#[derive(Debug, Clone, Args)]
pub struct LocalArgs {
    /// The resource; edits of it are followed while it runs
    #[arg(short, long, value_name = "YAML")]
    pub file: PathBuf,
    /// The writer's port on 127.0.0.1; replica n listens on the n-th after it
    #[arg(long, default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Where the store, the local graphs and the logs are kept
    #[arg(long, value_name = "DIR", default_value = ".slipstream")]
    pub data_dir: PathBuf,
    /// Use the storage and the NATS server that the resource names, with credentials from the environment, instead of a
    /// store below --data-dir and polling
    #[arg(long)]
    pub remote: bool,
    /// Print a line when something changes, instead of a table that is redrawn
    #[arg(long)]
    pub no_table: bool,
}

/// Why `slipstream local` cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {detail}", path.display())]
    Resource { path: PathBuf, detail: String },
    #[error("another `slipstream local` runs in {} (process {process}); stop it, or name another --data-dir", path.display())]
    Locked { path: PathBuf, process: String },
    #[error("{} belongs to graph {found}, and the resource is graph {expected}; name another --data-dir", path.display())]
    OtherGraph {
        path: PathBuf,
        found: String,
        expected: String,
    },
    #[error("the path {} has a character that a storage URI cannot have (%, ? or #); name another --data-dir", path.display())]
    DataDirName { path: PathBuf },
    #[error(
        "port {port} of 127.0.0.1 is taken ({source}); stop what listens there, or choose others with --port"
    )]
    Port { port: u16, source: std::io::Error },
    #[error("failed to {action}: {source}")]
    System {
        action: &'static str,
        source: std::io::Error,
    },
}

/// Runs the graph until it is interrupted; then all its processes have ended.
///
/// # Errors
/// When it cannot begin: a wrong resource, a data directory that is in use. Later failures are printed, not returned.
pub async fn run(args: LocalArgs) -> Result<(), CliError> {
    Ok(run_until_interrupted(args).await?)
}

async fn run_until_interrupted(args: LocalArgs) -> Result<(), LocalError> {
    let system = |action| move |source| LocalError::System { action, source };
    let executable = std::env::current_exe().map_err(system("find this program's own file"))?;
    let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
    let mut interrupts = Vec::new();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        interrupts.push(signal(kind).map_err(system("listen for signals"))?);
    }
    for mut interrupt in interrupts {
        let (stop, hurry) = (stop.clone(), hurry.clone());
        tokio::spawn(async move {
            while interrupt.recv().await.is_some() {
                if stop.is_cancelled() {
                    hurry.cancel()
                } else {
                    stop.cancel()
                }
            }
        });
    }
    let program = Program {
        executable,
        first_arguments: Vec::new(),
    };
    let supervisor = Supervisor::new(args, program)?;
    wait_for_ports(supervisor.ports()).await?;
    supervisor.run(stop, hurry).await
}

/// Processes of a supervisor that was killed a moment ago are still on their way out; whoever holds a port longer is not ours.
async fn wait_for_ports(ports: impl Iterator<Item = u16>) -> Result<(), LocalError> {
    let deadline = tokio::time::Instant::now() + PORT_WAIT;
    for port in ports {
        while let Err(source) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            if tokio::time::Instant::now() > deadline {
                return Err(LocalError::Port { port, source });
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// How long a port may be taken at start.
const PORT_WAIT: std::time::Duration = std::time::Duration::from_secs(3);
