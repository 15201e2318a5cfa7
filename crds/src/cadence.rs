//! How often background work runs, and when a node counts as ready: values that change without restarting a pod.
//!
//! Owns: `spec.snapshots`, `spec.optimizer`, `spec.scrub`, `spec.readiness`, with defaults; used as they are in the sidecar's config.
//! Does not own: the work itself.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use croner::Cron;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::Duration, field_error::SchemaErrors, optimizer_interval::OptimizerInterval};

/// When snapshots are taken and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Snapshots {
    /// Whether snapshots are taken; those that exist are kept by the rules below in any case.
    pub enabled: bool,
    /// Cron expression in UTC: minute, hour, day of month, month, day of week. Default: every 15 minutes.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// Also after this many commits since the last snapshot; 0 for never. Default: 1000.
    pub every_commits: u64,
    /// Number of newest snapshots that are always kept. Default: 3.
    #[schemars(range(min = 1, max = 1000))]
    pub keep_last: u32,
    /// Older snapshots are removed when more than `keepLast` exist. Default: 7d.
    pub max_age: Duration,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            enabled: true,
            schedule: "*/15 * * * *".to_owned(),
            every_commits: 1000,
            keep_last: 3,
            max_age: Duration::from_secs(7 * 86_400),
        }
    }
}

impl Snapshots {
    /// The first scheduled time after `after`; none when snapshots are off or the schedule never comes again.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.enabled {
            return None;
        }
        let cron = Cron::from_str(&self.schedule).ok()?;
        cron.find_next_occurrence(&after, false).ok()
    }

    pub(crate) fn check(&self, errors: &mut SchemaErrors) {
        if let Err(problem) = Cron::from_str(&self.schedule) {
            errors.push(
                "spec.snapshots.schedule",
                format!(
                    "`{}` is not a cron expression like `*/15 * * * *`: {problem}",
                    self.schedule
                ),
            );
        }
        if !(1..=1000).contains(&self.keep_last) {
            errors.push(
                "spec.snapshots.keepLast",
                format!("found {}, expected 1 to 1000", self.keep_last),
            );
        }
    }
}

/// How often the writer compacts tables, updates indexes and cleans old versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Optimizer {
    /// Time from one run to the next, or `auto`: whenever small fragments, deleted rows, rows in no index or old versions
    /// make it worth it. Default: 10m.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == 'auto' || self.matches('[1-9]')", "message": "interval: must be `auto` or longer than zero"}
    ]))]
    pub interval: OptimizerInterval,
    /// Versions younger than this are never cleaned. Default: 1d.
    pub time_travel_window: Duration,
    /// Merging of small fragments.
    pub compaction: Compaction,
    /// Updating of Lance indexes.
    pub indices: Indices,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            interval: OptimizerInterval::Every(Duration::from_secs(600)),
            time_travel_window: Duration::from_secs(86_400),
            compaction: Compaction::default(),
            indices: Indices::default(),
        }
    }
}

impl Optimizer {
    pub(crate) fn check(&self, errors: &mut SchemaErrors) {
        if self.interval.is_zero() {
            errors.push(
                "spec.optimizer.interval",
                "found 0s, expected `auto` or a time longer than zero",
            );
        }
        if self.compaction.target_rows_per_fragment == 0 {
            errors.push(
                "spec.optimizer.compaction.targetRowsPerFragment",
                "found 0, expected 1 or more",
            );
        }
        if self.compaction.materialize_deletions_percent > 100 {
            errors.push(
                "spec.optimizer.compaction.materializeDeletionsPercent",
                format!(
                    "found {}, expected 0 to 100",
                    self.compaction.materialize_deletions_percent
                ),
            );
        }
    }
}

