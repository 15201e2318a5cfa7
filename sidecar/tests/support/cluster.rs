//! One graph in a temporary directory, and its nodes. A node is stopped or killed and opened again on the same directory, as
//! a process would be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crds::{GraphSchema, SidecarConfig};
use slipstream::clock::Clock;
use slipstream::commit_log::CommitLog;
use slipstream::graph::{EngineLimits, Graph, Watermark};
use slipstream::ids::Seq;
use slipstream::lake::Lake;
use slipstream::node::{LocalGraph, Progress, Role};
use slipstream::replica::{AdvanceError, Advancer, LeaseKeeper, Replica};
use slipstream::rows::decode_json_rows;
use slipstream::settings::Settings;
use slipstream::store::Store;
use slipstream::writer::{
    CommitAnswer, CommitError, RunningWriter, TakeoverError, Transaction, TransactionRequest, WriteError,
    Writer, idempotency_entry,
};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::waiting::{until, within};

/// A graph's storage root and its nodes' data directories.
pub(crate) struct TestGraph {
    directory: TempDir,
    uri: String,
    pub(crate) schema: GraphSchema,
    /// Shared by all nodes.
    pub(crate) clock: Clock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: CommitLog,
    /// Of the nodes that are started from now on.
    pub(crate) outgrown_from_bytes: u64,
}

/// A writer that took over and runs.
pub(crate) struct WriterNode {
    pub(crate) writer: Writer,
    pub(crate) advancer: Advancer,
    /// What a reader rings that wants a fresh state.
    pub(crate) wake: Arc<Notify>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), CommitError>>,
}

/// A replica that moves only when it is told to.
pub(crate) struct ReplicaNode {
    pub(crate) name: String,
    pub(crate) replica: Replica,
    pub(crate) advancer: Advancer,
}

impl TestGraph {
    /// An empty root; `schema` is what writers are started with.
    pub(crate) fn new(schema: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let uri = format!("file://{}", directory.path().join("root").display());
        let store = slipstream::store::open(&uri).expect("a file store");
        Self {
            directory,
            uri,
            schema: parse_schema(schema),
            clock: Clock::default(),
            log: CommitLog::new(store.clone()),
            store,
            outgrown_from_bytes: EngineLimits::default().outgrown_from_bytes,
        }
    }

    /// The data directory of the node `name`; two nodes never share one.
    pub(crate) fn data_dir(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The name of the graph that the node would open, were it started now.
    pub(crate) fn current_graph(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.data_dir(name).join("CURRENT")).ok()
    }

    /// A fresh connection to the tables.
    pub(crate) async fn lake(&self) -> Lake {
        Lake::open(&self.uri)
    }

    /// Settings of the node `name`. The heartbeat stays quiet, so that fencing shows where a test wants it to.
    pub(crate) fn settings(&self, name: &str) -> Settings {
        let config = format!(
            "graph: {{namespace: default, name: test}}\nstorage: {{uri: {:?}}}\n",
            self.uri
        );
        let config = SidecarConfig::from_yaml(&config).expect("a config");
        let limits = EngineLimits {
            buffer_pool_bytes: 64 << 20,
            threads: 2,
            max_database_bytes: 1 << 32,
            outgrown_from_bytes: self.outgrown_from_bytes,
        };
        // The role only chooses limits, and the config has none.
        let settings = Settings::new(&config, Role::Writer, name.to_owned(), self.data_dir(name));
        Settings {
            limits,
            heartbeat: Duration::from_secs(3600),
            ..settings
        }
    }

    /// Starts the writer `name`, which must succeed.
    pub(crate) async fn start_writer(&self, name: &str) -> WriterNode {
        let started = self.try_start_writer(self.settings(name), &self.schema).await;
        started.unwrap_or_else(|error| panic!("writer {name} could not take over: {error}"))
    }

    /// Starts a writer on the data directory that `settings` name.
    pub(crate) async fn try_start_writer(
        &self,
        settings: Settings,
        schema: &GraphSchema,
    ) -> Result<WriterNode, TakeoverError> {
        self.try_start_optimizing_writer(settings, schema, None).await
    }

    /// The same with an optimizer that follows `optimizer`.
    pub(crate) async fn try_start_optimizing_writer(
        &self,
        settings: Settings,
        schema: &GraphSchema,
        optimizer: Option<tokio::sync::watch::Receiver<crds::Optimizer>>,
    ) -> Result<WriterNode, TakeoverError> {
        let (advancer, found) = self.open_node(&settings, Role::Writer).await;
        let takeover =
            RunningWriter::take_over(self.store.clone(), advancer.clone(), settings, schema, found);
        match within("a takeover", Box::pin(takeover)).await {
            Ok(mut running) => {
                if let Some(optimizer) = optimizer {
                    running.optimize_by(optimizer);
                }
                let wake = Arc::new(Notify::new());
                running.look_when_rung(wake.clone());
                let shutdown = CancellationToken::new();
                let writer = running.writer.clone();
                let task = tokio::spawn(running.run(shutdown.clone()));
                Ok(WriterNode {
                    writer,
                    advancer,
                    wake,
                    shutdown,
                    task,
                })
            }
            Err(error) => {
                close(advancer).await;
                Err(error)
            }
        }
    }

    /// Starts the replica `name` with what its data directory holds.
    pub(crate) async fn start_replica(&self, name: &str) -> ReplicaNode {
        self.start_replica_with(name, 256, 500).await
    }

