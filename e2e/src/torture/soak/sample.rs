//! What the processes and directories look like at one moment.
//!
//! Sizes are bytes of files as they are read, not blocks on the disk: a bucket has no blocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::load::Load;
use super::slope::{Sample as Point, Slope, slope};
use super::{Cast, Harness, TortureError};
use crate::report::Latencies;

const MIB: f64 = 1024.0 * 1024.0;
/// How the name of such a series ends.
pub(super) const DATA_DIRECTORY: &str = "data directory, MiB";

/// Bytes and files below a directory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Place {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// One moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    pub(super) at: Duration,
    /// Resident MiB and open files by process.
    processes: BTreeMap<String, (f64, f64)>,
    /// The store's parts by their directory.
    pub(super) store: BTreeMap<String, Place>,
    /// Each node's data directory.
    data: BTreeMap<String, Place>,
    /// p50 and p99 since the sample before, in milliseconds.
    writes: (f64, f64),
    reads: (f64, f64),
    head: u64,
    /// Of the replica that is furthest behind.
    lag_commits: u64,
}

impl Sample {
    /// The whole store.
    pub(super) fn bucket(&self) -> Place {
        total(self.store.values())
    }

    /// A line for people.
    pub(super) fn line(&self) -> String {
        let resident: Vec<String> = self
            .processes
            .values()
            .map(|(mib, _)| format!("{mib:.0}"))
            .collect();
        let bucket = self.bucket();
        let data = total(self.data.values());
        format!(
            "{:5.0} s  seq {}, lag {}, commits p50 {:.1} ms p99 {:.1} ms, reads p99 {:.1} ms, resident {} MiB, \
             store {:.1} MiB in {} files, data {:.1} MiB in {} files",
            self.at.as_secs_f64(),
            self.head,
            self.lag_commits,
            self.writes.0,
            self.writes.1,
            self.reads.1,
            resident.join("/"),
            bucket.bytes as f64 / MIB,
            bucket.files,
            data.bytes as f64 / MIB,
            data.files,
        )
    }

    /// Every figure with its name and unit, and how much of it is nothing.
    fn figures(&self) -> Vec<(String, f64, f64)> {
        let mut figures = Vec::new();
        for (name, (mib, open)) in &self.processes {
            figures.push((format!("{name}: resident memory, MiB"), *mib, 8.0));
            figures.push((format!("{name}: open files"), *open, 5.0));
        }
        let data = |(name, place): (&String, &Place)| {
            let (mib, files) = (place.bytes as f64 / MIB, place.files as f64);
            [
                (format!("{name}: {DATA_DIRECTORY}"), mib, 8.0),
                (format!("{name}: files in it"), files, 5.0),
            ]
        };
        figures.extend(self.data.iter().flat_map(data));
        let bucket = self.bucket();
        figures.push(("store, MiB".to_owned(), bucket.bytes as f64 / MIB, 2.0));
        figures.push(("store, files".to_owned(), bucket.files as f64, 100.0));
        for (name, place) in &self.store {
            // Snapshots come and go whole; they are part of the sum.
            if name == "lance" || name == "commits" {
                figures.push((format!("store, {name}/, files"), place.files as f64, 100.0));
            }
        }
        figures.push(("commit latency p50, ms".to_owned(), self.writes.0, 2.0));
        figures.push(("commit latency p99, ms".to_owned(), self.writes.1, 10.0));
        figures.push(("read latency p50, ms".to_owned(), self.reads.0, 2.0));
        figures.push(("read latency p99, ms".to_owned(), self.reads.1, 10.0));
        figures.push((
            "lag of the slowest replica, commits".to_owned(),
            self.lag_commits as f64,
            10.0,
        ));
        figures
    }
}

/// All samples of a run.
#[derive(Debug, Default)]
pub(super) struct Series {
    samples: Vec<Sample>,
}

impl Series {
    pub(super) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Each figure's line through the second half.
    pub(super) fn slopes(&self) -> Vec<(String, Slope)> {
        let mut points: Vec<(String, f64, Vec<Point>)> = Vec::new();
        for sample in &self.samples {
            for (name, value, small) in sample.figures() {
                match points.iter_mut().find(|(found, ..)| *found == name) {
                    Some((_, _, points)) => points.push((sample.at, value)),
                    None => points.push((name, small, vec![(sample.at, value)])),
                }
            }
        }
        points
            .into_iter()
            .filter_map(|(name, small, points)| Some((name, slope(&points, small)?)))
            .collect()
    }

    /// Commits per second over all samples.
    pub(super) fn commits_per_second(&self) -> f64 {
        match (self.samples.first(), self.samples.last()) {
            (Some(first), Some(last)) if last.at > first.at => {
                (last.head - first.head) as f64 / (last.at - first.at).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

/// Looks at everything now.
pub(super) async fn take(
    cast: &Cast,
    harness: &Harness,
    load: &Load,
    at: Duration,
) -> Result<Sample, TortureError> {
    let mut sample = Sample {
        at,
        ..Sample::default()
    };
    let (writes, reads) = load.latencies();
    (sample.writes, sample.reads) = (p50_and_p99(&writes), p50_and_p99(&reads));
    for process in cast.all() {
        let name = process.spec.name.clone();
        let pid = process.pid().unwrap_or_default();
        sample
            .processes
            .insert(name.clone(), (resident_mib(pid), open_files(pid)));
        let directory = process.spec.data_dir.clone();
        sample.data.insert(name, walk(&directory).await);
        let status = process.node().status().await?;
        sample.head = sample.head.max(status.head.seq);
        let lag = status.head.seq.saturating_sub(status.seq.unwrap_or_default());
        sample.lag_commits = sample.lag_commits.max(lag);
    }
    let store = harness.store();
    let entries = std::fs::read_dir(&store).map_err(TortureError::system("list the store"))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        sample.store.insert(name, walk(&entry.path()).await);
    }
    Ok(sample)
}

fn p50_and_p99(latencies: &Latencies) -> (f64, f64) {
    let ms = |percent| latencies.percentile(percent).as_secs_f64() * 1000.0;
    (ms(50), ms(99))
}

/// Off the runtime's threads: a store has tens of thousands of files. Files that go meanwhile are not counted.
pub(super) async fn walk(directory: &Path) -> Place {
    let directory = directory.to_owned();
    let walked = tokio::task::spawn_blocking(move || walk_now(&directory));
    walked.await.unwrap_or_default()
}

fn walk_now(path: &Path) -> Place {
    let Ok(about) = path.symlink_metadata() else {
        return Place::default();
    };
    if !about.is_dir() {
        return Place {
            bytes: about.len(),
            files: 1,
        };
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return Place::default();
    };
    let inner: Vec<Place> = entries.flatten().map(|entry| walk_now(&entry.path())).collect();
    total(inner.iter())
}

fn total<'a>(places: impl Iterator<Item = &'a Place>) -> Place {
    places.fold(Place::default(), |sum, place| Place {
        bytes: sum.bytes + place.bytes,
        files: sum.files + place.files,
    })
}

/// 0 where the process has gone.
fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    kib / 1024.0
}

fn open_files(pid: u32) -> f64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0.0, |entries| entries.count() as f64)
}
