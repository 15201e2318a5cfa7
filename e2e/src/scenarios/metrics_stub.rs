//! The metrics API with made-up figures: a small HTTPS server on the node behind an `APIService`.
//!
//! Owns: the server's process, and what it says each pod uses. Does not own: the server (`cluster/metrics_stub.py`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::ScenarioError;
use super::beside::{bound_command, free_port, node_address};
use crate::objects::ready::LOOK;
use crate::objects::{Role, Space};
use crate::wait::{Look, until_every};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/metrics_stub.py");
const API_SERVICE: &str = "v1beta1.metrics.k8s.io";
/// What the writer's pod is said to use, in thousandths of a CPU.
const WRITER_USES: u64 = 5000;
const REFRESH: Duration = Duration::from_millis(500);

/// The running stub.
#[derive(Debug)]
pub(super) struct MetricsStub {
    load: Arc<AtomicU64>,
    refresher: JoinHandle<()>,
    _server: Child,
    _directory: tempfile::TempDir,
}

impl MetricsStub {
    /// Starts the server and registers it; returns when the API server uses it.
    pub(super) async fn start(space: &Space, graph: &str) -> Result<Self, ScenarioError> {
        let directory = tempfile::tempdir().map_err(ScenarioError::system("make a temporary directory"))?;
        let (state, key) = (
            directory.path().join("pods.json"),
            directory.path().join("key.pem"),
        );
        make_certificate(&key).await?;
        let load = Arc::new(AtomicU64::new(0));
        write_state(&state, &pods(space, graph, 0).await?)?;
        let address = node_address(space).await?;
        let port = free_port(&address)?;
        let server = bound_command("python3")
            .arg(SCRIPT)
            .args([&address, &port.to_string()])
            .args([&key, &state])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(ScenarioError::system("start python3"))?;
        let refresher = tokio::spawn(refresh(space.clone(), graph.to_owned(), state, Arc::clone(&load)));
        let stub = Self {
            load,
            refresher,
            _server: server,
            _directory: directory,
        };
        if let Err(error) = register(space, &address, port).await {
            stub.stop(space).await?;
            return Err(error);
        }
        Ok(stub)
    }

    /// What all replicas together use from now on, in thousandths of a CPU.
    pub(super) fn set_load(&self, millis: u64) {
        self.load.store(millis, Ordering::Relaxed);
    }

    /// Takes the API away again, before its server.
    pub(super) async fn stop(self, space: &Space) -> Result<(), ScenarioError> {
        self.refresher.abort();
        space
            .kubectl(&["delete", "apiservice", API_SERVICE, "--ignore-not-found"])
            .await?;
        Ok(())
    }
}

async fn refresh(space: Space, graph: String, state: PathBuf, load: Arc<AtomicU64>) {
    loop {
        // A look that fails is followed by the next one; the old figures stand until then.
        if let Ok(pods) = pods(&space, &graph, load.load(Ordering::Relaxed)).await {
            let _ = write_state(&state, &pods);
        }
        tokio::time::sleep(REFRESH).await;
    }
}

/// The graph's pods with their labels and what each uses.
async fn pods(space: &Space, graph: &str, load: u64) -> Result<Value, ScenarioError> {
    let mut found = Vec::new();
    for role in [Role::Writer, Role::Replica] {
        let pods = space.pods(graph, role).await?;
        let each = match role {
            Role::Writer => WRITER_USES,
            Role::Replica => load / (pods.len().max(1) as u64),
        };
        found.extend(pods.into_iter().map(|pod| {
            json!({"name": pod.metadata.name, "namespace": space.namespace, "labels": pod.metadata.labels,
                "cpu": format!("{each}m")})
        }));
    }
    Ok(Value::Array(found))
}

/// Replaced as a whole: the server never reads half of it.
fn write_state(state: &Path, pods: &Value) -> Result<(), ScenarioError> {
    let new = state.with_extension("new");
    std::fs::write(&new, pods.to_string())
        .and_then(|()| std::fs::rename(&new, state))
        .map_err(ScenarioError::system(format!("write {}", state.display())))
}

/// Key and certificate in one file.
async fn make_certificate(file: &Path) -> Result<(), ScenarioError> {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=metrics-stub",
        ])
        .arg("-keyout")
        .arg(file)
        .arg("-out")
        .arg(file.with_extension("crt"))
        .output()
        .await
        .map_err(ScenarioError::system("run openssl"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(ScenarioError::wrong("openssl req", "a certificate", said))
}

async fn register(space: &Space, address: &str, port: u16) -> Result<(), ScenarioError> {
    let name = "metrics-stub";
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]}});
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
    });
    let registration = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API_SERVICE},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "service": {"name": name, "namespace": space.namespace},
            "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    });
    for manifest in [&service, &slice, &registration] {
        space.apply(manifest).await?;
    }
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", space.namespace);
    until_every(
        LOOK,
        "the stubbed metrics API",
        Duration::from_secs(60),
        async || match space.cluster.kubectl(["get", "--raw", &path]).await {
            Ok(_) => Look::Found(()),
            Err(error) => Look::NotYet(error.to_string()),
        },
    )
    .await?;
    Ok(())
}
