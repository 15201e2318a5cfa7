//! The replica's side: a durable consumer whose events ring, and are acknowledged once the commits they name are applied.
//!
//! ```text
//! event ─┬─ no event ───────────────> acknowledge
//!        ├─ commit applied already ─> acknowledge
//!        └─ else ─> hold, ring ─┬─ the watermark reaches it ─────────> acknowledge
//!                               ├─ the log knows no such commit ─────> acknowledge
//!                               └─ a third of the time to acknowledge is over ─> report progress
//! ```
//! Level-triggered: acknowledging follows the node's position, whatever moved it. After every (re)connection it rings once,
//! for what may have been missed.
//!
//! Owns: one durable. Does not own: following the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::body::VersionMapEvent;
use super::complaints::Complaints;
use super::connection::{self, RETRY};
use super::health::{EventsHealth, ignored};
use super::held::Held;
use super::names::{consumer_of, stream_of};
use super::stream::{ensure_consumer, ensure_stream};
use super::{Connection, EventsError, EventsSettings};
use crate::node::{Progress, ProgressView};
use crate::replica::Doorbell;

/// The server says that it is there at least this often; twice this without a word and the consumer is looked at again.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long one request for events is good.
const REQUEST: Duration = Duration::from_secs(30);
/// Events asked for at once.
const BATCH: usize = 256;
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(3);

/// Rings when an event of a commit comes that is not applied yet.
#[derive(Debug)]
pub struct JetStreamBell {
    ring: Arc<Notify>,
}

#[async_trait]
impl Doorbell for JetStreamBell {
    async fn rung(&mut self) {
        self.ring.notified().await;
    }
}

/// What works for a [`JetStreamBell`]. Dropping it ends it at once, and the durable stays: as in a crash.
#[derive(Debug)]
pub struct BellTask(JoinHandle<()>);

impl BellTask {
    /// After `shutdown`: waits until the durable is deleted, for a few seconds at most.
    pub async fn finish(mut self) {
        if tokio::time::timeout(LEAVING, &mut self.0).await.is_err() {
            tracing::warn!(
                "the durable consumer was not deleted in time; the server removes it when it stays unused"
            );
        }
    }
}

impl Drop for BellTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl JetStreamBell {
    /// Listens for the replica whose position is `progress`. On `shutdown` it deletes its durable: a replica that leaves
    /// does not come back under its name; one that is killed finds it again.
    pub fn start(
        settings: EventsSettings,
        replica: &str,
        progress: Progress,
        health: EventsHealth,
        shutdown: CancellationToken,
    ) -> (Self, BellTask) {
        let ring = Arc::new(Notify::new());
        let listener = Listener {
            settings,
            replica: replica.to_owned(),
            progress,
            health,
            ring: ring.clone(),
            held: Held::default(),
            malformed: Complaints::default(),
            forged: Complaints::default(),
        };
        let task = tokio::spawn(listener.run(shutdown));
        (Self { ring }, BellTask(task))
    }
}

struct Listener {
    settings: EventsSettings,
    replica: String,
    progress: Progress,
    health: EventsHealth,
    ring: Arc<Notify>,
    held: Held<Message>,
    malformed: Complaints,
    forged: Complaints,
}

