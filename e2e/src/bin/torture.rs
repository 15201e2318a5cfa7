//! Tortures a graph in real processes and says what was lost: crash matrix, random kills, zombies, servers, consistency, soak.
//!
//! Exits 0 only if nothing was lost, torn or forked, and everything that was to happen did happen.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use rand::Rng as _;
use tokio::signal::unix::{SignalKind, signal};

use slipstream_e2e::local_process::find_binary;
use slipstream_e2e::torture::consistency::Failing;
use slipstream_e2e::torture::{self, Options, PartReport, TortureError};

/// A part of the torture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// SIGKILL at every fail point of the sidecar
    Matrix,
    /// SIGKILL at random moments
    Kills,
    /// SIGSTOP, another writer takes over, SIGCONT
    Zombies,
    /// Files of store, local graphs and snapshots are cut off, changed, missing or garbage
    Damage,
    /// Random reads and writes beside failures; a checker judges everything that clients saw
    Consistency,
    /// The same beside an S3 server, a NATS server and disks that fail
    Servers,
    /// Half an hour of writes beside the background work: memory, files, bucket and latencies must stay flat
    Soak,
}

/// Kills, stops and starves real processes, and compares what is left with a plain model
#[derive(Debug, Parser)]
struct Args {
    /// Few points, kills, trials and minutes
    #[arg(long)]
    small: bool,
    /// Only these parts [default: all of them]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// What random choices begin with [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Runs per crash point, kills, trials [default: each part's own]
    #[arg(long)]
    runs: Option<u32>,
    /// How long the parts go on that have no end of their own
    #[arg(long)]
    minutes: Option<f64>,
    /// The `slipstream` to torture, for the soak of a release build; without crash points, matrix and zombies fail [default: the dev build's]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where graphs and logs are put; those of failed runs stay [default: a directory for temporary files]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<bool> {
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    let directory = args.directory.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("slipstream-torture-{seed}-{}", std::process::id()))
    });
    std::fs::create_dir_all(&directory).with_context(|| format!("failed to make {}", directory.display()))?;
    // A build that goes on meanwhile must not change what is tortured.
    let binary = directory.join("slipstream");
    let program = args.program.map_or_else(find_binary, Ok)?;
    std::fs::copy(&program, &binary).with_context(|| format!("failed to copy {}", program.display()))?;
    let options = Options {
        small: args.small,
        seed,
        runs: args.runs,
        minutes: args.minutes,
        binary,
        directory: directory.clone(),
    };
    println!("seed {seed}, graphs below {}", directory.display());
    let parts: Vec<Part> = if args.only.is_empty() {
        Part::value_variants().to_vec()
    } else {
        args.only
    };
    let started = Instant::now();
    let mut failures = 0;
    for part in parts {
        // Dropped, a part ends its processes and takes its disks away.
        let report = tokio::select! {
            report = torture_by(part, &options) => report?,
            asked = asked_to_end() => bail!("ended by {}", asked?),
        };
        report.print();
        failures += report.failures.len();
    }
    println!(
        "{failures} failures, {:.0} s, seed {seed}",
        started.elapsed().as_secs_f64()
    );
    if failures == 0 {
        std::fs::remove_dir_all(&directory)
            .with_context(|| format!("failed to remove {}", directory.display()))?;
    } else {
        println!("graphs and logs of what failed: {}", directory.display());
    }
    Ok(failures == 0)
}

async fn asked_to_end() -> anyhow::Result<&'static str> {
    let mut terminated = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| "Ctrl-C").context("failed to listen for Ctrl-C"),
        _ = terminated.recv() => Ok("SIGTERM"),
    }
}

async fn torture_by(part: Part, options: &Options) -> Result<PartReport, TortureError> {
    match part {
        Part::Matrix => torture::matrix::run(options).await,
        Part::Kills => torture::random_kills::run(options).await,
        Part::Zombies => torture::zombies::run(options).await,
        Part::Damage => torture::damage::run(options).await,
        Part::Consistency => torture::consistency::run(options, Failing::Nodes).await,
        Part::Servers => torture::consistency::run(options, Failing::Servers).await,
        Part::Soak => torture::soak::run(options).await,
    }
}
