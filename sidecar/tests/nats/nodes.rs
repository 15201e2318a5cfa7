//! A writer that publishes, and replicas that look at the log only when an event rings.

use std::sync::Arc;
use std::time::Duration;

use slipstream::events::{BellTask, EventsHealth, EventsSettings, JetStreamBell, Publisher, PublisherTask};
use slipstream::graph::Watermark;
use slipstream::ids::TxId;
use slipstream::node::{LocalGraph, Progress, Role};
use slipstream::replica::{Advancer, Doorbell, LeaseKeeper, PollInterval, Replica};
use slipstream::settings::Settings;
use slipstream::writer::{CommitAnswer, RunningWriter, Transaction, TransactionRequest, Writer};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::server::NatsServer;
use crate::support::cluster::TestGraph;
use crate::support::waiting::{until, within};

/// Where the events of the graph `name` are.
pub(crate) fn settings(server: &NatsServer, name: &str) -> EventsSettings {
    let graph = crds::GraphName {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    };
    let nats = crds::NatsConfig {
        url: server.url(),
        subject: format!("slipstream.versionmap.default.{name}"),
    };
    EventsSettings::new(&graph, &nats)
}

async fn open(graph: &TestGraph, name: &str, role: Role) -> (Settings, Advancer, Option<Watermark>) {
    let settings = graph.settings(name);
    let (local, found) = LocalGraph::open(&settings.data_dir, settings.limits)
        .await
        .expect("the node's directory");
    let advancer = Advancer {
        lake: Arc::new(graph.lake().await),
        log: graph.log.clone(),
        local: Arc::new(local),
        progress: Progress::new(role, graph.clock.clone()),
    };
    (settings, advancer, found)
}

pub(crate) struct PublishingWriter {
    pub(crate) writer: Writer,
    pub(crate) health: EventsHealth,
    publishing: PublisherTask,
    running: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl PublishingWriter {
    pub(crate) async fn start(graph: &TestGraph, events: EventsSettings) -> Self {
        let (settings, advancer, found) = open(graph, "writer", Role::Writer).await;
        let health = EventsHealth::new(graph.clock.clone());
        let (publisher, publishing) = Publisher::start(events, health.clone());
        let taken = RunningWriter::take_over(graph.store.clone(), advancer, settings, &graph.schema, found);
        let mut running = within("a takeover", taken).await.expect("a takeover");
        running.publish_to(publisher);
        let (writer, shutdown) = (running.writer.clone(), CancellationToken::new());
        let ended = running.run(shutdown.clone());
        Self {
            writer,
            health,
            publishing,
            running: tokio::spawn(
                async move { ended.await.expect("a writer that was asked to stop ends well") },
            ),
            shutdown,
        }
    }

    pub(crate) async fn commit(&self, request: &TransactionRequest) -> CommitAnswer {
        let transaction =
            Transaction::parse(&self.writer.schema(), request, 100).expect("a valid transaction");
        let submitted = within("an answer", self.writer.submit(transaction)).await;
        submitted.expect("a commit")
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.expect("it does not panic");
        drop(self.writer);
        self.publishing.finish().await;
    }
}

pub(crate) struct ListeningReplica {
    pub(crate) progress: Progress,
    pub(crate) health: EventsHealth,
    bell: BellTask,
    running: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl ListeningReplica {
    /// Its only doorbell are events: without one it never looks at the log again.
    pub(crate) async fn start(graph: &TestGraph, name: &str, events: EventsSettings) -> Self {
        Self::start_with(graph, name, events, Vec::new()).await
    }

    /// One that looks at the log at this interval too, as every replica outside these tests does.
    pub(crate) async fn polling(
        graph: &TestGraph,
        name: &str,
        events: EventsSettings,
        every: Duration,
    ) -> Self {
        let poll = PollInterval(watch::channel(every).1);
        Self::start_with(graph, name, events, vec![Box::new(poll)]).await
    }

    async fn start_with(
        graph: &TestGraph,
        name: &str,
        events: EventsSettings,
        mut doorbells: Vec<Box<dyn Doorbell>>,
    ) -> Self {
        let (settings, advancer, found) = open(graph, name, Role::Replica).await;
        let (progress, shutdown) = (advancer.progress.clone(), CancellationToken::new());
        let health = EventsHealth::new(graph.clock.clone());
        let (bell, task) =
            JetStreamBell::start(events, name, progress.clone(), health.clone(), shutdown.clone());
        let lease = LeaseKeeper::new(name, settings.lease_ttl, graph.clock.clone()).expect("a lease's name");
        let replica = Replica::new(advancer, graph.store.clone(), lease, found, 256, 500);
        doorbells.push(Box::new(bell));
        let running = tokio::spawn(replica.run(doorbells, shutdown.clone()));
        Self {
            progress,
            health,
            bell: task,
            running,
            shutdown,
        }
    }

    /// Waits until it follows by events, and not by its own first look.
    pub(crate) async fn listens(&self) {
        until("the replica to listen", || self.health.view().connected).await;
    }

    pub(crate) fn tx_id(&self) -> TxId {
        self.progress.view().watermark.unwrap_or_default().tx_id
    }

    pub(crate) async fn reaches(&self, answer: &CommitAnswer) {
        until("the replica to follow", || self.tx_id() >= answer.tx_id).await;
        assert_eq!(self.tx_id(), answer.tx_id);
    }

    pub(crate) async fn leave(self) {
        self.shutdown.cancel();
        within("the replica to leave", self.running)
            .await
            .expect("it does not panic");
        self.bell.finish().await;
    }
}
