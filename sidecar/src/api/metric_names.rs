//! Every metric of a node: its name, its unit and what it means. Recorded where things happen, described here.
//!
//! A test compares this table with the sources: nothing is recorded that is not described, and nothing described that is not
//! recorded.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What a metric is, and so how its name ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

struct Described(&'static str, Kind, Unit, &'static str);

#[rustfmt::skip]
const METRICS: &[Described] = &[
    // Where the node stands.
    Described("slipstream_watermark_seq", Gauge, Unit::Count, "Commit that readers of this node see"),
    Described("slipstream_head_seq", Gauge, Unit::Count, "Newest commit that this node knows of"),
    Described("slipstream_lag_commits", Gauge, Unit::Count, "Commits between watermark and head"),
    Described("slipstream_lag_seconds", Gauge, Unit::Seconds, "Age of the oldest commit that is not applied; 0 if none"),
    Described("slipstream_staleness_seconds", Gauge, Unit::Seconds, "How old the served state may be"),
    Described("slipstream_epoch", Gauge, Unit::Count, "Writer incarnation of the newest commit, or of this writer"),
    Described("slipstream_ready", Gauge, Unit::Count, "1 if /readyz answers 200"),
    Described("slipstream_store_up", Gauge, Unit::Count, "1 while the store answers"),
    Described("slipstream_config_rejected", Gauge, Unit::Count, "1 while the config file as it is now is not used"),
    // Requests.
    Described("slipstream_http_requests_total", Counter, Unit::Count, "Requests by route, method and status"),
    Described("slipstream_http_request_duration_seconds", Histogram, Unit::Seconds, "Until the answer's headers"),
    Described("slipstream_queries_running", Gauge, Unit::Count, "Queries that hold a permit"),
    Described("slipstream_queries_total", Counter, Unit::Count, "Queries ended, by outcome"),
    Described("slipstream_query_rows_total", Counter, Unit::Count, "Rows of answers"),
    Described("slipstream_query_duration_seconds", Histogram, Unit::Seconds, "From start to the end of the answer"),
    // Writing.
    Described("slipstream_commits_total", Counter, Unit::Count, "Commits of this writer"),
    Described("slipstream_rows_written_total", Counter, Unit::Count, "Rows upserted and deleted by this writer's commits"),
    Described("slipstream_commit_duration_seconds", Histogram, Unit::Seconds, "A commit, from its plan to its event"),
    // Following.
    Described("slipstream_apply_duration_seconds", Histogram, Unit::Seconds, "Applying a range of commits in place"),
    Described("slipstream_apply_failures_total", Counter, Unit::Count, "Applies in place that ended in a rebuild"),
    Described("slipstream_rebuilds_total", Counter, Unit::Count, "Graphs built from Lance"),
    Described("slipstream_rebuild_duration_seconds", Histogram, Unit::Seconds, "Building a graph from Lance"),
    Described("slipstream_follow_errors_total", Counter, Unit::Count, "Passes over the log that failed"),
    Described("slipstream_divergences_total", Counter, Unit::Count, "Graphs that were not what Lance holds, found in an apply or by a scrub"),
    // Events.
    Described("slipstream_events_up", Gauge, Unit::Count, "1 while events go through NATS; absent where it is not configured"),
    Described("slipstream_events_connected", Gauge, Unit::Count, "slipstream_events_up by its older name"),
    Described("slipstream_events_published_total", Counter, Unit::Count, "Events that the server stored"),
    Described("slipstream_events_dropped_total", Counter, Unit::Count, "Events given up because newer ones filled the queue"),
    Described("slipstream_events_received_total", Counter, Unit::Count, "Events that came, repeated and useless ones included"),
    Described("slipstream_events_ignored_total", Counter, Unit::Count, "Events that brought nothing, by reason: old, malformed or forged"),
    // Snapshots.
    Described("slipstream_snapshots_total", Counter, Unit::Count, "Snapshots that this node began, by outcome"),
    Described("slipstream_snapshot_duration_seconds", Histogram, Unit::Seconds, "A snapshot, from the pause to its stored meta data"),
    Described("slipstream_snapshot_pause_duration_seconds", Histogram, Unit::Seconds, "How long applying waited for a snapshot"),
    Described("slipstream_snapshot_bytes", Gauge, Unit::Bytes, "Stored bytes of the newest snapshot"),
    Described("slipstream_snapshot_timestamp_seconds", Gauge, Unit::Seconds, "When the newest snapshot was completed, in Unix time"),
    Described("slipstream_snapshots_removed_total", Counter, Unit::Count, "Snapshots and leftovers that retention removed"),
    Described("slipstream_restores_total", Counter, Unit::Count, "Restores from a snapshot, by outcome"),
    Described("slipstream_restore_duration_seconds", Histogram, Unit::Seconds, "Restoring a graph from a snapshot"),
    // The optimizer.
    Described("slipstream_optimizes_total", Counter, Unit::Count, "Runs of the optimizer, by outcome"),
    Described("slipstream_optimize_duration_seconds", Histogram, Unit::Seconds, "A run of the optimizer"),
    Described("slipstream_optimize_timestamp_seconds", Gauge, Unit::Seconds, "When the optimizer last ran, in Unix time"),
    Described("slipstream_optimize_freed_bytes_total", Counter, Unit::Bytes, "Bytes that cleaning removed"),
    Described("slipstream_optimize_dropped_tasks_total", Counter, Unit::Count, "Compactions dropped because a commit changed the same fragments"),
    Described("slipstream_log_trimmed_commits_total", Counter, Unit::Count, "Commit records removed"),
    // Scrubs.
    Described("slipstream_scrubs_total", Counter, Unit::Count, "Comparisons with Lance, by outcome: equal, different or failed"),
    Described("slipstream_scrub_duration_seconds", Histogram, Unit::Seconds, "A comparison that came to a verdict"),
    Described("slipstream_scrub_timestamp_seconds", Gauge, Unit::Seconds, "When a comparison last came to a verdict, in Unix time"),
];

