//! The command line for people: what may be typed, and the commands that ask running nodes over HTTP.
//!
//! ```text
//! main ── Cli ─┬─ writer, replica ──> main (roles)
//!              ├─ local ────────────> local/
//!              ├─ load ─ query ─ status ─ log ─ verify ──> server ──> a node's HTTP API
//!              ├─ snapshot ─────────> a replica's HTTP API, or the store (snapshot/)
//!              ├─ validate ─────────> crds
//!              └─ cleanup ──────────> cleanup/
//! ```
//!
//! Owns: arguments and their defaults, tables and JSON for people, one clear sentence per failure.
//! Does not own: running a role (main), supervising processes (`local/`), the HTTP API (`api/`).

pub mod cleanup;
pub mod load;
pub mod log;
pub mod query;
pub mod snapshot;
pub mod status;
pub mod validate;
pub mod verify;

mod error;
mod members;
mod output;
mod problem;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::local::LocalArgs;

pub use error::CliError;
pub use members::{Member, StatusAnswer, gather, status_table};
pub use output::Output;
pub use problem::Problem;

/// Where `slipstream local` puts the writer unless told otherwise.
pub const DEFAULT_WRITER: &str = "http://127.0.0.1:7700";
/// Port of the writer under `slipstream local`; replica *n* listens on this plus *n*.
pub const DEFAULT_PORT: u16 = 7700;

/// A replicated property graph: one writer, any number of replicas.
#[derive(Debug, Parser)]
#[command(name = "slipstream", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the graph's writer
    Writer(WriterArgs),
    /// Run a replica of the graph
    Replica(ReplicaArgs),
    /// Run a graph on this machine: its writer and its replicas, as processes
    Local(LocalArgs),
    /// Load a file of rows into a table
    Load(load::LoadArgs),
    /// Ask a node a Cypher query
    Query(query::QueryArgs),
    /// Show where the writer and the replicas stand
    Status(status::StatusArgs),
    /// Show the commits of the graph
    Log(log::LogArgs),
    /// Check a resource file and say what it means
    Validate(validate::ValidateArgs),
    /// Take, show, check and restore snapshots
    Snapshot(snapshot::SnapshotArgs),
    /// Compare every node's graph with the tables it was derived from
    Verify(verify::VerifyArgs),
    /// Remove what a graph leaves outside Kubernetes: leases, JetStream consumers and, if asked for, its data
    Cleanup(cleanup::CleanupArgs),
}

/// What both roles are started with.
#[derive(Debug, Clone, Args)]
pub struct RoleArgs {
    /// The graph's config, re-read when it changes
    #[arg(long, value_name = "YAML")]
    pub config: PathBuf,
    /// Where the local graph and spooled bodies are kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Address of the HTTP API
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Stop when standard input ends: whoever started this process holds its other end
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// Arguments of `slipstream writer`.
#[derive(Debug, Clone, Args)]
pub struct WriterArgs {
    #[command(flatten)]
    pub role: RoleArgs,
    /// This writer's name in `writer.json` [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub holder: Option<String>,
}

/// Arguments of `slipstream replica`.
#[derive(Debug, Clone, Args)]
pub struct ReplicaArgs {
    #[command(flatten)]
    pub role: RoleArgs,
    /// This replica's name in its lease [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_role_listens_on_8080_unless_told_otherwise() {
        let cli =
            Cli::try_parse_from(["slipstream", "replica", "--config", "c.yaml", "--data-dir", "d"]).unwrap();
        let Command::Replica(args) = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(args.role.listen.port(), 8080);
        assert_eq!((args.id, args.role.exit_with_parent), (None, false));
    }
}
