//! The soak for people, and what counts as failed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use comfy_table::Table;

use super::Background;
use super::fresh_copy::Copied;
use super::load::{Load, RATE};
use super::sample::{DATA_DIRECTORY, Sample, Series};
use super::slope::Verdict;
use crate::torture::report::table;
use crate::torture::{Options, PartReport};

/// Where snapshots lie: each is a copy of the graph that the resource asks for, so they are not counted as left behind.
const SNAPSHOTS: &str = "kuzu-snapshots";
/// The rest of the bucket may be so many times as large as the rows by themselves.
const BUCKET: f64 = 2.0;
/// A node's data directory may be so many times as large as a graph built anew of the same rows, on average: a file may grow to two and
/// a half times its content, and by one more checkpoint, before it is built anew (`graph::outgrown` of the sidecar). It has no slope then:
/// it grows in steps of one rewritten column, and becomes small again.
const OUTGROWN: f64 = 3.5;
/// Below this the slopes are printed and not judged: caches are still filling.
const JUDGED_FROM: Duration = Duration::from_secs(10 * 60);
/// Share of the wanted transactions that must have been acknowledged.
const ENOUGH: f64 = 0.95;
const MIB: f64 = 1024.0 * 1024.0;

/// Everything a run left.
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    pub(super) series: &'a Series,
    /// After the load and the last cleaning.
    pub(super) rested: &'a Sample,
    pub(super) copied: &'a Copied,
    pub(super) background: &'a Background,
    pub(super) load: &'a Load,
    pub(super) lasted: Duration,
}

