//! The writer's side: hands each commit's event over, after the commit and before the answer, and never waits.
//!
//! ```text
//! commit ─> Publisher::publish ─> queue (the oldest goes when it is full) ─> task ─> JetStream ─> stored
//!                                                                            └────────── again, until it is
//! ```
//! Owns: the queue, publishing until the server has stored the event. Does not own: when a commit is one.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::body::VersionMapEvent;
use super::connection::{self, RETRY};
use super::health::EventsHealth;
use super::stream::ensure_stream;
use super::{Connection, EventsSettings};
use crate::commit_log::CommitRecord;
use crate::ids::TxId;

/// Events that wait while NATS is away or slow. Replicas need only the newest.
const QUEUE: usize = 256;
/// How long the last events may take when the writer stops.
const LAST_EVENTS: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
struct Outgoing {
    tx_id: TxId,
    body: Bytes,
    traceparent: Option<String>,
}

/// Takes events. Cheap to clone; the task ends after the last clone is gone and the queue is empty.
#[derive(Debug, Clone)]
pub struct Publisher {
    queue: broadcast::Sender<Arc<Outgoing>>,
}

impl Publisher {
    /// Starts the task that publishes.
    pub fn start(settings: EventsSettings, health: EventsHealth) -> (Self, PublisherTask) {
        let (queue, events) = broadcast::channel(QUEUE);
        let task = tokio::spawn(publish_all(settings, health, events));
        (Self { queue }, PublisherTask(task))
    }

    /// Hands the event of a commit over. Never waits: while NATS is away the oldest events are given up.
    pub fn publish(&self, record: &CommitRecord) {
        let body = serde_json::to_vec(&VersionMapEvent::from(record)).unwrap_or_default();
        let event = Outgoing {
            tx_id: record.tx_id,
            body: Bytes::from(body),
            traceparent: record.traceparent.clone(),
        };
        // It fails when the task ended, with the process.
        let _ = self.queue.send(Arc::new(event));
    }
}

/// The task of a [`Publisher`].
#[derive(Debug)]
pub struct PublisherTask(JoinHandle<()>);

impl PublisherTask {
    /// Gives the last events a moment, after every [`Publisher`] is gone.
    pub async fn finish(mut self) {
        if tokio::time::timeout(LAST_EVENTS, &mut self.0).await.is_err() {
            self.0.abort();
        }
    }
}

async fn publish_all(
    settings: EventsSettings,
    health: EventsHealth,
    mut events: broadcast::Receiver<Arc<Outgoing>>,
) {
    let mut next = None;
    loop {
        let connection = connection::open(&settings, &health).await;
        while let Some(mut link) = connection.linked().await {
            if let Err(error) = ensure_stream(&connection, &settings).await {
                health.failed(error);
                tokio::time::sleep(RETRY).await;
                continue;
            }
            health.ready();
            let drained = tokio::select! {
                drained = drain(&connection, &settings, &health, &mut events, &mut next) => drained,
                () = link.lost() => continue,
            };
            match drained {
                Ok(()) => return connection.flush().await,
                Err(detail) => {
                    health.failed(format!("failed to publish: {detail}"));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// Publishes until nobody is left who could hand an event over, or until one cannot be published: then connection and stream
/// are to be looked at. May be cancelled: `next` is then published again, and its message id makes that harmless.
async fn drain(
    connection: &Connection,
    settings: &EventsSettings,
    health: &EventsHealth,
    events: &mut broadcast::Receiver<Arc<Outgoing>>,
    next: &mut Option<Arc<Outgoing>>,
) -> Result<(), String> {
    loop {
        let event = match next {
            Some(event) => event.clone(),
            None => match events.recv().await {
                Ok(event) => next.insert(event).clone(),
                Err(RecvError::Lagged(dropped)) => {
                    health.dropped(dropped);
                    continue;
                }
                Err(RecvError::Closed) => return Ok(()),
            },
        };
        let span = tracing::info_span!("publish", otel.kind = "producer", tx_id = %event.tx_id);
        if let Some(parent) = &event.traceparent {
            telemetry::set_parent(&span, parent);
        }
        match publish(connection, settings, &event).instrument(span).await {
            Ok(()) => health.published(),
            Err(Failure::TooLarge(detail)) => {
                tracing::warn!(tx_id = %event.tx_id, detail, "the event cannot be published");
                health.dropped(1);
            }
            Err(Failure::Later(detail)) => return Err(detail),
        }
        *next = None;
    }
}

enum Failure {
    TooLarge(String),
    Later(String),
}

/// Publishes one event and waits until the server has stored it.
async fn publish(
    connection: &Connection,
    settings: &EventsSettings,
    event: &Outgoing,
) -> Result<(), Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, event.tx_id.to_string());
    if let Some(traceparent) = telemetry::current_traceparent().or_else(|| event.traceparent.clone()) {
        headers.insert("traceparent", traceparent);
    }
    let subject = settings.nats.subject.clone();
    let sent = connection
        .jetstream
        .publish_with_headers(subject, headers, event.body.clone());
    let failed = |error: async_nats::jetstream::context::PublishError| match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Failure::TooLarge(error.to_string()),
        _ => Failure::Later(error.to_string()),
    };
    sent.await.map_err(failed)?.await.map_err(failed)?;
    Ok(())
}
