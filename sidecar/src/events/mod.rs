//! Version-map events on JetStream: the doorbell of replicas that are far from the store (design, section 4).
//!
//! ```text
//! writer: commit ─> Publisher ─(bounded, drops the oldest)─> task ─> stream ─┬─> durable of replica 1 ─> JetStreamBell ─> follow
//!                                                                            └─> durable of replica 2 ─> …
//! ```
//!
//! Owns: connection, stream and consumers, the event's form, when an event is acknowledged.
//! Does not own: what replicas do when it rings. Events may be lost, repeated, reordered or forged: the commit log decides,
//! and while NATS is away polling goes on. Only this module names a NATS type.

mod bell;
mod body;
mod cleanup;
mod complaints;
mod connection;
mod health;
mod held;
mod names;
mod publisher;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use tokio::sync::watch;

pub use bell::{BellTask, JetStreamBell};
pub use body::VersionMapEvent;
pub use cleanup::remove_consumers;
pub use health::{EventsHealth, EventsView};
pub use publisher::{Publisher, PublisherTask};

/// Where a graph's events are.
#[derive(Debug, Clone)]
pub struct EventsSettings {
    pub graph: crds::GraphName,
    pub nats: crds::NatsConfig,
    /// Holds `nats.creds`, `ca.crt`, `tls.crt` and `tls.key`, each optional.
    pub credentials: Option<PathBuf>,
    /// An event that a replica neither acknowledges nor reports as worked on for so long is delivered again.
    pub ack_wait: Duration,
}

const ACK_WAIT: Duration = Duration::from_secs(30);

/// Names the directory with the credentials.
const CREDENTIALS_VARIABLE: &str = "SLIPSTREAM_NATS_DIR";

impl EventsSettings {
    /// Settings for a graph's events, with the credentials in the directory that `SLIPSTREAM_NATS_DIR` names.
    pub fn new(graph: &crds::GraphName, nats: &crds::NatsConfig) -> Self {
        let directory = std::env::var_os(CREDENTIALS_VARIABLE).filter(|name| !name.is_empty());
        Self {
            graph: graph.clone(),
            nats: nats.clone(),
            credentials: directory.map(PathBuf::from),
            ack_wait: ACK_WAIT,
        }
    }
}

/// What went wrong between this process and NATS. None of it harms a commit.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error("failed to read NATS credentials {path}: {detail}", path = path.display())]
    Credentials { path: PathBuf, detail: String },
    #[error("failed to connect to NATS at {server}: {detail}")]
    Connect { server: String, detail: String },
    #[error("failed to {doing} {name}: {detail}")]
    JetStream {
        doing: &'static str,
        name: String,
        detail: String,
    },
    #[error("stream {stream} has {found}, expected {expected}; another program made it")]
    Incompatible {
        stream: String,
        found: String,
        expected: &'static str,
    },
}

impl EventsError {
    /// For the client's many errors, which differ in nothing that matters here.
    fn jetstream(doing: &'static str, name: &str, error: impl std::error::Error) -> Self {
        let mut detail = error.to_string();
        if let Some(source) = error.source() {
            let source = source.to_string();
            if !detail.contains(&source) {
                detail = format!("{detail}: {source}");
            }
        }
        Self::JetStream {
            doing,
            name: name.to_owned(),
            detail,
        }
    }
}

/// A connection and JetStream over it.
struct Connection {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    /// Whether the server can be reached now.
    link: Arc<watch::Sender<bool>>,
}
