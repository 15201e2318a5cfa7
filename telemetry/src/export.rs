//! Sends spans on the program's runtime.
//!
//! The SDK batches spans on a thread of its own, where nothing drives an asynchronous HTTP client. So that thread only hands
//! each export over, to a task of the runtime that [`OnRuntime::new`] was called on, and waits for its outcome.
//!
//! Owns: the hand-over. Does not own: batching (the SDK), the protocol (`opentelemetry-otlp`).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::runtime::{Runtime, Tokio};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// The exporter gives up after 10 s by itself; this much later the runtime must be gone.
const PATIENCE: Duration = Duration::from_secs(15);

type Export = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Exports that wait for the runtime.
#[derive(Default)]
struct Waiting {
    exports: VecDeque<Export>,
    starter: Option<Waker>,
}

/// An exporter whose work is done on a tokio runtime.
pub(crate) struct OnRuntime<E> {
    exporter: Arc<E>,
    waiting: Arc<Mutex<Waiting>>,
}

impl<E: std::fmt::Debug> std::fmt::Debug for OnRuntime<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnRuntime").field(&self.exporter).finish()
    }
}

impl<E: SpanExporter + 'static> OnRuntime<E> {
    /// Must be called on the runtime; starts one task there, which ends with it.
    pub(crate) fn new(exporter: E) -> Self {
        let waiting = Arc::<Mutex<Waiting>>::default();
        let to_start = waiting.clone();
        Tokio.spawn(poll_fn(move |context| {
            let mut waiting = locked(&to_start);
            waiting.starter = Some(context.waker().clone());
            waiting.exports.drain(..).for_each(|export| Tokio.spawn(export));
            Poll::Pending
        }));
        Self {
            exporter: Arc::new(exporter),
            waiting,
        }
    }
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<E: SpanExporter + 'static> SpanExporter for OnRuntime<E> {
    /// Blocks its thread, which is the SDK's own and exports one batch at a time.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let (outcome, exported) = sync_channel(1);
        {
            let mut waiting = locked(&self.waiting);
            waiting.exports.push_back(Box::pin(async move {
                // Nobody waits any more if this took too long.
                let _ = outcome.send(exporter.export(batch).await);
            }));
            if let Some(starter) = &waiting.starter {
                starter.wake_by_ref();
            }
        }
        exported.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => OTelSdkError::Timeout(PATIENCE),
                RecvTimeoutError::Disconnected => {
                    OTelSdkError::InternalFailure("the runtime ended before the spans were sent".to_owned())
                }
            })
        })
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}