/// Tells the recorder what each metric means.
pub(super) fn describe() {
    for Described(name, kind, unit, text) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *unit, *text),
            Gauge => describe_gauge!(*name, *unit, *text),
            Histogram => describe_histogram!(*name, *unit, *text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The names that the sources write as text, outside this file.
    fn recorded(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                recorded(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("api/metric_names.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let is_name = |text: &&str| {
                    text.starts_with("slipstream_")
                        && text
                            .chars()
                            .all(|letter| letter.is_ascii_lowercase() || letter == '_')
                };
                found.extend(text.split('"').filter(is_name).map(str::to_owned));
            }
        }
    }

    #[test]
    fn what_is_recorded_is_described_and_what_is_described_is_recorded() {
        let mut recorded_names = BTreeSet::new();
        recorded(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut recorded_names,
        );
        let described: BTreeSet<String> = METRICS.iter().map(|metric| metric.0.to_owned()).collect();
        assert_eq!(described.len(), METRICS.len(), "a name is described twice");
        let missing: Vec<_> = recorded_names.difference(&described).collect();
        assert!(missing.is_empty(), "recorded and not described: {missing:?}");
        let unused: Vec<_> = described.difference(&recorded_names).collect();
        assert!(unused.is_empty(), "described and not recorded: {unused:?}");
    }

    #[test]
    fn names_end_in_their_unit() {
        for Described(name, kind, unit, _) in METRICS {
            let stem = name.strip_suffix("_total");
            assert_eq!(
                stem.is_some(),
                *kind == Counter,
                "{name}: counters end in _total, and nothing else"
            );
            let stem = stem.unwrap_or(name);
            let expected = match unit {
                Unit::Seconds => stem.ends_with("_seconds"),
                Unit::Bytes => stem.ends_with("_bytes"),
                _ => !stem.ends_with("_seconds") && !stem.ends_with("_bytes"),
            };
            assert!(expected, "{name}: is in {unit:?}");
            assert!(
                *kind != Histogram || *unit != Unit::Count,
                "{name}: a histogram of what?"
            );
        }
    }
}
