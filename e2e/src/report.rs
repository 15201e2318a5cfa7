//! What people see of a run: one line per step, answers as small tables, and what was measured.

use std::time::{Duration, Instant};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Longer names of measurements are cut.
const NAME_CHARACTERS: usize = 64;

/// What a step that passed has to say.
#[derive(Debug, Default)]
pub struct Passed {
    /// What was verified and measured, for the step's one line.
    pub line: String,
    /// Text below it.
    pub below: Vec<String>,
}

impl From<String> for Passed {
    fn from(line: String) -> Self {
        Self {
            line,
            below: Vec::new(),
        }
    }
}

/// A step that did not pass.
#[derive(Debug, thiserror::Error)]
#[error("step {number}, {title}")]
pub struct StepFailed<E: std::error::Error + 'static> {
    pub number: usize,
    pub title: String,
    #[source]
    pub source: E,
}

/// Prints steps as they end.
#[derive(Debug, Default)]
pub struct Report {
    steps: usize,
}

impl Report {
    /// Runs one step and prints its line.
    ///
    /// # Errors
    /// The step's own error with its number and title; nothing is printed then.
    pub async fn step<E: std::error::Error + 'static>(
        &mut self,
        title: &str,
        step: impl Future<Output = Result<Passed, E>>,
    ) -> Result<(), StepFailed<E>> {
        self.steps += 1;
        let spinner = spinner(self.steps, title);
        let started = Instant::now();
        let outcome = step.await;
        spinner.finish_and_clear();
        let passed = outcome.map_err(|source| StepFailed {
            number: self.steps,
            title: title.to_owned(),
            source,
        })?;
        println!(
            "✓ {} {title}: {} [{}]",
            self.steps,
            passed.line,
            seconds(started.elapsed())
        );
        for text in passed.below {
            println!("{text}");
        }
        Ok(())
    }
}

/// Shows that something is going on; silent where the output is no terminal.
fn spinner(number: usize, title: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(format!("{number} {title}"));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Figures with their names.
#[derive(Debug, Default)]
pub struct Measurements(Vec<(String, String)>);

impl Measurements {
    /// Adds a figure, already with its unit.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// All of them, in the order they were added.
    pub fn table(&self) -> String {
        let mut table = small_table(&["measured", "value"]);
        for (name, value) in &self.0 {
            table.add_row([&cut(name, NAME_CHARACTERS), value]);
        }
        table.to_string()
    }
}

/// A table as wide as its content, which the caller has cut.
pub fn small_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table
}

/// At most `characters` of a text.
pub fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `63,436 rows/s`
pub fn rate(rows: u64, took: Duration) -> String {
    format!(
        "{} rows/s",
        grouped((rows as f64 / took.as_secs_f64().max(1e-9)).round() as u64)
    )
}

/// `1.42 s`
pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// `3.1 ms`
pub fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// Durations of one thing done many times.
#[derive(Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// The smallest one that `percent` of all do not exceed (nearest rank); zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// `p50 3.1 ms, p99 7.0 ms`
    pub fn summary(&self) -> String {
        format!(
            "p50 {}, p99 {}",
            millis(self.percentile(50)),
            millis(self.percentile(99))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), Duration::ZERO);
        for ms in (1..=100).rev() {
            latencies.add(Duration::from_millis(ms));
        }
        for percent in [1, 50, 99, 100] {
            assert_eq!(
                latencies.percentile(percent),
                Duration::from_millis(percent as u64)
            );
        }
    }

    #[test]
    fn a_text_is_cut_by_characters() {
        assert_eq!((cut("äöü", 3).as_str(), cut("äöü", 2).as_str()), ("äöü", "äö…"));
    }
}
