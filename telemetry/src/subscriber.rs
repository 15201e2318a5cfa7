//! The process's subscriber: where logs go, and where spans go.
//!
//! Owns: the two layers, their filters, and flushing at the end.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

use crate::export::OnRuntime;

/// Where spans are sent; unset or empty means nowhere.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// Crates whose spans are exported; other crates' (an HTTP client's, for example) say nothing about a commit. The first one
/// also stands for every name that begins with it.
const TRACED: [&str; 3] = ["slipstream", "operator", "telemetry"];
/// How long the last spans may take to be sent when the process ends.
const FLUSH: Duration = Duration::from_secs(5);

/// What a program is, for its logs and traces.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the program in traces; `OTEL_SERVICE_NAME` wins over it.
    pub service_name: String,
    /// What is logged where `RUST_LOG` says nothing, in its syntax.
    pub default_filter: String,
    /// Whether a log line is a JSON object; `None`: if `LOG_FORMAT=json`.
    pub json: Option<bool>,
}

impl Settings {
    /// Settings whose log format `LOG_FORMAT` chooses.
    pub fn new(service_name: impl Into<String>, default_filter: impl Into<String>) -> Self {
        Self {
            service_name: service_name.into(),
            default_filter: default_filter.into(),
            json: None,
        }
    }
}

/// Why logs and traces cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The endpoint or another `OTEL_` variable is no good.
    #[error("failed to set up the export of traces: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// [`init`] was called before, or other code installed a subscriber.
    #[error("failed to install the subscriber: {0}")]
    Installed(#[from] TryInitError),
}

/// Keep it until the program ends: dropping it sends the spans that wait. Must be dropped while the runtime still runs.
#[derive(Debug)]
#[must_use = "spans that wait are sent when this is dropped"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Installs the process's subscriber, once. Must be called on a multi-threaded tokio runtime where traces are exported.
///
/// # Errors
/// [`TelemetryError`]; nothing is installed then.
pub fn init(settings: &Settings) -> Result<Guard, TelemetryError> {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&settings.default_filter));
    let json = settings
        .json
        .unwrap_or_else(|| std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json"));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = if json {
        log.json().with_current_span(true).with_span_list(false).boxed()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let provider = provider(&settings.service_name)?;
    let traces = provider.as_ref().map(|provider| {
        let traced = TRACED.map(|target| (target, LevelFilter::INFO));
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("slipstream"))
            .with_filter(Targets::new().with_targets(traced))
    });
    tracing_subscriber::registry()
        .with(traces)
        .with(log.with_filter(filter))
        .try_init()?;
    Ok(Guard { provider })
}

/// What collects spans and sends them in batches; `None` without an endpoint.
fn provider(service_name: &str) -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    if !ENDPOINTS.into_iter().any(set) {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder();
    let resource = if set("OTEL_SERVICE_NAME") {
        resource
    } else {
        resource.with_service_name(service_name.to_owned())
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(OnRuntime::new(exporter))
        .with_resource(resource.build())
        .build();
    Ok(Some(provider))
}
