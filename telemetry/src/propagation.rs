//! How a trace goes from one process to the next: as W3C Trace Context's `traceparent`, in HTTP headers, in commit records and
//! in the headers of events.
//!
//! Without an exporter nothing here does anything.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The one header that is passed on.
#[derive(Default)]
struct Carrier(Option<String>);

const HEADER: &str = "traceparent";

impl Injector for Carrier {
    fn set(&mut self, key: &str, value: String) {
        if key == HEADER {
            self.0 = Some(value);
        }
    }
}

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.as_deref().filter(|_| key == HEADER)
    }

    fn keys(&self) -> Vec<&str> {
        vec![HEADER]
    }
}

fn context_of(traceparent: &str) -> Context {
    TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &Carrier(Some(traceparent.to_owned())))
}

/// The current span as `traceparent`; `None` where spans are not exported or there is none.
pub fn current_traceparent() -> Option<String> {
    let mut carrier = Carrier::default();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.0
}

/// Makes `span` a child of another process's span. Only before `span` is entered for the first time; anything that is no
/// `traceparent` is ignored.
pub fn set_parent(span: &Span, traceparent: &str) {
    let context = context_of(traceparent);
    if context.span().span_context().is_valid() {
        // It fails where spans are not exported.
        let _ = span.set_parent(context);
    }
}

/// Names another trace that `span` also belongs to: several commits may be applied at once.
pub fn link(span: &Span, traceparent: &str) {
    span.add_link(context_of(traceparent).span().span_context().clone());
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, filter::Targets};

    use super::*;

    const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_span_continues_the_trace_that_it_is_given() {
        let provider = SdkTracerProvider::builder().build();
        // Filtered, as in a process.
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("test"))
            .with_filter(Targets::new().with_target("telemetry", tracing::Level::INFO));
        with_default(tracing_subscriber::registry().with(Some(layer)), || {
            let span = tracing::info_span!("request");
            set_parent(&span, CLIENT);
            let own = span.in_scope(current_traceparent).unwrap();
            assert_eq!(own[..35], CLIENT[..35], "the same trace");
            assert_ne!(own[36..52], CLIENT[36..52], "another span");
            let inner = span.in_scope(|| tracing::info_span!("commit").in_scope(current_traceparent));
            assert_eq!(inner.unwrap()[..35], CLIENT[..35], "a child of it too");
        });
    }

    #[test]
    fn what_is_no_traceparent_starts_a_trace_of_its_own() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        with_default(tracing_subscriber::registry().with(layer), || {
            for bad in ["", "x", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
                let span = tracing::info_span!("request");
                set_parent(&span, bad);
                link(&span, bad);
                let own = span.in_scope(current_traceparent).unwrap();
                assert!(
                    own.len() == 55 && !own.contains("00000000000000000000000000000000"),
                    "{own}"
                );
            }
        });
    }

    #[test]
    fn without_an_exporter_there_is_no_trace() {
        let span = tracing::info_span!("request");
        set_parent(&span, CLIENT);
        assert_eq!(span.in_scope(current_traceparent), None);
    }
}
