//! Runs one role in this process: wires config, store, lake, graph, writer or replica, and the HTTP interface together.
//!
//! Owns: start order, shutdown order, re-reading the config. Does not own: what any of the parts does.

mod config_file;
mod replica;
mod writer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crds::SidecarConfig;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub use config_file::{ConfigFile, ConfigFileError};
pub use replica::run_replica;
pub use writer::run_writer;

use crate::api::{self, ApiSettings, ApiState, BodyRoom, Metrics};
use crate::clock::Clock;
use crate::commit_log::CommitLog;
use crate::events::{EventsHealth, EventsSettings};
use crate::graph::{GraphError, Watermark};
use crate::lake::{Lake, LakeError};
use crate::node::{LocalGraph, Progress, Role};
use crate::replica::Advancer;
use crate::scrub::ScrubKeeper;
use crate::settings::Settings;
use crate::snapshot::{SnapshotInbox, SnapshotRequests};
use crate::store::{self, Store, StoreError};

/// How a role's process is started.
#[derive(Debug, Clone)]
pub struct RoleOptions {
    /// The sidecar's config (YAML), re-read when it changes.
    pub config: PathBuf,
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// Name of this process in `writer.json`, leases and status.
    pub holder: String,
    /// Stop when standard input ends: the supervisor is gone.
    pub exit_with_parent: bool,
}

/// Why a role's process ended.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error(transparent)]
    Config(#[from] ConfigFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Metrics(#[from] api::MetricsError),
    #[error("failed to listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("failed to serve HTTP: {0}")]
    Serve(std::io::Error),
    #[error(transparent)]
    Takeover(#[from] crate::writer::TakeoverError),
    #[error("the writer stopped: {0}")]
    Commit(#[from] crate::writer::CommitError),
}

/// What both roles are made of.
struct Parts {
    config: SidecarConfig,
    file: ConfigFile,
    settings: Settings,
    store: Arc<dyn Store>,
    advancer: Advancer,
    /// What the local graph of an earlier process holds.
    found: Option<Watermark>,
    writer: api::WriterSlot,
    wake: Arc<Notify>,
    /// Where snapshots are asked for; on replicas only.
    snapshot_inbox: Option<SnapshotInbox>,
    /// Where the graph's events are, and how it goes with them; `None` where polling alone runs it.
    events: Option<(EventsSettings, EventsHealth)>,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Parts {
    /// Opens everything and serves HTTP at once, so that probes see a node that starts.
    async fn start(role: Role, options: &RoleOptions) -> Result<Self, RoleError> {
        let (mut file, config) = ConfigFile::open(&options.config)?;
        let settings = Settings::new(&config, role, options.holder.clone(), options.data_dir.clone());
        let store = store::open(&config.storage)?;
        let lake = Arc::new(Lake::open(&config.storage));
        let (local, found) = LocalGraph::open(&options.data_dir.join("graph"), settings.limits).await?;
        let advancer = Advancer {
            lake,
            log: CommitLog::new(store.clone()),
            local: Arc::new(local),
            progress: Progress::new(role, Clock::default()),
        };
        let (writer, wake) = (Arc::new(OnceLock::new()), Arc::new(Notify::new()));
        let metrics = Metrics::install()?;
        file.report_to(&advancer.progress);
        let events = config.events.nats.as_ref().map(|nats| {
            let health = EventsHealth::new(advancer.progress.clock().clone());
            (EventsSettings::new(&config.graph, nats), health)
        });
        let events_health = events.as_ref().map(|(_, health)| health.clone());
        let shutdown = CancellationToken::new();
        stop_on_signals(&shutdown, options.exit_with_parent);
        let address = options.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| RoleError::Listen { address, source })?;
        let (snapshots, snapshot_inbox) = match role {
            Role::Replica => {
                let (requests, inbox) = SnapshotRequests::channel();
                (Some(requests), Some(inbox))
            }
            Role::Writer => (None, None),
        };
        let (keeper, scrub) =
            ScrubKeeper::new(advancer.clone(), file.scrub(), wake.clone(), &settings.holder);
        tokio::spawn(keeper.run(shutdown.clone()));
        let state = ApiState {
            role,
            graph_name: config.graph.clone(),
            progress: advancer.progress.clone(),
            local: advancer.local.clone(),
            log: advancer.log.clone(),
            writer: writer.clone(),
            readiness: file.readiness(),
            metrics,
            queries: Arc::new(Semaphore::new(settings.queries)),
            bodies: BodyRoom::default(),
            settings: ApiSettings {
                bulk_batch_rows: settings.bulk_batch_rows,
                ..ApiSettings::default()
            },
            status_extra: status_extra(options, &advancer.local, events_health),
            snapshots,
            scrub,
            wake: wake.clone(),
        };
        let serving = tokio::spawn(api::serve(listener, api::router(state), shutdown.clone()));
        tracing::info!(%address, graph = config.graph.name, "serving");
        Ok(Self {
            config,
            file,
            settings,
            store,
            advancer,
            found,
            writer,
            wake,
            snapshot_inbox,
            events,
            shutdown,
            serving,
        })
    }
}

/// Serving ends after the work has: the last answers are sent.
async fn stop(
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
) -> Result<(), RoleError> {
    shutdown.cancel();
    match serving.await {
        Ok(result) => result.map_err(RoleError::Serve),
        Err(error) => Err(RoleError::Serve(std::io::Error::other(error))),
    }
}

fn status_extra(
    options: &RoleOptions,
    local: &Arc<LocalGraph>,
    events: Option<EventsHealth>,
) -> api::StatusExtra {
    let (holder, local) = (options.holder.clone(), local.clone());
    Arc::new(move || {
        let graph_bytes = local.current().map(|graph| graph.bytes_on_disk());
        let fields = BTreeMap::from([
            ("pid", serde_json::json!(std::process::id())),
            ("holder", serde_json::json!(holder)),
            ("graph_bytes", serde_json::json!(graph_bytes)),
            (
                "events",
                serde_json::json!(events.as_ref().map(EventsHealth::view)),
            ),
        ]);
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

/// SIGTERM, Ctrl-C and, if asked for, the end of standard input.
fn stop_on_signals(shutdown: &CancellationToken, exit_with_parent: bool) {
    let token = shutdown.clone();
    tokio::spawn(async move {
        let terminated = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "SIGTERM is not handled");
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = terminated => tracing::info!("SIGTERM, shutting down"),
            _ = tokio::signal::ctrl_c() => tracing::info!("interrupted, shutting down"),
            () = token.cancelled() => {}
        }
        token.cancel();
    });
    if exit_with_parent {
        let token = shutdown.clone();
        // A plain thread: a blocked read of standard input must not hold the runtime at exit.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            token.cancel();
        });
    }
}
