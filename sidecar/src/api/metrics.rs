//! `/metrics` in Prometheus' text format, and the measuring of requests.
//!
//! Names carry units (`metric_names`). Where the node stands is set at each scrape, so that a position is never older than the scrape.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::metrics::{counter, gauge, histogram};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;

use super::{ApiState, metric_names, probes};
use crate::node::{ProgressView, Role};

/// Upper bounds of histograms in seconds; commit to visible is asked for at 50 and 150 ms.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// How often recorded durations are folded into their histograms, whether or not anybody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics: whatever is recorded through the `metrics` crate. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// Why the process's metrics cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to install the metrics recorder: {0}")]
pub struct MetricsError(String);

impl Metrics {
    /// Installs the recorder of this process, once; later calls get the same one.
    ///
    /// # Errors
    /// When other code installed another recorder before.
    pub fn install() -> Result<Self, MetricsError> {
        static INSTALLED: OnceLock<Result<Metrics, MetricsError>> = OnceLock::new();
        INSTALLED.get_or_init(install).clone()
    }

    /// All metrics as text.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

fn install() -> Result<Metrics, MetricsError> {
    let failed = |error: BuildError| MetricsError(error.to_string());
    let durations = Matcher::Suffix("_duration_seconds".to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)
        .map_err(failed)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    ::metrics::set_global_recorder(recorder).map_err(|error| MetricsError(error.to_string()))?;
    metric_names::describe();
    let upkeep = handle.clone();
    let thread = std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                upkeep.run_upkeep();
            }
        });
    thread.map_err(|error| MetricsError(error.to_string()))?;
    Ok(Metrics { handle })
}

/// Measures every request, by route (not by path, whose number has no bound).
pub(super) async fn track(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str)
        .to_owned();
    let method = request.method().as_str();
    // Methods are the client's to invent.
    let method = if matches!(method, "GET" | "POST" | "HEAD") {
        method.to_owned()
    } else {
        "other".to_owned()
    };
    let response = next.run(request).await;
    let labels = [
        ("route", route),
        ("method", method),
        ("status", response.status().as_u16().to_string()),
    ];
    counter!("slipstream_http_requests_total", &labels).increment(1);
    histogram!("slipstream_http_request_duration_seconds", &labels).record(started.elapsed().as_secs_f64());
    response
}

/// The route `/metrics`.
pub(super) async fn scrape(State(state): State<Arc<ApiState>>) -> impl IntoResponse {
    set_position(&state, &state.progress.view());
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
}

fn set_position(state: &ApiState, view: &ProgressView) {
    let now = state.progress.clock().now();
    let seconds = |millis: u64| millis as f64 / 1000.0;
    let role = match state.role {
        Role::Writer => "writer",
        Role::Replica => "replica",
    };
    let set = |name: &'static str, value: f64| gauge!(name, "role" => role).set(value);
    set(
        "slipstream_watermark_seq",
        view.watermark.unwrap_or_default().seq.0 as f64,
    );
    set("slipstream_head_seq", view.head.seq.0 as f64);
    set("slipstream_lag_commits", view.lag_commits() as f64);
    set("slipstream_lag_seconds", seconds(view.lag_ms(now)));
    set("slipstream_store_up", if view.store.ok { 1.0 } else { 0.0 });
    set("slipstream_epoch", view.epoch.0 as f64);
    set(
        "slipstream_ready",
        if probes::ready(state).is_ok() { 1.0 } else { 0.0 },
    );
    // Unknown before the first graph; 0 would look fresh.
    set(
        "slipstream_staleness_seconds",
        view.staleness_ms(now).map_or(f64::NAN, seconds),
    );
}
