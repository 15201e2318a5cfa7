//! How far a load has come, and the bar that shows it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::super::error::CliError;

/// Counted by the side that reads the file, read by the side that shows progress.
#[derive(Debug, Default)]
pub(super) struct Meter {
    bytes: AtomicU64,
    rows: AtomicU64,
    commits: AtomicU64,
    failure: Mutex<Option<CliError>>,
}

impl Meter {
    /// Bytes of the file that were read.
    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Rows that were read, for formats whose rows can be counted on the way.
    pub(super) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// A commit was answered.
    pub(super) fn add_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// The file cannot be read on; the first failure counts.
    pub(super) fn fail(&self, failure: CliError) {
        self.failure().get_or_insert(failure);
    }

    pub(super) fn take_failure(&self) -> Option<CliError> {
        self.failure().take()
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<CliError>> {
        self.failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The failure of a load of which some chunks are committed says so.
    pub(super) fn with_commits(&self, failure: CliError) -> CliError {
        match self.commits.load(Ordering::Relaxed) {
            0 => failure,
            commits => CliError::Partly {
                failure: Box::new(failure),
                commits,
            },
        }
    }

    /// Brings the bar up to date. `known_rows` are those of the whole file, where the file says.
    pub(super) fn show(&self, bar: &ProgressBar, known_rows: Option<u64>, elapsed: Duration) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let total = bar.length().unwrap_or(0).max(1);
        let rows = known_rows.map_or_else(
            || self.rows(),
            |rows| (rows as f64 * (bytes as f64 / total as f64)) as u64,
        );
        let rate = HumanCount(per_second(rows, elapsed));
        let commits = match self.commits.load(Ordering::Relaxed) {
            0 if bytes >= total => ", waiting for the commit".to_owned(),
            0 => String::new(),
            commits => format!(", {commits} commits"),
        };
        bar.set_position(bytes);
        bar.set_message(format!("{rate} rows/s{commits}"));
    }
}

/// A bar over the file's bytes on standard error; indicatif hides it where that is no terminal.
pub(super) fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {msg}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

pub(super) fn per_second(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64().max(0.001)) as u64
}
