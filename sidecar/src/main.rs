//! The `slipstream` program.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use slipstream::cli::{self, Cli, Command, RoleArgs};
use slipstream::local;
use slipstream::role::{RoleOptions, run_replica, run_writer};
use telemetry::{Guard, Settings};

/// For both engines: the C++ of the graph engine finds this `malloc` too. Thousands of small allocations a commit and large ones that come
/// and go took a third of all processor time with glibc's, which kept several times what was in use unless it mapped every large one anew.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Two are linked in, so that rustls cannot choose one. It fails only where one was chosen already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match slipstream::crash_points::arm_from_environment() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    let cli = Cli::parse();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Queries run on blocking threads, and the engine's Cypher parser recurses deeply.
        .thread_stack_size(16 << 20)
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let result = runtime.block_on(run(cli.command));
            // A query that still runs must not hold up the exit.
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            result
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            leave_last_words(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Leaves the error where a kubelet looks for it and shows it in the pod's status: its default `terminationMessagePath`. Elsewhere
/// there is no such file, and none is made.
fn leave_last_words(words: &str) {
    let mut existing = OpenOptions::new();
    existing.write(true).truncate(true);
    // The words are on standard error too, and there is nothing else to do about a failure.
    let _ = existing
        .open("/dev/termination-log")
        .and_then(|mut file| file.write_all(words.as_bytes()));
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Writer(args) => {
            let _telemetry = telemetry("writer", "info")?;
            run_writer(&options(args.role, args.holder)).await?;
        }
        Command::Replica(args) => {
            let _telemetry = telemetry("replica", "info")?;
            run_replica(&options(args.role, args.id)).await?;
        }
        Command::Local(args) => {
            let _telemetry = telemetry("local", "warn")?;
            local::run(args).await?;
        }
        Command::Load(args) => cli::load::run(args).await?,
        Command::Query(args) => cli::query::run(args).await?,
        Command::Status(args) => cli::status::run(args).await?,
        Command::Log(args) => cli::log::run(args).await?,
        Command::Validate(args) => cli::validate::run(args)?,
        Command::Snapshot(args) => cli::snapshot::run(args).await?,
        Command::Verify(args) => cli::verify::run(args).await?,
        Command::Cleanup(args) => {
            let _telemetry = telemetry("cleanup", "warn")?;
            cli::cleanup::run(args).await?;
        }
    }
    Ok(())
}

fn options(args: RoleArgs, name: Option<String>) -> RoleOptions {
    let host = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    RoleOptions {
        config: args.config,
        data_dir: args.data_dir,
        listen: args.listen,
        holder: name
            .or_else(host)
            .unwrap_or_else(|| format!("process-{}", std::process::id())),
        exit_with_parent: args.exit_with_parent,
    }
}

/// `RUST_LOG` chooses what is logged; Lance's own chatter is left out unless asked for.
fn telemetry(program: &str, level: &str) -> Result<Guard> {
    let settings = Settings::new(
        format!("slipstream-{program}"),
        format!("warn,slipstream={level}"),
    );
    Ok(telemetry::init(&settings)?)
}
