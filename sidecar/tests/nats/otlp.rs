//! A sink for OTLP over HTTP, and as much of its protobuf as tells which span is in which trace
//! (opentelemetry-proto, `trace_service.proto`; the numbers below are its field numbers).

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

/// A span as it was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportedSpan {
    pub(crate) service: String,
    pub(crate) name: String,
    /// Lower-case hex, as in a `traceparent`.
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
}

/// Takes what is exported to [`Sink::endpoint`].
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) endpoint: String,
    spans: Arc<Mutex<Vec<ExportedSpan>>>,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let spans = Arc::<Mutex<Vec<ExportedSpan>>>::default();
        let taken = spans.clone();
        let take = async move |body: Bytes| taken.lock().expect("nobody panics").extend(spans_of(&body));
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, spans }
    }

    pub(crate) fn spans(&self) -> Vec<ExportedSpan> {
        self.spans.lock().expect("nobody panics").clone()
    }
}

fn spans_of(request: &[u8]) -> Vec<ExportedSpan> {
    let mut spans = Vec::new();
    for of_resource in all(request, 1) {
        let service = all(of_resource, 1)
            .flat_map(|resource| all(resource, 1))
            .find(|attribute| text(attribute, 1) == "service.name")
            .and_then(|attribute| all(attribute, 2).next())
            .map_or_else(String::new, |value| text(value, 1));
        for span in all(of_resource, 2).flat_map(|scope| all(scope, 2)) {
            let hex_of = |field| all(span, field).next().map_or_else(String::new, hex::encode);
            spans.push(ExportedSpan {
                service: service.clone(),
                name: text(span, 5),
                trace: hex_of(1),
                id: hex_of(2),
                parent: hex_of(4),
            });
        }
    }
    spans
}

fn text(message: &[u8], field: u64) -> String {
    let bytes = all(message, field).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every length-delimited value of `field`.
fn all(message: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let tag = number(&mut rest);
            let length = match tag & 7 {
                0 => {
                    number(&mut rest);
                    continue;
                }
                1 => 8,
                5 => 4,
                2 => usize::try_from(number(&mut rest)).expect("a length"),
                other => panic!("wire type {other}"),
            };
            let (value, after) = rest.split_at(length);
            rest = after;
            if tag >> 3 == field && tag & 7 == 2 {
                return Some(value);
            }
        }
        None
    })
}

/// A base-128 number, the lowest seven bits first.
fn number(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().expect("a whole number");
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}
