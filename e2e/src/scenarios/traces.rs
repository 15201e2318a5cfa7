//! One trace from a client's write through the writer and the event to each replica's apply, as a collector sees it.
//! What came is not decoded: a trace id is sixteen bytes that occur nowhere else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Child;

use super::beside::{bound_command, free_port, node_address};
use super::{GRAPH, ScenarioError, Scene};
use crate::objects::pods::{PodView, SIDECAR};
use crate::objects::ready::LOOK;
use crate::objects::small_graph::items;
use crate::objects::{Role, Space};
use crate::wait::{Look, until_every};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/otlp_stub.py");
/// Spans are sent in batches, every few seconds.
const ARRIVES: Duration = Duration::from_secs(40);

/// A collector that keeps what it gets; ends when dropped.
struct Collector {
    endpoint: String,
    _server: Child,
    directory: tempfile::TempDir,
}

impl Collector {
    async fn start(space: &Space) -> Result<Self, ScenarioError> {
        let directory = tempfile::tempdir().map_err(ScenarioError::system("make a temporary directory"))?;
        let address = node_address(space).await?;
        let port = free_port(&address)?;
        let server = bound_command("python3")
            .arg(SCRIPT)
            .args([&address, &port.to_string()])
            .arg(directory.path())
            .stdin(Stdio::null())
            .spawn()
            .map_err(ScenarioError::system("start python3"))?;
        Ok(Self {
            endpoint: format!("http://{address}:{port}"),
            _server: server,
            directory,
        })
    }

    /// Whether the pod at `address` sent a span of that trace in a body that also has all of these words.
    fn has(&self, address: &str, trace: &[u8], words: &[&str]) -> Result<bool, ScenarioError> {
        for file in files(self.directory.path())? {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if !name.starts_with(&format!("{address}-")) || name.ends_with(".new") {
                continue;
            }
            let body =
                std::fs::read(&file).map_err(ScenarioError::system(format!("read {}", file.display())))?;
            if contains(&body, trace) && words.iter().all(|word| contains(&body, word.as_bytes())) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let space = scene.space.clone();
    let collector = Collector::start(&space).await?;
    let env = json!([{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": collector.endpoint}]);
    let template = json!({"podTemplate": {"spec": {"containers": [{"name": SIDECAR, "env": env}]}}});
    let graph = scene
        .small_graph(2)
        .with_nats(&scene.stage.backends)
        .with(&json!({"spec": {"writer": template, "replica": template}}));
    scene.start(&graph, 2).await?;

    let trace: [u8; 16] = rand::random();
    let hex: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
    let writer = space.writer(GRAPH).await?;
    writer
        .commit_traced(&items(0..10), &format!("00-{hex}-00f067aa0ba902b7-01"))
        .await?;
    for (role, words) in [
        (
            Role::Writer,
            ["slipstream-writer", "commit", "publish"].as_slice(),
        ),
        (Role::Replica, ["slipstream-replica", "apply"].as_slice()),
    ] {
        for pod in space.pod_views(GRAPH, role).await? {
            wait_spans(&collector, &pod, &trace, words).await?;
            scene.passed(format!("{}: {} in trace {hex}", pod.name, words.join(", ")));
        }
    }
    Ok(())
}

async fn wait_spans(
    collector: &Collector,
    pod: &PodView,
    trace: &[u8],
    words: &[&str],
) -> Result<(), ScenarioError> {
    let (address, what) = (
        pod.ip.clone().unwrap_or_default(),
        format!("spans {words:?} of {}", pod.name),
    );
    until_every(LOOK, &what, ARRIVES, async || {
        match collector.has(&address, trace, words) {
            Ok(true) => Look::Found(Ok(())),
            Ok(false) => Look::NotYet(format!("not in what {address} sent")),
            Err(error) => Look::Found(Err(error)),
        }
    })
    .await?
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, ScenarioError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    list().map_err(ScenarioError::system(format!("list {}", directory.display())))
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}
