//! A small graph with a writer, and replicas that take snapshots when they are told to look.

use std::time::Duration;

use bytes::Bytes;
use crds::Snapshots;
use serde_json::json;
use slipstream::snapshot::{
    SnapshotError, SnapshotInbox, SnapshotLimits, SnapshotMeta, SnapshotRequests, Snapshotter, retained,
};
use slipstream::store::Key;
use slipstream::writer::TransactionRequest;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::cluster::{ReplicaNode, TestGraph, WriterNode};
use crate::support::model::Model;
use crate::support::requests::{transaction, upsert};
use crate::support::waiting::within;

const SCHEMA: &str = "
nodes: [{name: Item, primaryKey: name, properties: [{name: name, type: string}, {name: note, type: string}]}]
edges: [{name: NEXT, from: Item, to: Item}]
";

/// Small parts, so that every snapshot has several.
pub(crate) fn limits() -> SnapshotLimits {
    SnapshotLimits {
        part_bytes: 256 << 10,
        ..SnapshotLimits::default()
    }
}

/// Taken every `every_commits` and hourly.
pub(crate) fn settings(every_commits: u64) -> Snapshots {
    Snapshots {
        schedule: "0 * * * *".to_owned(),
        every_commits,
        keep_last: 2,
        max_age: "1s".parse().expect("a duration"),
        ..Snapshots::default()
    }
}

/// A graph, its writer and what it must hold.
pub(crate) struct Scene {
    pub(crate) graph: TestGraph,
    pub(crate) writer: WriterNode,
    pub(crate) model: Model,
    next: u64,
}

/// A replica that takes snapshots, and the means to change its settings and to ask it for one.
pub(crate) struct Taker {
    pub(crate) node: ReplicaNode,
    pub(crate) settings: watch::Sender<Snapshots>,
    pub(crate) requests: SnapshotRequests,
}

impl Scene {
    /// With a few hundred rows.
    pub(crate) async fn new() -> Self {
        let graph = TestGraph::new(SCHEMA);
        let (writer, model) = (graph.start_writer("writer").await, Model::new(&graph.schema));
        let mut scene = Self {
            graph,
            writer,
            model,
            next: 0,
        };
        let rows = (0..300)
            .map(|number| json!({"name": format!("row-{number}"), "note": format!("{:x}", number * 7919)}));
        scene.apply(transaction([upsert("Item", rows)])).await;
        scene
    }

    pub(crate) async fn apply(&mut self, request: TransactionRequest) {
        self.writer.commit(&request).await;
        self.model.apply(&request.operations).expect("valid");
    }

    /// Makes so many commits, each of a node and an edge.
    pub(crate) async fn commits(&mut self, count: u64) {
        for _ in 0..count {
            let name = format!("item-{}", self.next);
            self.next += 1;
            let request = transaction([
                upsert("Item", [json!({"name": name, "note": "new"})]),
                upsert("NEXT", [json!({"from": name, "to": "row-1"})]),
            ]);
            self.apply(request).await;
        }
    }

    /// A replica at the head that takes snapshots by these settings.
    pub(crate) async fn taker(&self, name: &str, settings: Snapshots) -> Taker {
        self.taker_with(name, settings, limits()).await
    }

    pub(crate) async fn taker_with(&self, name: &str, settings: Snapshots, limits: SnapshotLimits) -> Taker {
        let (settings, watched) = watch::channel(settings);
        let (requests, inbox) = SnapshotRequests::channel();
        let mut node = self.replica_with(name, watched, inbox, limits).await;
        node.catch_up().await;
        Taker {
            node,
            settings,
            requests,
        }
    }

    async fn replica_with(
        &self,
        name: &str,
        settings: watch::Receiver<Snapshots>,
        inbox: SnapshotInbox,
        limits: SnapshotLimits,
    ) -> ReplicaNode {
        let ReplicaNode {
            name,
            replica,
            advancer,
        } = self.graph.start_replica(name).await;
        let cancel = CancellationToken::new();
        let snapshotter = Snapshotter::new(self.graph.store.clone(), &name, limits, settings, inbox, cancel);
        ReplicaNode {
            name,
            replica: replica.with_snapshots(snapshotter, limits),
            advancer,
        }
    }

    /// The complete snapshots, newest first.
    pub(crate) async fn retained(&self) -> Vec<SnapshotMeta> {
        retained(&*self.graph.store).await.expect("the store answers")
    }

    /// Every object below `kuzu-snapshots/`.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let listed = self.graph.store.list("kuzu-snapshots/", None, 10_000).await;
        let listed = listed.expect("the store answers");
        listed.into_iter().map(|entry| entry.key.to_string()).collect()
    }

    /// Changes an object of a snapshot.
    pub(crate) async fn tamper(&self, meta: &SnapshotMeta, object: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let key = Key::new(format!("kuzu-snapshots/{}/{object}", meta.tx_id)).expect("a key");
        let found = self.graph.store.get(&key).await.expect("the store answers");
        let mut bytes = found.expect("the object is there").bytes.to_vec();
        change(&mut bytes);
        self.graph
            .store
            .put(&key, Bytes::from(bytes))
            .await
            .expect("stored");
    }

    /// Moves the clock of all nodes.
    pub(crate) fn pass(&self, time: Duration) {
        self.graph
            .clock
            .shift_millis(i64::try_from(time.as_millis()).expect("not long"));
    }
}

impl Taker {
    /// One look, and all that comes of it.
    pub(crate) async fn look(&mut self) -> Result<Option<SnapshotMeta>, SnapshotError> {
        within("a look at the snapshots", self.node.replica.take_due_snapshot()).await
    }

    /// A snapshot that must be taken now.
    pub(crate) async fn take(&mut self) -> SnapshotMeta {
        self.node.catch_up().await;
        let taken = self.look().await.expect("a snapshot");
        taken.expect("a snapshot is due")
    }
}
