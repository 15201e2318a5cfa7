//! Zombies: a writer is stopped (SIGSTOP) at a random moment under load, or at a fail point; another one takes over and commits;
//! the first continues. Nothing it does from then on may be seen, and it must end by itself.
//!
//! The two writers change places from trial to trial: the one that took over is the next to be stopped. Every trial looks at the
//! log since the last one: one record per seq, one chain, epochs that rise, every answer where it said. All nodes are compared
//! with the model now and then, and at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::harness::{Crash, Harness, NodeProcess, READY_WITHIN};
use super::log_book::LogBook;
use super::model_check::{Faults, differences, log_faults, read_rows, replay};
use super::reads::Reader;
use super::report::{seconds, table};
use super::running::{CONVERGES_WITHIN, remove};
use super::workload::{Habits, History, Load};
use super::{Options, PartReport, TortureError};
use crate::wait::{Look, until};

const TRIALS: u32 = 200;
const TRIALS_SMALL: u32 = 5;
/// Trials on one graph.
const BATCH: u32 = 20;
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const FENCED_WITHIN: Duration = Duration::from_secs(60);
const SETTINGS: &str = "checkpoint_commits=25,heartbeat_ms=1500,deferral_min_rows=60,deferral_quiet_ms=50";
/// Where a writer is stopped in the middle of a commit.
const POINTS: [&str; 9] = [
    "writer::before_lance",
    "writer::between_tables",
    "writer::after_lance",
    "writer::before_record",
    "writer::after_record",
    "writer::before_graph_commit",
    "writer::before_answer",
    "writer::before_beat",
    "writer::after_stage",
];

/// What trials showed.
#[derive(Debug, Default)]
struct Tally {
    trials: u32,
    /// Of those, stopped in the middle of a commit.
    at_points: u32,
    /// Stopped while they held a lock of the store, so that nobody could take over; stopped again elsewhere.
    held_locks: u32,
    faults: Faults,
    acknowledged: usize,
    /// Times from the start of the second writer to its first answer.
    took_over: Vec<Duration>,
    /// Times from SIGCONT to the end of the first writer.
    fenced: Vec<Duration>,
}

/// Stops, takes over, continues.
///
/// # Errors
/// When a graph cannot be started; what goes wrong in a trial stands in the report.
pub async fn run(options: &Options) -> Result<PartReport, TortureError> {
    let trials = options
        .runs
        .unwrap_or(if options.small { TRIALS_SMALL } else { TRIALS });
    let started = Instant::now();
    let mut report = PartReport::default();
    let mut tally = Tally::default();
    let mut batch = 0;
    while tally.trials < trials && report.failures.is_empty() {
        let directory = options.directory.join(format!("zombies-{batch}"));
        let seed = options.seed.wrapping_add(batch);
        batch += 1;
        let mut harness = Harness::new(&directory, &options.binary)?;
        harness.set_environment("SLIPSTREAM_TEST_SETTINGS", SETTINGS);
        let wanted = BATCH.min(trials - tally.trials);
        let outcome = batch_of(&harness, wanted, seed, &mut tally).await;
        if let Err(error) = outcome {
            println!("{}", harness.logs_tail(15));
            report
                .failures
                .push(format!("trial {}, seed {seed}: {error}", tally.trials));
        }
        report.failures.extend(tally.faults.sentences(20));
        println!(
            "  {} trials: {} acknowledged, {} faults",
            tally.trials,
            tally.acknowledged,
            report.failures.len()
        );
        if report.failures.is_empty() {
            remove(&directory)?;
        }
    }
    report.summary = format!(
        "zombies: {} of {trials} trials ({} stopped within a commit, {} first with a lock of the store), seed {}, {}",
        tally.trials,
        tally.at_points,
        tally.held_locks,
        options.seed,
        seconds(started.elapsed())
    );
    let mut table = table(&[
        "trials",
        "acknowledged commits",
        "lost",
        "torn",
        "forked",
        "took over in, median",
        "took over in, slowest",
        "zombie ended in, median",
        "zombie ended in, slowest",
    ]);
    let (took, fenced) = (spread(&tally.took_over), spread(&tally.fenced));
    table.add_row([
        tally.trials.to_string(),
        tally.acknowledged.to_string(),
        tally.faults.lost.len().to_string(),
        tally.faults.torn.len().to_string(),
        tally.faults.forked.len().to_string(),
        took.0,
        took.1,
        fenced.0,
        fenced.1,
    ]);
    report.tables.push(table);
    Ok(report)
}

