//! A span per request, as a part of the client's trace where it names one (`traceparent`).
//!
//! Owns: which requests are traced, and what their spans say. Does not own: where spans go (`telemetry`).

use std::time::Duration;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{Method, Request, Response};
use tracing::Span;
use tracing::field::Empty;

use super::request::client_traceparent;

/// Probes, scrapes and looks at the status come every few seconds and change nothing: they are left out.
pub(super) fn span(request: &Request<Body>) -> Span {
    if request.method() != Method::POST {
        return Span::none();
    }
    let route = request.extensions().get::<MatchedPath>();
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        http.request.method = "POST",
        http.route = route.map_or("unknown", MatchedPath::as_str),
        http.response.status_code = Empty,
    );
    if let Some(client) = client_traceparent(request.headers()) {
        telemetry::set_parent(&span, &client);
    }
    span
}

/// Notes what was answered.
pub(super) fn answered<B>(response: &Response<B>, _took: Duration, span: &Span) {
    span.record("http.response.status_code", response.status().as_u16());
}