/// Merging of small fragments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Compaction {
    /// Whether tables are compacted. Default: true.
    pub enabled: bool,
    /// Fragments below this number of rows are merged. Default: 1048576.
    #[schemars(range(min = 1))]
    pub target_rows_per_fragment: u64,
    /// A fragment is rewritten when more than this share of its rows is deleted. Default: 10.
    #[schemars(range(min = 0, max = 100))]
    pub materialize_deletions_percent: u32,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            enabled: true,
            target_rows_per_fragment: 1_048_576,
            materialize_deletions_percent: 10,
        }
    }
}

/// Updating of Lance indexes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Indices {
    /// Whether indexes are brought up to date. Default: true.
    pub enabled: bool,
    /// An index is updated when at least this many rows are not in it. Default: 10000.
    pub min_unindexed_rows: u64,
}

impl Default for Indices {
    fn default() -> Self {
        Self {
            enabled: true,
            min_unindexed_rows: 10_000,
        }
    }
}

/// How often each node compares its graph with the tables it was derived from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scrub {
    /// Whether graphs are compared on a cadence; `slipstream verify` asks for it at any time. Default: true.
    pub enabled: bool,
    /// Time from one comparison to the next. Default: 1d.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self.matches('[1-9]')", "message": "interval: must be longer than zero"}
    ]))]
    pub interval: Duration,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(86_400),
        }
    }
}

impl Scrub {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn check(&self, errors: &mut SchemaErrors) {
        if self.interval.is_zero() {
            errors.push(
                "spec.scrub.interval",
                "found 0s, expected a time longer than zero",
            );
        }
    }
}

/// How far a replica may lag and still count as ready; both must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Readiness {
    /// Lag in commits. Default: 10.
    pub max_lag_commits: u64,
    /// Lag in seconds. Default: 30.
    pub max_lag_seconds: u64,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            max_lag_commits: 10,
            max_lag_seconds: 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(snapshots: &Snapshots, optimizer: &Optimizer) -> String {
        let mut errors = SchemaErrors::default();
        snapshots.check(&mut errors);
        optimizer.check(&mut errors);
        errors.to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        assert_eq!(errors_of(&Snapshots::default(), &Optimizer::default()), "");
        let from_empty: Snapshots = serde_yaml::from_str("{}").unwrap();
        assert_eq!(from_empty, Snapshots::default());
        let readiness: Readiness = serde_yaml::from_str("maxLagCommits: 3").unwrap();
        assert_eq!((readiness.max_lag_commits, readiness.max_lag_seconds), (3, 30));
    }

    #[test]
    fn a_schedule_that_is_no_cron_expression_is_refused_by_name() {
        for schedule in ["", "hourly please", "61 * * * *", "* * *"] {
            let snapshots = Snapshots {
                schedule: schedule.to_owned(),
                ..Snapshots::default()
            };
            let text = errors_of(&snapshots, &Optimizer::default());
            assert!(
                text.starts_with(&format!("spec.snapshots.schedule: `{schedule}` is not")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_next_snapshot_is_the_next_quarter_of_an_hour() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let mut snapshots = Snapshots::default();
        let next = snapshots.next_after(at("2026-01-01T10:15:00Z"));
        assert_eq!(next, Some(at("2026-01-01T10:30:00Z")));
        snapshots.enabled = false;
        assert_eq!(snapshots.next_after(at("2026-01-01T10:15:00Z")), None);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let snapshots = Snapshots {
            keep_last: 0,
            ..Snapshots::default()
        };
        let mut optimizer = Optimizer {
            interval: Duration::default().into(),
            ..Optimizer::default()
        };
        optimizer.compaction.target_rows_per_fragment = 0;
        optimizer.compaction.materialize_deletions_percent = 101;
        let text = errors_of(&snapshots, &optimizer);
        for field in [
            "keepLast: found 0",
            "interval: found 0s",
            "targetRowsPerFragment: found 0",
            "Percent: found 101",
        ] {
            assert!(text.contains(field), "{field} in {text}");
        }
        assert_eq!(text.lines().count(), 4);
    }
}
