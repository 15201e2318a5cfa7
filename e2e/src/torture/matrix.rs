//! The crash matrix: for every fail point of the sidecar a fresh graph under load, SIGKILL exactly there, a restart, and the
//! comparison with the model. A point that was not reached fails the run.
//!
//! Owns: the order of one run, the table. Does not own: how each point is reached (`matrix_recipes`).

use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::harness::{Harness, READY_WITHIN};
use super::matrix_recipes::{Recipe, Victim};
use super::report::{seconds, table};
use super::running::{Running, Verdict, remove};
use super::{Options, PartReport, TortureError};

/// Runs of every point unless told otherwise.
const RUNS: u32 = 1;
/// Acknowledged commits before anything happens, and after everything recovered.
const COMMITS: usize = 12;

/// What one run of one point showed.
struct Run {
    verdict: Verdict,
    recovered: Duration,
}

/// Kills at every point.
///
/// # Errors
/// When the table of points cannot be read; what goes wrong in a run stands in the report.
pub async fn run(options: &Options) -> Result<PartReport, TortureError> {
    let mut points = points(options)?;
    if options.small {
        points.retain(|point| SMALL.contains(&point.as_str()));
    }
    let runs = options.runs.unwrap_or(RUNS);
    let mut table = table(&[
        "point",
        "runs",
        "acknowledged commits",
        "lost",
        "torn",
        "forked",
        "recovered in",
    ]);
    let mut report = PartReport::default();
    let mut random = StdRng::seed_from_u64(options.seed);
    let (started, mut reads, mut acknowledged) = (Instant::now(), 0, 0);
    for point in &points {
        let (mut lost, mut torn, mut forked, mut commits) = (0, 0, 0, 0);
        let mut slowest = Duration::ZERO;
        let mut reached = 0;
        for _ in 0..runs {
            let seed = random.random();
            match once(options, point, seed).await {
                Ok(run) => {
                    reached += 1;
                    slowest = slowest.max(run.recovered);
                    let faults = &run.verdict.faults;
                    lost += faults.lost.len();
                    torn += faults.torn.len();
                    forked += faults.forked.len();
                    commits += run.verdict.acknowledged;
                    reads += run.verdict.reads;
                    for sentence in faults.sentences(5) {
                        report.failures.push(format!("{point}, seed {seed}: {sentence}"));
                    }
                }
                Err(error) => report.failures.push(format!("{point}, seed {seed}: {error}")),
            }
        }
        acknowledged += commits;
        println!(
            "  {point}: {reached} of {runs}, {commits} acknowledged, recovered in {}",
            seconds(slowest)
        );
        table.add_row([
            point.clone(),
            reached.to_string(),
            commits.to_string(),
            lost.to_string(),
            torn.to_string(),
            forked.to_string(),
            seconds(slowest),
        ]);
    }
    report.summary = format!(
        "crash matrix: {} points, {} runs each, seed {}, {acknowledged} acknowledged commits, {reads} reads, {}",
        points.len(),
        runs,
        options.seed,
        seconds(started.elapsed())
    );
    report.tables.push(table);
    Ok(report)
}

/// A few of each stage.
const SMALL: [&str; 8] = [
    "takeover::after_barrier",
    "writer::between_tables",
    "writer::after_record",
    "writer::after_stage",
    "replica::before_graph_commit",
    "replica::after_swap",
    "snapshot::before_meta",
    "optimizer::between_tables",
];

/// Every fail point of the binary.
fn points(options: &Options) -> Result<Vec<String>, TortureError> {
    let listed = Command::new(&options.binary)
        .env("SLIPSTREAM_CRASH", "list")
        .output()
        .map_err(TortureError::system(format!("run {}", options.binary.display())))?;
    let text = String::from_utf8_lossy(&listed.stdout);
    let points: Vec<String> = text.lines().map(str::to_owned).collect();
    if !listed.status.success() || points.is_empty() {
        return Err(TortureError::NotReached(format!(
            "{} lists no crash points; build it with --features slipstream-sidecar/failpoints: {}",
            options.binary.display(),
            String::from_utf8_lossy(&listed.stderr)
        )));
    }
    let wanted = std::env::var("TORTURE_POINTS").unwrap_or_default();
    Ok(points
        .into_iter()
        .filter(|point| wanted.is_empty() || wanted.split(',').any(|part| point.contains(part)))
        .collect())
}

/// One run: work, a death at `point`, recovery, work, comparison.
async fn once(options: &Options, point: &str, seed: u64) -> Result<Run, TortureError> {
    let recipe = Recipe::of(point);
    let directory = options
        .directory
        .join(format!("{}-{seed:x}", point.replace("::", "-")));
    let mut harness = Harness::new(&directory, &options.binary)?;
    recipe.prepare(&mut harness)?;
    let mut running = Running::start(harness, recipe.replicas(), seed).await?;
    let outcome = played(&mut running, &recipe, point, seed).await;
    match outcome {
        Ok(run) => {
            let is_good = run.verdict.faults.is_empty();
            drop(running);
            if is_good {
                remove(&directory)?;
            }
            Ok(run)
        }
        Err(error) => {
            println!("{}", running.harness.logs_tail(15));
            Err(error)
        }
    }
}

async fn played(running: &mut Running, recipe: &Recipe, point: &str, seed: u64) -> Result<Run, TortureError> {
    let mut random = StdRng::seed_from_u64(seed);
    running.work(recipe.habits());
    running.progress(COMMITS).await?;
    let victim = recipe.drive(running, point, &mut random).await?;
    let recovered = recover(running, victim).await?;
    recipe.afterwards(running, victim).await?;
    running.progress(COMMITS).await?;
    let verdict = running.compare().await?;
    Ok(Run { verdict, recovered })
}

/// Starts the victim again; how long until it does its work.
async fn recover(running: &mut Running, victim: Victim) -> Result<Duration, TortureError> {
    let started = Instant::now();
    match victim {
        Victim::Writer => {
            let before = running.history.acknowledged();
            running.writer.restart(None)?;
            running.history.wait_acknowledged(before, 1, READY_WITHIN).await?;
        }
        Victim::Replica(index) => {
            let head = running.history.newest().map_or(0, |answer| answer.seq);
            running.replicas[index].restart(None)?;
            running.replicas[index].wait_seq(head, READY_WITHIN).await?;
        }
    }
    Ok(started.elapsed())
}
