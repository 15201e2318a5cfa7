//! SIGKILL at random moments, from outside: the writer or a replica of one graph, over and over, under load.
//!
//! After every kill: the victim comes back to its work, and what was acknowledged is read from it by its `tx_id`. Now and then,
//! and at the end, every node is compared with the model.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::harness::{Harness, READY_WITHIN};
use super::report::{seconds, table};
use super::running::{Running, remove};
use super::workload::Habits;
use super::{Options, PartReport, TortureError};

const KILLS: u32 = 200;
const KILLS_SMALL: u32 = 5;
/// Kills between two comparisons: the log and the graph stay small enough to compare often.
const BATCH: u32 = 25;
/// A victim is killed at a random moment within this time after it was back.
const WITHIN_MS: u64 = 1500;
/// A wiped replica builds its graph anew.
const WIPED: f64 = 0.15;
/// The next kill comes while the victim still starts.
const AT_ONCE: f64 = 0.2;
const SETTINGS: &str =
    "checkpoint_commits=25,heartbeat_ms=500,lease_ttl_ms=3000,deferral_min_rows=60,deferral_quiet_ms=50";

#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    recovered: Vec<Duration>,
}

impl Tally {
    fn row(&self, name: &str) -> [String; 4] {
        let mut sorted = self.recovered.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let slowest = sorted.last().copied().unwrap_or_default();
        [
            name.to_owned(),
            self.kills.to_string(),
            seconds(median),
            seconds(slowest),
        ]
    }
}

/// Kills and compares.
///
/// # Errors
/// When the graph cannot be started; what goes wrong later stands in the report.
pub async fn run(options: &Options) -> Result<PartReport, TortureError> {
    let kills = options
        .runs
        .unwrap_or(if options.small { KILLS_SMALL } else { KILLS });
    let directory = options.directory.join("kills");
    let started = Instant::now();
    let mut harness = Harness::new(&directory, &options.binary)?;
    harness.set_environment("SLIPSTREAM_TEST_SETTINGS", SETTINGS);
    let mut running = Running::start(harness, 2, options.seed).await?;
    let mut random = StdRng::seed_from_u64(options.seed);
    let (mut writer, mut replica) = (Tally::default(), Tally::default());
    let mut report = PartReport::default();
    let (mut done, mut lost, mut torn, mut forked) = (0, 0, 0, 0);
    let (mut acknowledged, mut reads) = (0, 0);
    while done < kills {
        running.work(Habits::default());
        let mut failed = None;
        for _ in 0..BATCH.min(kills - done) {
            done += 1;
            if let Err(error) = kill(&mut running, &mut random, &mut writer, &mut replica).await {
                failed = Some(format!("kill {done}: {error}"));
                break;
            }
        }
        let compared = match failed {
            None => running
                .compare()
                .await
                .map_err(|error| format!("after kill {done}: {error}")),
            Some(failure) => Err(failure),
        };
        match compared {
            Ok(verdict) => {
                let faults = &verdict.faults;
                (acknowledged, reads) = (verdict.acknowledged, verdict.reads);
                (lost, torn, forked) = (faults.lost.len(), faults.torn.len(), faults.forked.len());
                println!(
                    "  {done} kills: {acknowledged} acknowledged, {reads} reads, lost {lost}, torn {torn}, forked {forked}"
                );
                if !faults.is_empty() {
                    report.failures.extend(faults.sentences(20));
                    break;
                }
            }
            Err(failure) => {
                println!("{}", running.harness.logs_tail(15));
                report.failures.push(failure);
                break;
            }
        }
    }
    report.summary = format!(
        "random kills: {done} of {kills}, seed {}, {acknowledged} acknowledged commits, {reads} reads, lost {lost}, torn {torn}, \
         forked {forked}, {}",
        options.seed,
        seconds(started.elapsed())
    );
    let mut table = table(&["killed", "kills", "recovered in, median", "recovered in, slowest"]);
    table.add_row(writer.row("writer"));
    table.add_row(replica.row("replica"));
    report.tables.push(table);
    drop(running);
    if report.failures.is_empty() {
        remove(&directory)?;
    }
    Ok(report)
}

/// One kill and the way back.
async fn kill(
    running: &mut Running,
    random: &mut StdRng,
    writer: &mut Tally,
    replica: &mut Tally,
) -> Result<(), TortureError> {
    let delay = if random.random_bool(AT_ONCE) {
        400
    } else {
        WITHIN_MS
    };
    // A moment to die at, not a condition to wait for.
    sleep(Duration::from_millis(random.random_range(0..delay))).await;
    if random.random_bool(0.6) {
        running.writer.kill()?;
        writer.kills += 1;
        let started = Instant::now();
        running.writer.restart(None)?;
        if random.random_bool(AT_ONCE) {
            // Again, while it takes over.
            sleep(Duration::from_millis(random.random_range(0..1500))).await;
            running.writer.restart(None)?;
        }
        let before = running.history.acknowledged();
        running.history.wait_acknowledged(before, 1, READY_WITHIN).await?;
        writer.recovered.push(started.elapsed());
    } else {
        let index = random.random_range(0..running.replicas.len());
        let victim = &mut running.replicas[index];
        victim.kill()?;
        replica.kills += 1;
        if random.random_bool(WIPED) {
            running.harness.wipe(&victim.spec.name)?;
        }
        let started = Instant::now();
        victim.restart(None)?;
        let head = running.history.newest().map_or(0, |answer| answer.seq);
        victim.wait_seq(head, READY_WITHIN).await?;
        replica.recovered.push(started.elapsed());
    }
    Ok(())
}
