//! Damage: commit records, Lance manifests, local graphs, snapshots and leases that are cut off, changed, missing or garbage.
//!
//! ```text
//! one graph with snapshots, stopped ─> a copy per case ─> damage ─> start ─┬─> healed: every node shows the model's rows
//!                                                                          └─> refused: a message names the object;
//!                                                                              once it is brought back, all is well
//! ```
//!
//! Whatever the damage, no node may show anything but the rows of one commit. Owns: the cases and what must come of them.
//! Does not own: how bytes are changed (`damage_blows`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::damage_blows::{Blow, Target};
use super::harness::{Harness, NodeProcess, READY_WITHIN};
use super::model::Rows;
use super::model_check::{differences, read_rows};
use super::report::{seconds, table};
use super::running::{Running, remove};
use super::workload::Habits;
use super::{Options, PartReport, TortureError};
use crate::client::JSON;

/// Commits between two snapshots.
const SNAPSHOT_COMMITS: u64 = 25;
/// Of the cases, chosen by the seed.
const CASES_SMALL: usize = 6;
/// A node that refuses says so within this time.
const REFUSES_WITHIN: Duration = Duration::from_secs(30);

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Both nodes show the head's rows. With a text: a log says it.
    Healed(Option<&'static str>),
    /// The writer ends with a message that has this text; back to health with the object back.
    Refused(&'static str),
    /// One of the two: some bits say nothing about the rows.
    Either(&'static str),
}

struct Case {
    target: Target,
    blow: Blow,
    /// Nodes whose disks are lost before.
    wiped: &'static [&'static str],
    /// The nodes are asked to compare their graph with Lance before their rows are looked at.
    scrub: bool,
    expected: Expected,
    runs: u32,
}

const WRITER: &str = "writer";
const REPLICA: &str = "replica-1";

fn case(target: Target, blow: Blow, expected: Expected) -> Case {
    Case {
        target,
        blow,
        wiped: &[],
        scrub: false,
        expected,
        runs: 1,
    }
}

fn cases() -> Vec<Case> {
    use Blow::{CutOff, Flip, Garbage, Remove};
    use Expected::{Either, Healed, Refused};
    use Target::*;
    let both: &[&str] = &[WRITER, REPLICA];
    let wiped = |case: Case| Case { wiped: both, ..case };
    let often = |runs: u32, case: Case| Case { runs, ..case };
    let scrubbed = |case: Case| Case { scrub: true, ..case };
    let record = "is damaged";
    let manifest = "manifest of table Account";
    vec![
        often(4, case(HeadRecord, Flip, Refused(record))),
        case(HeadRecord, CutOff, Refused(record)),
        case(HeadRecord, Garbage, Refused(record)),
        often(2, case(MiddleRecord, Flip, Refused(record))),
        case(MiddleRecord, CutOff, Refused(record)),
        case(WriterClaim, Garbage, Refused("writer.json is damaged")),
        case(WriterClaim, Remove, Healed(None)),
        case(Lease, Garbage, Healed(None)),
        case(SnapshotDuty, Garbage, Healed(None)),
        often(6, case(HeadManifest, Flip, Either("table Account"))),
        often(2, wiped(case(HeadManifest, Flip, Either("table Account")))),
        case(HeadManifest, CutOff, Refused(manifest)),
        case(HeadManifest, Remove, Refused("of table Account is not there")),
        often(8, scrubbed(case(LocalGraph, Flip, Healed(None)))),
        case(LocalGraph, CutOff, Healed(Some("the local graph cannot be used"))),
        case(
            LocalGraph,
            Garbage,
            Healed(Some("the local graph cannot be used")),
        ),
        case(LocalGraph, Remove, Healed(None)),
        often(4, scrubbed(case(LocalLog, Flip, Healed(None)))),
        scrubbed(case(LocalLog, CutOff, Healed(None))),
        case(Current, Garbage, Healed(None)),
        often(
            2,
            wiped(case(NewestSnapshotPart, Flip, Healed(Some("part-00000")))),
        ),
        wiped(case(NewestSnapshotPart, CutOff, Healed(Some("part-00000")))),
        wiped(case(NewestSnapshotPart, Remove, Healed(Some("part-00000")))),
        often(2, wiped(case(NewestSnapshotMeta, Flip, Healed(None)))),
        wiped(case(
            NewestSnapshotMeta,
            Garbage,
            Healed(Some("snapshot-meta.json")),
        )),
        wiped(case(EverySnapshot, Flip, Healed(Some("part-00000")))),
    ]
}

/// The stopped graph that every case starts from.
struct Prepared {
    harness: Harness,
    original: PathBuf,
    tx_id: String,
    seq: u64,
    rows: Rows,
}

/// Damages one thing after the other.
///
/// # Errors
/// When the graph cannot be prepared; what goes wrong later stands in the report.
pub async fn run(options: &Options) -> Result<PartReport, TortureError> {
    let started = Instant::now();
    let directory = options.directory.join("damage");
    let prepared = prepare(&directory, options).await?;
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut report = PartReport::default();
    let mut table = table(&["damaged", "how", "runs", "healed", "refused", "in, slowest"]);
    let mut runs = 0;
    let mut cases = cases();
    if options.small {
        cases.shuffle(&mut random);
        cases.truncate(CASES_SMALL);
    }
    for case in cases {
        let wanted = if options.small { 1 } else { case.runs };
        let (mut healed, mut refused, mut slowest) = (0, 0, Duration::ZERO);
        for _ in 0..wanted {
            runs += 1;
            let begun = Instant::now();
            match prepared.play(&case, &mut random).await {
                Ok(true) => healed += 1,
                Ok(false) => refused += 1,
                Err(failure) => {
                    println!("{}", prepared.harness.logs_tail(12));
                    let name = format!("{:?} {:?}", case.target, case.blow);
                    report.failures.push(format!("{name}: {failure}"));
                }
            }
            slowest = slowest.max(begun.elapsed());
        }
        let wiped = if case.wiped.is_empty() { "" } else { ", disks lost" };
        table.add_row([
            format!("{:?}{wiped}", case.target),
            format!("{:?}", case.blow),
            wanted.to_string(),
            healed.to_string(),
            refused.to_string(),
            seconds(slowest),
        ]);
    }
    report.summary = format!(
        "damage: {runs} runs, seed {}, {} failures, {}",
        options.seed,
        report.failures.len(),
        seconds(started.elapsed())
    );
    report.tables.push(table);
    if report.failures.is_empty() {
        remove(&directory)?;
    }
    Ok(report)
}

async fn prepare(directory: &Path, options: &Options) -> Result<Prepared, TortureError> {
    let harness = Harness::new(directory, &options.binary)?;
    harness.edit(|config| {
        config.snapshots.enabled = true;
        config.snapshots.schedule = "0 0 1 1 *".to_owned();
        config.snapshots.every_commits = SNAPSHOT_COMMITS;
    })?;
    let mut running = Running::start(harness, 1, options.seed).await?;
    let store = running.harness.store().join("kuzu-snapshots");
    let taken = || {
        let found = std::fs::read_dir(&store).into_iter().flatten().flatten();
        found
            .filter(|entry| entry.path().join("snapshot-meta.json").is_file())
            .count()
    };
    running.work(Habits::default());
    let deadline = Instant::now() + READY_WITHIN;
    while taken() < 2 {
        running.progress(5).await?;
        if Instant::now() > deadline {
            return Err(TortureError::NotReached("no two snapshots were taken".to_owned()));
        }
    }
    // Something that is only in the write-ahead logs of the local graphs.
    running.progress(10).await?;
    let verdict = running.compare().await?;
    if !verdict.faults.is_empty() {
        let sentences = verdict.faults.sentences(5).join("; ");
        return Err(TortureError::NotReached(format!(
            "the graph was not sound: {sentences}"
        )));
    }
    let status = running.writer.node().status().await?;
    let seq = status.seq.unwrap_or_default();
    let tx_id = status.other.get("tx_id").and_then(|tx_id| tx_id.as_str());
    let tx_id = tx_id.unwrap_or_default().to_owned();
    let rows = read_rows(&running.writer.node(), &tx_id).await?;
    // Killed: a clean end would merge the write-ahead logs.
    running.writer.kill()?;
    running.replicas.iter_mut().try_for_each(NodeProcess::kill)?;
    let original = directory.join("original");
    copy(directory, &original)?;
    let Running { harness, .. } = running;
    Ok(Prepared {
        harness,
        original,
        tx_id,
        seq,
        rows,
    })
}

impl Prepared {
    /// One case; true when everything is healthy again by itself, false when the writer refused.
    async fn play(&self, case: &Case, random: &mut StdRng) -> Result<bool, String> {
        let failed = |error: TortureError| error.to_string();
        self.lay_out().map_err(failed)?;
        for name in case.wiped {
            self.harness.wipe(name).map_err(failed)?;
        }
        let mut places = Vec::new();
        for file in case.target.files(self.harness.directory()).map_err(failed)? {
            places.push(case.blow.strike(&file, random).map_err(failed)?);
        }
        let outcome = self.start_and_look(case).await;
        outcome.map_err(|failure| format!("{}: {failure}", places.join(", ")))
    }

    async fn start_and_look(&self, case: &Case) -> Result<bool, String> {
        let failed = |error: TortureError| error.to_string();
        let mut writer = self.harness.start_writer(WRITER).map_err(failed)?;
        let mut replica = self.harness.start_replica(REPLICA).map_err(failed)?;
        let is_up = self.up(&mut writer).await?;
        match (case.expected, is_up) {
            (Expected::Refused(_), true) => return Err("the writer took it".to_owned()),
            (Expected::Healed(_), false) => return Err("the writer refused it".to_owned()),
            (Expected::Refused(text) | Expected::Either(text), false) => {
                if !writer.logged(text) {
                    return Err(format!("the writer ended without saying {text:?}"));
                }
                self.never_wrong(&replica).await?;
                drop((writer, replica));
                self.bring_back(case)?;
                writer = self.harness.start_writer(WRITER).map_err(failed)?;
                replica = self.harness.start_replica(REPLICA).map_err(failed)?;
                if !self.up(&mut writer).await? {
                    return Err("the writer refuses although the object is back".to_owned());
                }
            }
            (Expected::Healed(_) | Expected::Either(_), true) => {}
        }
        for process in [&mut writer, &mut replica] {
            if case.scrub {
                // Whatever it finds, the node heals itself; it may end over it, and is started again as a kubelet would.
                let asked: Result<serde_json::Value, _> = process.node().post("/v1/scrub", JSON, "{}").await;
                drop(asked);
                if process.ended().map_err(failed)?.is_some() {
                    process.restart(None).map_err(failed)?;
                }
            }
            process.wait_ready(READY_WITHIN).await.map_err(failed)?;
            process.wait_seq(self.seq, READY_WITHIN).await.map_err(failed)?;
            let rows = read_rows(&process.node(), &self.tx_id).await.map_err(failed)?;
            let wrong = differences(&process.spec.name, &self.rows, &rows);
            if !wrong.is_empty() {
                return Err(format!("wrong rows: {}", wrong.join("; ")));
            }
        }
        if let Expected::Healed(Some(text)) = case.expected
            && ![&writer, &replica].iter().any(|process| process.logged(text))
        {
            return Err(format!("no node's log says {text:?}"));
        }
        Ok(is_up)
    }

    /// Whether the writer became ready; false when it ended with an error. Ended by a signal, it is started again, once.
    async fn up(&self, writer: &mut NodeProcess) -> Result<bool, String> {
        for _ in 0..2 {
            match writer.wait_ready(REFUSES_WITHIN).await {
                Ok(()) => return Ok(true),
                Err(TortureError::Ended { status, .. }) if status.code().is_some() => return Ok(false),
                Err(TortureError::Ended { .. }) => {
                    writer.restart(None).map_err(|error| error.to_string())?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the writer was ended by a signal, twice".to_owned())
    }

    /// What a replica answers while the writer refuses is the rows of the head, or no answer.
    async fn never_wrong(&self, replica: &NodeProcess) -> Result<(), String> {
        let Ok(rows) = read_rows(&replica.node(), "").await else {
            return Ok(());
        };
        let wrong = differences(&replica.spec.name, &self.rows, &rows);
        match replica.node().status().await {
            Ok(status) if status.seq >= Some(self.seq) && !wrong.is_empty() => {
                Err(format!("the replica shows wrong rows: {}", wrong.join("; ")))
            }
            _ => Ok(()),
        }
    }

    /// The damaged object from a copy of the store, as a person would bring it back.
    fn bring_back(&self, case: &Case) -> Result<(), String> {
        let sound = case
            .target
            .files(&self.original)
            .map_err(|error| error.to_string())?;
        for file in sound {
            let relative = file.strip_prefix(&self.original).unwrap_or(&file);
            let place = self.harness.directory().join(relative);
            std::fs::copy(&file, &place).map_err(|error| format!("{}: {error}", place.display()))?;
        }
        Ok(())
    }

    /// The graph as it was when it was stopped.
    fn lay_out(&self) -> Result<(), TortureError> {
        for part in ["store", "nodes", "logs"] {
            remove(&self.harness.directory().join(part))?;
        }
        copy(&self.original, self.harness.directory())
    }
}

/// Copies a graph's store, nodes and logs.
fn copy(from: &Path, to: &Path) -> Result<(), TortureError> {
    let failed = || TortureError::system(format!("copy {} to {}", from.display(), to.display()));
    std::fs::create_dir_all(to).map_err(failed())?;
    for part in ["store", "nodes", "logs"] {
        let copied = Command::new("cp").arg("-a").args([&from.join(part), to]).status();
        if !copied.map_err(failed())?.success() {
            return Err(failed()(std::io::Error::other("cp failed")));
        }
    }
    Ok(())
}