/// Median and maximum.
fn spread(times: &[Duration]) -> (String, String) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| seconds(sorted.get(index).copied().unwrap_or_default());
    (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

/// Some trials on one graph, and the comparison of all its nodes.
async fn batch_of(harness: &Harness, trials: u32, seed: u64, tally: &mut Tally) -> Result<(), TortureError> {
    let mut random = StdRng::seed_from_u64(seed);
    let history: Arc<History> = Arc::default();
    let book = LogBook::follow(&harness.store());
    let mut active = harness.start_writer("writer-a")?;
    active.wait_ready(READY_WITHIN).await?;
    let mut waiting = harness.start_writer("writer-b")?;
    waiting.kill()?;
    let mut replica = harness.start_replica("replica-1")?;
    replica.wait_ready(READY_WITHIN).await?;
    let nodes = vec![active.node(), waiting.node(), replica.node()];
    let reader = Reader::start(nodes, &history, !seed);
    for number in 0..trials {
        tally.trials += 1;
        let trial = Trial {
            history: &history,
            name: format!("{}-{number}", tally.trials),
            seed: random.random(),
        };
        // Every other one in the middle of a commit, at each place in turn.
        let point = (number % 2 == 1).then(|| POINTS[tally.at_points as usize % POINTS.len()]);
        tally.at_points += u32::from(point.is_some());
        trial
            .run(&mut active, &mut waiting, point, &mut random, tally)
            .await?;
        std::mem::swap(&mut active, &mut waiting);
    }
    reader.stop().await;
    let log = book.read();
    let answered = history.entries();
    tally.acknowledged += history.acknowledged();
    tally.faults.extend(history.faults());
    tally.faults.extend(log_faults(&log, &answered));
    let expected = replay(&log, &answered);
    let (head, tx_id) = log
        .last()
        .map_or((0, String::new()), |commit| (commit.seq, commit.tx_id.clone()));
    let mut fresh = harness.start_replica("fresh")?;
    for process in [&mut active, &mut replica, &mut fresh] {
        process.wait_seq(head, CONVERGES_WITHIN).await?;
        let rows = read_rows(&process.node(), &tx_id).await?;
        tally
            .faults
            .lost
            .extend(differences(&process.spec.name, &expected, &rows));
    }
    Ok(())
}

struct Trial<'a> {
    history: &'a Arc<History>,
    name: String,
    seed: u64,
}

impl Trial<'_> {
    /// Waits for so many acknowledged commits, or for the end of the writer that is to make them.
    async fn answered(&self, commits: usize, writer: &mut NodeProcess) -> Result<(), TortureError> {
        let what = format!("{commits} acknowledged commits");
        until(&what, READY_WITHIN, async || {
            match (self.history.acknowledged(), writer.ended()) {
                (now, _) if now >= commits => Look::Found(Ok(())),
                (_, Ok(Some(status))) => {
                    let name = writer.spec.name.clone();
                    Look::Found(Err(TortureError::Ended { name, status }))
                }
                (_, Err(error)) => Look::Found(Err(error)),
                (now, Ok(None)) => Look::NotYet(format!("{now}")),
            }
        })
        .await?
    }

    /// `first` writes and is stopped, `second` takes over and commits, `first` continues and must end.
    async fn run(
        &self,
        first: &mut NodeProcess,
        second: &mut NodeProcess,
        point: Option<&str>,
        random: &mut StdRng,
        tally: &mut Tally,
    ) -> Result<(), TortureError> {
        let habits = Habits::default();
        if let Some(point) = point {
            // It needs its point from the start.
            let is_rare = point.ends_with("beat") || point.ends_with("stage");
            let nth = if is_rare { 1 } else { random.random_range(1..=4) };
            first.restart(Some(&Crash::stop(point, nth)))?;
        }
        let before = self.history.acknowledged();
        let old = Load::start(
            &format!("{}-old", self.name),
            &first.node(),
            self.history,
            habits,
            self.seed,
        );
        match point {
            Some(point) => {
                let what = format!("{} to stop at {point}", first.spec.name);
                until(&what, STOPPED_WITHIN, async || match first.is_stopped() {
                    true => Look::Found(()),
                    false => Look::NotYet("it runs".to_owned()),
                })
                .await?;
            }
            None => {
                self.history.wait_acknowledged(before, 2, READY_WITHIN).await?;
                // A moment to stop at, not a condition to wait for.
                sleep(Duration::from_millis(random.random_range(0..250))).await;
                first.signal(Signal::SIGSTOP)?;
            }
        }
        let before = self.history.acknowledged();
        let mut started = Instant::now();
        second.restart(None)?;
        let new = Load::start(
            &format!("{}-new", self.name),
            &second.node(),
            self.history,
            habits,
            !self.seed,
        );
        while let Err(error) = self.answered(before + 3, second).await {
            if second.ended()?.is_none() || !second.logged_lately("failed to lock") {
                return Err(error);
            }
            // The first one was stopped while it held a lock of the store: a directory cannot take it away. Elsewhere.
            tally.held_locks += 1;
            first.signal(Signal::SIGCONT)?;
            sleep(Duration::from_millis(random.random_range(50..250))).await;
            first.signal(Signal::SIGSTOP)?;
            started = Instant::now();
            second.restart(None)?;
        }
        tally.took_over.push(started.elapsed());
        first.signal(Signal::SIGCONT)?;
        let continued = Instant::now();
        // Its clients go on asking it, and the other writer goes on committing.
        let ended = first.wait_ended(FENCED_WITHIN).await?;
        tally.fenced.push(continued.elapsed());
        if ended.success() {
            tally.faults.forked.push(format!(
                "trial {}: the first writer ended with success instead of being fenced",
                self.name
            ));
        }
        let before = self.history.acknowledged();
        self.history.wait_acknowledged(before, 2, READY_WITHIN).await?;
        old.stop().await;
        new.stop().await;
        Ok(())
    }
}
