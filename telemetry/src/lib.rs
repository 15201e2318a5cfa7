//! Logs and traces of every Slipstream program.
//!
//! ```text
//! tracing ─┬─ filter (RUST_LOG) ──> standard error, as text or as JSON
//!          └─ spans of our crates ──> batches ──> OTLP over HTTP    only where OTEL_EXPORTER_OTLP_ENDPOINT is set
//! ```
//!
//! Owns: the process's subscriber, the exporter, and how a trace goes from one process to the next (`traceparent`).
//! Does not own: which spans there are.

mod export;
mod propagation;
mod subscriber;

pub use propagation::{current_traceparent, link, set_parent};
pub use subscriber::{Guard, Settings, TelemetryError, init};