    /// The same with a bound on coalescing and on commits between checkpoints.
    pub(crate) async fn start_replica_with(
        &self,
        name: &str,
        coalesce: usize,
        checkpoint_commits: u64,
    ) -> ReplicaNode {
        let settings = self.settings(name);
        let (advancer, found) = self.open_node(&settings, Role::Replica).await;
        let lease = LeaseKeeper::new(name, settings.lease_ttl, self.clock.clone()).expect("a lease's name");
        let replica = Replica::new(
            advancer.clone(),
            self.store.clone(),
            lease,
            found,
            coalesce,
            checkpoint_commits,
        );
        ReplicaNode {
            name: name.to_owned(),
            replica,
            advancer,
        }
    }

    /// A graph built at the head from nothing but the store.
    pub(crate) async fn fresh_rebuild(&self) -> ReplicaNode {
        let mut fresh = self
            .start_replica(&format!("fresh-{}", uuid::Uuid::now_v7()))
            .await;
        fresh.catch_up().await;
        fresh
    }

    async fn open_node(&self, settings: &Settings, role: Role) -> (Advancer, Option<Watermark>) {
        let (local, found) = LocalGraph::open(&settings.data_dir, settings.limits)
            .await
            .expect("the node's directory");
        let advancer = Advancer {
            lake: Arc::new(self.lake().await),
            log: self.log.clone(),
            local: Arc::new(local),
            progress: Progress::new(role, self.clock.clone()),
        };
        (advancer, found)
    }
}

impl WriterNode {
    /// Parses and submits a request.
    pub(crate) async fn submit(&self, request: &TransactionRequest) -> Result<CommitAnswer, WriteError> {
        let bytes = serde_json::to_vec(request).expect("a request is JSON").len();
        let transaction = Transaction::parse(&self.writer.schema(), request, bytes)?;
        within("an answer of the writer", self.writer.submit(transaction)).await
    }

    /// Submits a request that must be committed.
    pub(crate) async fn commit(&self, request: &TransactionRequest) -> CommitAnswer {
        self.submit(request)
            .await
            .unwrap_or_else(|error| panic!("not committed: {error}\n{request:?}"))
    }

    /// The graph that this writer's readers see.
    pub(crate) fn graph(&self) -> Arc<Graph> {
        self.advancer.local.current().expect("a writer has a graph")
    }

    /// The `seq` that readers of this writer's graph see.
    pub(crate) fn graph_seq(&self) -> Seq {
        self.advancer.progress.view().watermark.unwrap_or_default().seq
    }

    /// Waits until its graph holds the newest commit, or it has ended.
    pub(crate) async fn at_head(&self) {
        until("the writer's graph to hold the head", || {
            self.advancer.progress.view().lag_commits() == 0 || self.has_ended()
        })
        .await;
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// One bulk request of JSON rows in batches of `batch_rows`, with an idempotency key where there is one.
    pub(crate) async fn load(
        &self,
        table: &str,
        rows: &[serde_json::Value],
        batch_rows: usize,
        key: Option<&str>,
    ) -> Result<CommitAnswer, WriteError> {
        let table = self.writer.schema().table(table).expect("a table").clone();
        let mut spooler = self.writer.spooler(table.clone(), key.is_some());
        for (index, chunk) in rows.chunks(batch_rows).enumerate() {
            let batch = decode_json_rows(&table, chunk, (index * batch_rows) as u64)
                .expect("rows of the right types");
            spooler.push(batch).await?;
        }
        let entry = key.map(|key| {
            assert_ne!(spooler.fingerprint(), "");
            idempotency_entry(key, spooler.fingerprint().as_bytes()).expect("a good key")
        });
        let load = spooler.finish(None, entry, None).await?;
        within("an answer of the writer", self.writer.submit_bulk(load)).await
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.ended()
            .await
            .expect("a writer that was asked to stop ends well");
    }

    /// Waits until it ends by itself and everything it held is closed; tells why it ended.
    pub(crate) async fn ended(self) -> Result<(), CommitError> {
        let Self {
            writer,
            advancer,
            task,
            ..
        } = self;
        let ended = within("the writer to end", task)
            .await
            .expect("the writer panicked");
        drop(writer);
        close(advancer).await;
        ended
    }

    /// For killing it at any moment.
    pub(crate) fn kill_switch(&self) -> AbortHandle {
        self.task.abort_handle()
    }

    /// Kills it if it still lives, and waits until everything it held is closed.
    pub(crate) async fn killed(self) {
        let Self {
            writer,
            advancer,
            task,
            ..
        } = self;
        task.abort();
        // Whether it was quicker to end by itself does not matter.
        let _ = task.await;
        drop(writer);
        close(advancer).await;
    }
}

impl ReplicaNode {
    /// Follows until there is nothing more.
    pub(crate) async fn catch_up(&mut self) {
        while self
            .pass()
            .await
            .unwrap_or_else(|error| panic!("replica {} cannot follow: {error}", self.name))
        {}
    }

    /// One pass.
    pub(crate) async fn pass(&mut self) -> Result<bool, AdvanceError> {
        within("a pass of a replica", Box::pin(self.replica.run_once())).await
    }

    /// The graph that its readers see.
    pub(crate) fn graph(&self) -> Arc<Graph> {
        self.advancer.local.current().expect("the replica has a graph")
    }

    /// Drops everything it holds.
    pub(crate) async fn stop(self) {
        let Self {
            replica, advancer, ..
        } = self;
        drop(replica);
        close(advancer).await;
    }
}

/// A process that dies leaves its database at once; here the last thread that uses it must let go first.
async fn close(advancer: Advancer) {
    let (local, graph) = (advancer.local.clone(), advancer.local.current());
    drop(advancer);
    until("builds to end", || !local.is_building()).await;
    drop(local);
    if let Some(graph) = graph {
        until("the graph's users to let go", || Arc::strong_count(&graph) == 1).await;
    }
}

/// A schema as it stands in the resource.
pub(crate) fn parse_schema(yaml: &str) -> GraphSchema {
    serde_yaml::from_str(yaml).expect("a schema")
}
