//! The scenarios on a real cluster: brings it up or uses one that runs, installs images and chart, plays one scenario after
//! the other, those that mostly wait beside them, and ends with a table of what held and what was measured.
//!
//! ```text
//! this program ─> Cluster::up or attach ─> itself again, inside the cluster's network ─> Stage ─> scenarios ─> table
//!              └─> Cluster::down, unless the cluster was there before or is to be kept
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use slipstream_e2e::cluster::{Cluster, ClusterError, Place};
use slipstream_e2e::report::{seconds, small_table};
use slipstream_e2e::scenarios::{Played, Programme, Scenario, Stage};

/// Plays scenarios on a real Kubernetes cluster that it starts by itself
#[derive(Debug, Parser)]
struct Args {
    /// Scenarios to play [default: all]
    #[arg(long, num_args = 1.., value_name = "NAME", value_parser = scenario)]
    only: Vec<Scenario>,
    /// Show the scenarios and stop
    #[arg(long)]
    list: bool,
    /// Leave the cluster running, with the namespaces of scenarios that failed
    #[arg(long)]
    keep: bool,
    /// Directory of the cluster [default: $SLIPSTREAM_CLUSTER, or one in the cache]
    #[arg(long, value_name = "DIR")]
    cluster: Option<PathBuf>,
    /// This process is inside the cluster's network
    #[arg(long, hide = true)]
    inside: bool,
}

fn scenario(name: &str) -> Result<Scenario, String> {
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    found.ok_or_else(|| "there is none of that name; --list shows all".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = if args.list {
        list();
        Ok(true)
    } else if args.inside {
        play(&args).await
    } else {
        run(&args).await
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for scenario in Scenario::ALL {
        println!("{:<25} {}", scenario.name(), scenario.about());
    }
}

fn place(args: &Args) -> Result<Place, ClusterError> {
    let default = Place::from_env()?;
    match &args.cluster {
        Some(directory) => Place::new(directory, &default.cache),
        None => Ok(default),
    }
}

/// Outside: the cluster, and this program again inside it. True when all scenarios passed.
async fn run(args: &Args) -> anyhow::Result<bool> {
    let place = place(args)?;
    let started = Instant::now();
    let (cluster, was_there) = match Cluster::attach(place.clone()) {
        Ok(cluster) => (cluster, true),
        Err(ClusterError::NotRunning(_)) => (Cluster::up(place.clone()).await?, false),
        Err(error) => return Err(error.into()),
    };
    println!(
        "cluster {} [{}]",
        if was_there { "runs" } else { "started" },
        seconds(started.elapsed())
    );
    let outcome = tokio::select! {
        outcome = inside(&cluster) => outcome,
        name = interrupted() => name.and_then(|name| bail!("interrupted by {name}")),
    };
    if was_there || args.keep {
        println!("the cluster keeps running: {}", place.state.display());
    } else {
        Cluster::down(&place).await?;
    }
    outcome
}

async fn inside(cluster: &Cluster) -> anyhow::Result<bool> {
    // Here: the first time they take Debian's packages, and from inside there is no way out of this machine.
    cluster.install_images().await?;
    let program = std::env::current_exe().context("failed to find this program's own path")?;
    let status = cluster
        .inside(&program)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .kill_on_drop(true)
        .status()
        .await
        .context("failed to run this program inside the cluster's network")?;
    Ok(status.success())
}

/// Inside: everything else.
async fn play(args: &Args) -> anyhow::Result<bool> {
    let began = Instant::now();
    let stage = Stage::prepare(Cluster::attach(place(args)?)?).await?;
    println!("images and backends installed [{}]", seconds(began.elapsed()));
    let took = stage.chart.install(&stage.cluster).await?;
    println!("chart installed by helm [{}]", seconds(took));
    let scenarios = if args.only.is_empty() {
        Scenario::ALL.to_vec()
    } else {
        args.only.clone()
    };
    let played = play_all(&Programme::of(&scenarios), &stage, args.keep).await;
    println!(
        "\n{}\n{} scenarios in {}",
        table(&played),
        played.len(),
        seconds(began.elapsed())
    );
    let failed: Vec<&str> = played
        .iter()
        .filter(|played| played.failure.is_some())
        .map(|played| played.scenario.name())
        .collect();
    if !failed.is_empty() {
        println!(
            "failed: {}; again with: --only {}",
            failed.join(", "),
            failed.join(" ")
        );
    }
    Ok(failed.is_empty())
}

async fn play_all(programme: &Programme, stage: &Stage, keep: bool) -> Vec<Played> {
    let (mut played, meanwhile) = tokio::join!(
        play_in_turn(&programme.beside, stage, keep),
        play_in_turn(&programme.meanwhile, stage, keep)
    );
    played.extend(meanwhile);
    played.extend(play_in_turn(&programme.afterwards, stage, keep).await);
    played
}

async fn play_in_turn(scenarios: &[Scenario], stage: &Stage, keep: bool) -> Vec<Played> {
    let mut played = Vec::new();
    for scenario in scenarios {
        played.push(scenario.play(stage, keep).await);
    }
    played
}

fn table(played: &[Played]) -> String {
    let mut table = small_table(&["scenario", "ok", "took", "measured"]);
    for one in played {
        let ok = if one.failure.is_none() { "yes" } else { "NO" };
        let figures: Vec<String> = one
            .figures
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        table.add_row([one.scenario.name(), ok, &seconds(one.took), &figures.join("\n")]);
    }
    table.to_string()
}

/// Completes when this process is asked to end.
async fn interrupted() -> anyhow::Result<&'static str> {
    let mut terminated = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    tokio::select! {
        ctrl_c = tokio::signal::ctrl_c() => ctrl_c.map(|()| "Ctrl-C").context("failed to listen for Ctrl-C"),
        _ = terminated.recv() => Ok("SIGTERM"),
    }
}
