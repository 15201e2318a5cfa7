//! The HTTP interface of both roles (design, section 9).
//!
//! ```text
//! POST /v1/transactions        transactions ─┐
//! POST /v1/tables/{table}/rows bulk ─────────┴─> Writer
//! POST /v1/query               query ─> query_guard ─> floors ─> Graph ─> answer/ (JSON | NDJSON | Arrow)
//! POST /v1/scrub               scrub ─> scrub::ScrubKeeper
//! POST /v1/snapshots           snapshots ─> snapshot::Snapshotter (replicas)
//! GET  /v1/status, /v1/commits status        GET /healthz, /readyz  probes        GET /metrics  metrics
//! ```
//!
//! Owns: routes, limits of requests, the forms of answers and of errors (`problem`).
//! Does not own: what a commit is (writer), what a query means (graph), where the node stands (`node::Progress`).

mod accept;
mod answer;
mod body_room;
mod bulk;
mod drain;
mod floors;
mod json_body;
mod metric_names;
mod metrics;
mod probes;
mod problem;
mod problem_from;
mod query;
mod query_run;
mod request;
mod scrub;
mod snapshots;
mod status;
mod trace;
mod transactions;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::future::IntoFuture;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;

pub use self::body_room::BodyRoom;
pub use self::metrics::{Metrics, MetricsError};
use self::problem::{Problem, ProblemKind};
use crate::commit_log::CommitLog;
use crate::node::{LocalGraph, Progress, Role};
use crate::scrub::ScrubRequests;
use crate::snapshot::SnapshotRequests;
use crate::writer::Writer;

/// How long requests may go on after shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// What the node adds to `/v1/status`: its process id, its last build and the like.
pub type StatusExtra = Arc<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// The running writer, once there is one.
pub type WriterSlot = Arc<OnceLock<Writer>>;

/// What the routes work with: handles of the running node, and plain settings.
pub struct ApiState {
    pub role: Role,
    pub graph_name: crds::GraphName,
    pub progress: Progress,
    pub local: Arc<LocalGraph>,
    pub log: CommitLog,
    /// Filled once this process has taken over as the writer; stays empty on replicas.
    pub writer: WriterSlot,
    /// Bounds of `/readyz`; may change while the process runs.
    pub readiness: watch::Receiver<crds::Readiness>,
    pub metrics: Metrics,
    /// A permit per query that runs.
    pub queries: Arc<Semaphore>,
    /// Memory for the bodies of transactions.
    pub bodies: BodyRoom,
    pub settings: ApiSettings,
    pub status_extra: StatusExtra,
    /// Where a snapshot is asked for; none on the writer.
    pub snapshots: Option<SnapshotRequests>,
    /// Compares the graph with Lance when asked to.
    pub scrub: ScrubRequests,
    /// Rung when a reader waits for a commit: look at the log now.
    pub wake: Arc<Notify>,
}

/// Limits of requests.
#[derive(Debug, Clone, Copy)]
pub struct ApiSettings {
    /// Time of a query that names none: waiting for its floor, running, and sending its answer.
    pub default_timeout: Duration,
    pub max_timeout: Duration,
    /// Rows of an answer whose query names no limit.
    pub default_limit: u64,
    pub max_limit: u64,
    /// Largest JSON body.
    pub max_body_bytes: usize,
    /// Rows per batch of a bulk request.
    pub bulk_batch_rows: usize,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            default_timeout: Duration::from_secs(30),
            max_timeout: Duration::from_secs(600),
            default_limit: 10_000,
            max_limit: 10_000_000,
            max_body_bytes: 64 << 20,
            bulk_batch_rows: 16 * 1024,
        }
    }
}

/// All routes. Whatever goes wrong is answered with a problem document, panics included.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/v1/transactions", post(transactions::commit))
        .route("/v1/tables/{table}/rows", post(bulk::load))
        .route("/v1/query", post(query::answer))
        .route("/v1/status", get(status::status))
        .route("/v1/commits", get(status::commits))
        .route("/v1/schema", get(status::schema))
        .route("/v1/scrub", post(scrub::scrub))
        .route("/v1/snapshots", post(snapshots::take))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(metrics::scrape))
        .fallback(async |uri: axum::http::Uri| {
            Problem::new(
                ProblemKind::NotFound,
                format!("there is nothing at {}", uri.path()),
            )
        })
        .method_not_allowed_fallback(async |method: axum::http::Method, uri: axum::http::Uri| {
            Problem::new(
                ProblemKind::MethodNotAllowed,
                format!("{} does not take {method}", uri.path()),
            )
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn(metrics::track))
        // A 503 of a probe is no failure worth a line; what is wrong inside is logged by `Problem`.
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(trace::span)
                .on_response(trace::answered)
                .on_failure(()),
        )
        .with_state(Arc::new(state))
}

/// Serves until `shutdown`; then takes no new connections and gives running requests a while to end.
///
/// # Errors
/// What the listener reports.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    // Small answers must not wait for the peer's delayed acknowledgement.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = drained => {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests still run after the time to drain; leaving them");
            Ok(())
        }
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("(no text)"), "a request handler panicked");
    Problem::new(ProblemKind::Internal, "the request met a bug; the log says more").into_response()
}
