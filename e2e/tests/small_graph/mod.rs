//! A small graph in real processes, for one test: its resource, its directory, its ports.

use std::time::Duration;

use slipstream_e2e::local_process::{LocalProcess, LocalSettings, find_binary};
use slipstream_e2e::ports::free_base_port;
use tempfile::TempDir;

pub(crate) const READY_WITHIN: Duration = Duration::from_secs(120);

const RESOURCE: &str = "
apiVersion: slipstream.dev/v1alpha1
kind: ReplicatedGraphDB
metadata: {name: small}
spec:
  replicas: 1
  storage: {uri: 's3://graphs/small'} # `slipstream local` keeps its storage below --data-dir
  schema:
    nodes:
      - name: Item
        primaryKey: id
        properties:
          - {name: id, type: string}
          - {name: size, type: int64}
          - {name: note, type: string}
          - {name: embedding, type: vector, dimension: 4}
    edges:
      - {name: NEAR, from: Item, to: Item, properties: [{name: weight, type: double}]}
";

pub(crate) struct SmallGraph {
    pub(crate) local: LocalProcess,
    // Removed after the processes have stopped.
    _directory: TempDir,
}

impl SmallGraph {
    /// Writer and one replica, ready.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let graph_file = directory.path().join("small.yaml");
        std::fs::write(&graph_file, RESOURCE).unwrap();
        let settings = LocalSettings {
            binary: find_binary().unwrap(),
            graph_file,
            data_dir: directory.path().join("data"),
            log_file: directory.path().join("local.log"),
            base_port: free_base_port().unwrap(),
            detached: false,
            remote: None,
        };
        let mut graph = Self {
            local: LocalProcess::start(settings).unwrap(),
            _directory: directory,
        };
        graph.wait_ready().await;
        graph
    }

    pub(crate) async fn wait_ready(&mut self) {
        if let Err(error) = self.local.wait_ready(1, READY_WITHIN).await {
            panic!("{error}\n{}", self.local.logs_tail(40));
        }
    }
}
