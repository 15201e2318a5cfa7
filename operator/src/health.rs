//! `/healthz`, `/readyz` and `/metrics` of the operator.
//!
//! A candidate that does not lead is ready: it stands by. Neither answer depends on the API server, since a restart would not
//! bring it back.
//! Owns: the routes. Does not own: the metrics.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

/// How often recorded durations are folded into their histograms, whether or not anybody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the operator cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: {source}")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Listens on `address` and answers until the process ends. Returns the bound address.
///
/// # Errors
/// When the address is taken.
pub async fn serve(address: SocketAddr, metrics: PrometheusHandle) -> Result<SocketAddr, ListenError> {
    let failed = |source| ListenError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    tokio::spawn(async move { axum::serve(listener, routes(metrics)).await });
    Ok(bound)
}

fn routes(metrics: PrometheusHandle) -> Router {
    let text = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let rendered = move || async move { (text, metrics.render()) };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async || "ready\n"))
        .route("/metrics", get(rendered))
}