impl Listener {
    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let connection = tokio::select! {
                connection = connection::open(&self.settings, &self.health) => connection,
                () = shutdown.cancelled() => return,
            };
            loop {
                let listened = tokio::select! {
                    listened = self.listen(&connection) => listened,
                    () = shutdown.cancelled() => return self.leave(&connection).await,
                };
                match listened {
                    Ok(Ended::Unlinked) => break,
                    Ok(Ended::Lost) => {}
                    Err(error) => {
                        self.health.failed(error);
                        tokio::select! {
                            () = tokio::time::sleep(RETRY) => {}
                            () = shutdown.cancelled() => return self.leave(&connection).await,
                        }
                    }
                }
            }
        }
    }

    /// Makes sure of stream and durable, then takes events until the connection or the durable is lost.
    async fn listen(&mut self, connection: &Connection) -> Result<Ended, EventsError> {
        let Some(mut link) = connection.linked().await else {
            return Ok(Ended::Unlinked);
        };
        let stream = ensure_stream(connection, &self.settings).await?;
        let consumer = ensure_consumer(&stream, &self.settings, &self.replica).await?;
        let name = consumer.cached_info().name.clone();
        let failed = |error: String| EventsError::JetStream {
            doing: "read from the consumer",
            name: name.clone(),
            detail: error,
        };
        let mut messages: pull::Stream = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .heartbeat(HEARTBEAT)
            .expires(REQUEST)
            .messages()
            .await
            .map_err(|error| failed(error.to_string()))?;
        self.health.ready();
        self.ring.notify_one();
        let mut position: watch::Receiver<ProgressView> = self.progress.subscribe();
        let mut working = tokio::time::interval(self.settings.ack_wait / 3);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(Ok(message)) => self.take(message).await,
                    Some(Err(error)) => return Err(failed(error.to_string())),
                    None => return Err(failed("it ended".to_owned())),
                },
                // The sender lives in `self`.
                _ = position.changed() => self.settle().await,
                _ = working.tick() => self.report_progress().await,
                () = link.lost() => return Ok(Ended::Lost),
            }
        }
    }

    async fn take(&mut self, message: Message) {
        self.health.received();
        let event: VersionMapEvent = match serde_json::from_slice(&message.payload) {
            Ok(event) => event,
            Err(error) => {
                if let Some(events) = self.malformed.add(1, Instant::now()) {
                    tracing::warn!(%error, events, "events that are none; the newest one's error");
                }
                ignored("malformed", 1);
                return acknowledge(&message, AckKind::Ack).await;
            }
        };
        let span = tracing::info_span!("event", otel.kind = "consumer", tx_id = %event.tx_id);
        let headers = message.headers.as_ref();
        if let Some(parent) = headers.and_then(|headers| headers.get("traceparent")) {
            telemetry::set_parent(&span, parent.as_str());
        }
        span.in_scope(|| tracing::debug!("came"));
        let (now, view) = (self.progress.clock().now(), self.progress.view());
        match self.held.take(event.tx_id, now, message, &view) {
            Some(message) => {
                ignored("old", 1);
                acknowledge(&message, AckKind::Ack).await;
            }
            None => self.ring.notify_one(),
        }
    }

    async fn settle(&mut self) {
        let now = self.progress.clock().now();
        let settled = self.held.settle(now, &self.progress.view());
        if !settled.forged.is_empty() {
            if let Some(events) = self.forged.add(settled.forged.len(), Instant::now()) {
                tracing::warn!(events, "events of commits that do not exist");
            }
            ignored("forged", settled.forged.len());
        }
        for message in settled.applied.iter().chain(&settled.forged) {
            acknowledge(message, AckKind::Ack).await;
        }
    }

    /// Applying takes its time: the server must not take the events for lost.
    async fn report_progress(&self) {
        for message in self.held.iter() {
            acknowledge(message, AckKind::Progress).await;
        }
    }

    async fn leave(&self, connection: &Connection) {
        if !*connection.link.borrow() {
            return;
        }
        let stream = stream_of(&self.settings.graph, &self.settings.nats.subject).name;
        let durable = consumer_of(&self.settings.graph, &self.replica);
        let deleted = connection
            .jetstream
            .delete_consumer_from_stream(&durable, &stream)
            .await;
        match deleted {
            Ok(_) => tracing::info!(durable, "left: the durable consumer is deleted"),
            Err(error) => tracing::warn!(%error, durable, "failed to delete the durable consumer"),
        }
    }
}

/// Why listening ended, without an error.
enum Ended {
    /// The connection did not come up.
    Unlinked,
    /// The connection was lost.
    Lost,
}

/// An acknowledgement that does not arrive makes the event come again; it is acknowledged then.
async fn acknowledge(message: &Message, kind: AckKind) {
    if let Err(error) = message.ack_with(kind).await {
        tracing::debug!(%error, "failed to acknowledge an event");
    }
}
