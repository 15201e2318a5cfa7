//! A graph to torture: its store, its config file, and writers and replicas as processes of their own.
//!
//! ```text
//! <directory>/config.yaml          rewritten by `edit`, followed by every node
//!            /store/               the graph's root, unless `config.storage` names another
//!            /nodes/<name>/        a node's data directory
//!            /logs/<name>.log      everything it ever printed
//! ```
//!
//! Owns: directories, ports, the config file. Does not own: when which process lives (the parts of the torture), what is
//! written (`workload`). The directory stays after a failure, so that its logs can be read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crds::{Events, GraphName, Optimizer, Readiness, RoleLimits, Scrub, SidecarConfig, Snapshots, Storage};

use super::TortureError;
pub use super::node_process::{Crash, NodeProcess, NodeSpec, Role};
use crate::ports::{PORTS, free_base_port};

/// Time for a node to start and become ready, in a debug build on a busy machine.
pub const READY_WITHIN: Duration = Duration::from_secs(90);

/// The graph that most parts torture: two node tables with the same keys, and edges between them.
pub const SCHEMA: &str = "
nodes:
  - name: Account
    primaryKey: id
    properties:
      - {name: id, type: int64}
      - {name: stamp, type: int64, required: true}
      - {name: owner, type: string}
      - {name: batch, type: int64}
  - name: Mirror
    primaryKey: id
    properties:
      - {name: id, type: int64}
      - {name: stamp, type: int64, required: true}
      - {name: weight, type: double}
edges:
  - {name: OWES, from: Account, to: Mirror, properties: [{name: amount, type: int64}]}
";

/// A graph's directories, config and ports.
#[derive(Debug)]
pub struct Harness {
    directory: PathBuf,
    binary: PathBuf,
    config: Mutex<SidecarConfig>,
    /// For every process: keys of an S3 server, test settings.
    environment: Vec<(String, String)>,
    /// By the node's name: a node keeps its port over restarts.
    ports: Mutex<Ports>,
}

#[derive(Debug, Default)]
struct Ports {
    taken: HashMap<String, u16>,
    free: Vec<u16>,
}

/// The config of a graph with [`SCHEMA`] in a directory on this machine: polling every 100 ms, and no background work.
///
/// # Errors
/// Not for the schema above.
pub fn quiet_config(store: &Path) -> Result<SidecarConfig, TortureError> {
    Ok(SidecarConfig {
        graph: GraphName {
            namespace: "default".to_owned(),
            name: "torture".to_owned(),
        },
        storage: Storage {
            uri: format!("file://{}", store.display()),
            endpoint: None,
            region: None,
        },
        events: Events {
            nats: None,
            poll_interval: crds::Duration::from_millis(100),
        },
        schema: serde_yaml::from_str(SCHEMA)?,
        snapshots: Snapshots {
            enabled: false,
            ..Snapshots::default()
        },
        optimizer: Optimizer::default(),
        scrub: Scrub {
            enabled: false,
            ..Scrub::default()
        },
        readiness: Readiness::default(),
        limits: RoleLimits::default(),
        generation: 1,
    })
}

impl Harness {
    /// A new graph below `directory`, which is made; its store is `<directory>/store`. Nothing runs yet.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(directory: &Path, binary: &Path) -> Result<Self, TortureError> {
        let config = quiet_config(&directory.join("store"))?;
        Self::with(directory, binary, config, Vec::new())
    }

    /// As [`Harness::new`], with another config and with environment for every process.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn with(
        directory: &Path,
        binary: &Path,
        config: SidecarConfig,
        environment: Vec<(String, String)>,
    ) -> Result<Self, TortureError> {
        for path in [
            directory.join("store"),
            directory.join("nodes"),
            directory.join("logs"),
        ] {
            let made = std::fs::create_dir_all(&path);
            made.map_err(TortureError::system(format!("make {}", path.display())))?;
        }
        let harness = Self {
            directory: directory.to_owned(),
            binary: binary.to_owned(),
            config: Mutex::new(config),
            environment,
            ports: Mutex::default(),
        };
        harness.edit(|_| {})?;
        Ok(harness)
    }

    /// Environment for the processes that are started from now on; see `sidecar/src/test_settings.rs` for
    /// `SLIPSTREAM_TEST_SETTINGS`.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.retain(|(found, _)| found != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Where everything is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The root of a graph that is kept on this machine.
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// The data directory of a node.
    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.directory.join("nodes").join(name)
    }

    /// Changes the config; the file is replaced at once, as a ConfigMap volume does.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn edit(&self, change: impl FnOnce(&mut SidecarConfig)) -> Result<(), TortureError> {
        let mut config = self
            .config
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut config);
        let (fresh, path) = (self.directory.join("config.new"), self.config_file());
        let written = std::fs::write(&fresh, config.to_yaml()?).and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(TortureError::system(format!("write {}", path.display())))
    }

    fn config_file(&self) -> PathBuf {
        self.directory.join("config.yaml")
    }

    /// How the node `name` is started.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn spec(&self, role: Role, name: &str) -> Result<NodeSpec, TortureError> {
        Ok(NodeSpec {
            role,
            name: name.to_owned(),
            binary: self.binary.clone(),
            config: self.config_file(),
            data_dir: self.data_dir(name),
            log: self.directory.join("logs").join(format!("{name}.log")),
            port: self.port(name)?,
            environment: self.environment.clone(),
        })
    }

    /// Starts a node; nothing is ready yet.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(&self, role: Role, name: &str, crash: Option<&Crash>) -> Result<NodeProcess, TortureError> {
        NodeProcess::start(self.spec(role, name)?, crash)
    }

    /// Starts a writer; nothing is ready yet.
    ///
    /// # Errors
    /// As [`Harness::start`].
    pub fn start_writer(&self, name: &str) -> Result<NodeProcess, TortureError> {
        self.start(Role::Writer, name, None)
    }

    /// Starts a replica; nothing is ready yet.
    ///
    /// # Errors
    /// As [`Harness::start`].
    pub fn start_replica(&self, name: &str) -> Result<NodeProcess, TortureError> {
        self.start(Role::Replica, name, None)
    }

    /// Removes what a node keeps; it must not run.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn wipe(&self, name: &str) -> Result<(), TortureError> {
        let path = self.data_dir(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TortureError::system(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// The last lines of every node's log.
    pub fn logs_tail(&self, lines: usize) -> String {
        let entries = std::fs::read_dir(self.directory.join("logs"));
        let mut logs: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        logs.sort();
        logs.iter()
            .map(|log| super::node_process::tail(log, lines))
            .collect()
    }

    fn port(&self, name: &str) -> Result<u16, TortureError> {
        let mut ports = self
            .ports
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(port) = ports.taken.get(name) {
            return Ok(*port);
        }
        if ports.free.is_empty() {
            let base = free_base_port()?;
            ports.free = (base..base + PORTS).rev().collect();
        }
        let port = ports.free.pop().unwrap_or_default();
        ports.taken.insert(name.to_owned(), port);
        Ok(port)
    }
}
