//! The demo on real data: one writer and two replicas on the Debian package index, every step verified.
//!
//! Exits 0 only if every step passed. Processes are stopped in any case, except after success with `--keep`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use slipstream_e2e::debian::Debian;
use slipstream_e2e::local_process::{LocalProcess, LocalSettings, find_binary, is_alive};
use slipstream_e2e::ports::free_base_port;
use slipstream_e2e::report::{Measurements, Report, StepFailed};
use slipstream_e2e::servers::Servers;
use slipstream_e2e::steps::{self, REPLICAS, Scene, StepError};

/// Where `--keep` leaves the graph, below the current directory.
const KEPT: &str = ".slipstream/demo";
const LOG_LINES: usize = 10;

/// Shows Slipstream on real data: loads, changes, kills, scales, queries, and verifies each step
#[derive(Debug, Parser)]
struct Args {
    /// Leave the graph running and say where
    #[arg(long)]
    keep: bool,
    /// Keep the graph in a real S3 server and ring replicas through a real NATS server, started for it
    #[arg(long)]
    servers: bool,
    /// Port of the writer; replica n listens on this plus n [default: free ones are looked for]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    port: Option<u16>,
    /// Directory with debian.yaml, the Parquet files and queries/
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/debian"))]
    example: PathBuf,
}

/// The state directory; removed when dropped, unless it is to be kept.
enum State {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl State {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let state = prepare_state(args.keep)?;
    let graph = Debian::read(&args.example)?;
    let graph_file = steps::start::copy_resource(&args.example, state.path())?;
    let mut servers = None;
    if args.servers {
        let started = Servers::start(state.path(), args.keep).await?;
        started.name_in(&graph_file)?;
        servers = Some(started);
    }
    let settings = LocalSettings {
        binary: find_binary()?,
        graph_file,
        data_dir: state.path().join("data"),
        log_file: state.path().join("local.log"),
        base_port: args.port.map_or_else(free_base_port, Ok)?,
        detached: args.keep,
        remote: servers.as_ref().map(Servers::environment),
    };
    let local = LocalProcess::start(settings)?;
    std::fs::write(state.path().join("local.pid"), local.pid().to_string())
        .context("failed to note the process id")?;
    let mut scene = Scene {
        local,
        example: args.example.clone(),
        graph,
        newest_tx: String::new(),
        replicas: REPLICAS,
        measurements: Measurements::default(),
    };
    let played = tokio::select! {
        played = play(&mut scene, args.keep) => played.map_err(anyhow::Error::from),
        name = interrupted() => name.and_then(|name| bail!("interrupted by {name}; everything was stopped")),
    };
    if played.is_err() {
        eprintln!("{}", scene.local.logs_tail(LOG_LINES));
    } else if args.keep {
        scene.local.leave_running();
        if let Some(servers) = &mut servers {
            servers.leave_running();
        }
        say_where(&scene, servers.as_ref());
    }
    // Dropping the scene stops what still runs.
    played
}

async fn play(scene: &mut Scene, keep: bool) -> Result<(), StepFailed<StepError>> {
    let mut report = Report::default();
    report.step("start", steps::start::run(scene)).await?;
    report.step("load", steps::load::run(scene)).await?;
    report.step("replicate", steps::replicate::run(scene)).await?;
    report.step("change", steps::change::run(scene)).await?;
    report.step("latency", steps::latency::run(scene)).await?;
    report.step("kill", steps::kill::run(scene)).await?;
    report.step("scale", steps::scale::run(scene)).await?;
    report.step("query", steps::queries::run(scene)).await?;
    report.step("refuse", steps::refusals::run(scene)).await?;
    println!("\n{}\n", scene.measurements.table());
    if !keep {
        report.step("stop", steps::stop::run(scene)).await?;
    }
    Ok(())
}

/// Completes when this process is asked to end.
async fn interrupted() -> anyhow::Result<&'static str> {
    let mut terminated = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    tokio::select! {
        ctrl_c = tokio::signal::ctrl_c() => ctrl_c.map(|()| "Ctrl-C").context("failed to listen for Ctrl-C"),
        _ = terminated.recv() => Ok("SIGTERM"),
    }
}

fn prepare_state(keep: bool) -> anyhow::Result<State> {
    if !keep {
        let directory = tempfile::Builder::new().prefix("slipstream-demo-").tempdir();
        return Ok(State::Temporary(
            directory.context("failed to make a temporary directory")?,
        ));
    }
    let path = std::path::absolute(KEPT).context("failed to find the current directory")?;
    let pid = std::fs::read_to_string(path.join("local.pid"))
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    if let Some(pid) = pid.filter(|pid| is_alive(*pid)) {
        bail!(
            "an earlier demo still runs on {} as process {pid}; stop it with `kill {pid}`",
            path.display()
        );
    }
    if path.exists() {
        std::fs::remove_dir_all(&path)
            .with_context(|| format!("failed to remove the earlier {}", path.display()))?;
    }
    std::fs::create_dir_all(&path).with_context(|| format!("failed to make {}", path.display()))?;
    Ok(State::Kept(path))
}

fn say_where(scene: &Scene, servers: Option<&Servers>) {
    println!("The graph keeps running:");
    println!("  {:<10} {}", "writer", scene.local.writer().url);
    for node in scene.replica_nodes() {
        println!("  {:<10} {}", node.name, node.url);
    }
    let settings = &scene.local.settings;
    println!(
        "  {:<10} {} (edit `replicas` and watch it scale)",
        "resource",
        settings.graph_file.display()
    );
    println!("  {:<10} {}", "log", settings.log_file.display());
    println!("Ask it something:");
    println!(
        "  curl -s {}/v1/query -H 'content-type: application/json' \\",
        scene.local.replica(1).url
    );
    println!(
        "    -d '{{\"query\": \"MATCH (p:Package)-[:DEPENDS]->(:Package {{name: \\\"curl\\\"}}) RETURN p.name LIMIT 5\"}}'"
    );
    println!(
        "  {} query --server {} \"MATCH (p:Package) RETURN count(*)\"",
        settings.binary.display(),
        scene.local.replica(1).url
    );
    print!("Stop it:\n  kill {}", scene.local.pid());
    match servers.map(Servers::pids) {
        Some([s3, nats]) => println!("   # then the S3 and NATS servers: kill {s3} {nats}"),
        None => println!(),
    }
}
