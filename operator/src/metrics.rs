//! What the operator counts, and how it is handed out (`/metrics`).
//!
//! Owns: the recorder and the descriptions. Does not own: where a metric is recorded, which is beside what it counts.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of durations, in seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// Installs the process's recorder; once.
///
/// # Errors
/// When there is one already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let durations = Matcher::Suffix("_duration_seconds".to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)?
        .install_recorder()?;
    describe_counter!("slipstream_operator_reconciles_total", "Reconciles, by outcome");
    describe_histogram!(
        "slipstream_operator_reconcile_duration_seconds",
        Unit::Seconds,
        "Time of one reconcile, the reading of the members included"
    );
    describe_counter!(
        "slipstream_operator_reconcile_errors_total",
        "Failed reconciles, by kind of error"
    );
    describe_counter!(
        "slipstream_operator_api_writes_total",
        "Writes to the API server, by verb and kind of object"
    );
    describe_counter!(
        "slipstream_operator_watch_errors_total",
        "Watches that broke and were resumed"
    );
    describe_gauge!("slipstream_operator_leader", "1 while this process leads");
    describe_gauge!("slipstream_operator_graphs", "Graphs that exist");
    describe_gauge!(
        "slipstream_operator_member_lag_commits",
        "Head minus watermark of a pod, in commits"
    );
    describe_gauge!(
        "slipstream_operator_member_lag_seconds",
        Unit::Seconds,
        "Head minus watermark of a pod, in seconds"
    );
    Ok(handle)
}