impl Run<'_> {
    pub(super) fn report(&self) -> PartReport {
        let load = self.load;
        let acknowledged = load.acknowledged.load(Ordering::Relaxed);
        let mut report = PartReport {
            summary: format!(
                "soak, seed {}: {:.1} minutes, {acknowledged} transactions acknowledged ({:.1}/s of {RATE}/s), {:.1} commits/s, {} reads; \
                 {} writes failed, {} turns missed, {} reads failed",
                self.options.seed,
                self.lasted.as_secs_f64() / 60.0,
                acknowledged as f64 / self.lasted.as_secs_f64(),
                self.series.commits_per_second(),
                load.reads.load(Ordering::Relaxed),
                load.failed.load(Ordering::Relaxed),
                load.missed_turns.load(Ordering::Relaxed),
                load.failed_reads.load(Ordering::Relaxed),
            ),
            ..PartReport::default()
        };
        self.judge_load(acknowledged, &mut report);
        let slopes = self.slopes(&mut report);
        let bucket = self.bucket(&mut report);
        let background = self.background(&mut report);
        report.tables = vec![slopes, bucket, background];
        report
    }

    fn judge_load(&self, acknowledged: u64, report: &mut PartReport) {
        let failed = [("writes", &self.load.failed), ("reads", &self.load.failed_reads)];
        for (what, count) in failed {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let first = self.load.first_problem().unwrap_or_default();
                report
                    .failures
                    .push(format!("{count} {what} failed; the first problem: {first}"));
            }
        }
        let wanted = self.lasted.as_secs_f64() * RATE as f64;
        // A short run begins with cold caches.
        if self.lasted >= JUDGED_FROM && (acknowledged as f64) < wanted * ENOUGH {
            report.failures.push(format!(
                "only {acknowledged} of {wanted:.0} transactions: the machine or the writer did not keep up"
            ));
        }
    }

    fn slopes(&self, report: &mut PartReport) -> Table {
        let columns = [
            "second half of the run",
            "mean",
            "max",
            "slope per minute",
            "± error",
            "drift in 15 min",
            "verdict",
        ];
        let mut slopes = table(&columns);
        let is_judged = self.lasted >= JUDGED_FROM;
        for (name, slope) in self.series.slopes() {
            let is_directory = name.ends_with(DATA_DIRECTORY);
            let bound = self.copied.graph.bytes as f64 / MIB * OUTGROWN;
            let verdict = match is_judged {
                true if is_directory => format!("{:.2} of {bound:.0} MiB", slope.mean / bound),
                true => slope.verdict.to_string(),
                false => "not judged".to_owned(),
            };
            slopes.add_row([
                name.clone(),
                format!("{:.1}", slope.mean),
                format!("{:.1}", slope.max),
                format!("{:+.3}", slope.per_minute),
                format!("{:.3}", slope.error_per_minute),
                format!("{:+.1} %", slope.drift() * 100.0),
                verdict,
            ]);
            if is_directory && is_judged && slope.mean > bound {
                report.failures.push(format!(
                    "{name}: {:.1} on average, expected at most {bound:.1}",
                    slope.mean
                ));
            }
            if is_judged && !is_directory && slope.verdict == Verdict::Grows {
                report.failures.push(format!(
                    "{name}: grows by {:.3} per minute from a mean of {:.1}",
                    slope.per_minute, slope.mean
                ));
            }
        }
        slopes
    }

    fn bucket(&self, report: &mut PartReport) -> Table {
        let live = self.copied.tables.bytes as f64;
        let mut bucket = table(&[
            "store after the load and a last cleaning",
            "MiB",
            "files",
            "× live data",
        ]);
        let mut row = |name: String, bytes: u64, files: u64| {
            let mib = format!("{:.1}", bytes as f64 / MIB);
            bucket.add_row([
                name,
                mib,
                files.to_string(),
                format!("{:.2}", bytes as f64 / live),
            ]);
        };
        let copied = self.copied;
        row(
            format!("live data: {} rows loaded anew", copied.rows),
            copied.tables.bytes,
            copied.tables.files,
        );
        for (name, place) in &self.rested.store {
            row(format!("{name}/"), place.bytes, place.files);
        }
        let all = self.rested.bucket();
        row("the whole bucket".to_owned(), all.bytes, all.files);
        let snapshots = self.rested.store.get(SNAPSHOTS).copied().unwrap_or_default();
        let kept = all.bytes.saturating_sub(snapshots.bytes);
        row(
            "… without the snapshots that were to be kept".to_owned(),
            kept,
            all.files.saturating_sub(snapshots.files),
        );
        // A small graph is less than what belongs to every commit and every version.
        if !self.options.small && kept as f64 > live * BUCKET {
            report.failures.push(format!(
                "the bucket is {:.2} times as large as the live data, expected at most {BUCKET}",
                kept as f64 / live
            ));
        }
        bucket
    }

    fn background(&self, report: &mut PartReport) -> Table {
        let found = self.background;
        let mut background = table(&["background work, all nodes", "count"]);
        let rows = [
            ("optimizer's runs", found.optimizes),
            ("MiB freed", found.freed_bytes / MIB),
            ("commits trimmed from the log", found.trimmed_commits),
            ("snapshots", found.snapshots_taken),
            ("scrubs", found.scrubs),
            ("rebuilds", found.rebuilds),
            ("divergences", found.divergences),
        ];
        for (what, count) in rows {
            background.add_row([what.to_owned(), format!("{count:.0}")]);
        }
        for (what, report) in [
            ("optimizer", &found.optimizer),
            ("snapshots", &found.snapshots),
            ("scrub", &found.scrub),
        ] {
            background.add_row([format!(
                "{what}, last: {}",
                crate::report::cut(&report.to_string(), 160)
            )]);
        }
        for (what, count) in [
            ("optimizer's runs", found.optimizes),
            ("freed bytes", found.freed_bytes),
            ("snapshots", found.snapshots_taken),
        ] {
            if count < 1.0 {
                report.failures.push(format!("there were no {what}"));
            }
        }
        if found.divergences > 0.0 {
            report.failures.push(format!("{} divergences", found.divergences));
        }
        background
    }
}
