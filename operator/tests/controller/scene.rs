//! An operator beside an API server in memory, and what its graph says.

use std::sync::atomic::Ordering;
use std::time::Duration;

use operator::controller::Controller;
use operator::settings::Settings;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::api_server::{ApiServer, Kill};
use crate::support::pods::{self, Sidecar};
use crate::support::waiting::until;

pub(crate) const GRAPHS: &str = "slipstream.dev/v1alpha1/replicatedgraphdbs";
pub(crate) const DEPLOYMENTS: &str = "apps/v1/deployments";
pub(crate) const STATEFUL_SETS: &str = "apps/v1/statefulsets";
pub(crate) const CONFIG_MAPS: &str = "v1/configmaps";
pub(crate) const SERVICES: &str = "v1/services";
pub(crate) const PODS: &str = "v1/pods";
pub(crate) const JOBS: &str = "batch/v1/jobs";
pub(crate) const ACCOUNTS: &str = "v1/serviceaccounts";
pub(crate) const POLICIES: &str = "networking.k8s.io/v1/networkpolicies";
pub(crate) const POD_MONITORS: &str = "monitoring.coreos.com/v1/podmonitors";
pub(crate) const EVENTS: &str = "events.k8s.io/v1/events";

/// A running operator; dropping it ends it at once.
pub(crate) struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn start(server: &ApiServer, kill: Kill, member_port: u16) -> Operator {
    start_with(server, kill, member_port, "docker.io/local/slipstream:1")
}

pub(crate) fn start_with(server: &ApiServer, kill: Kill, member_port: u16, image: &str) -> Operator {
    let settings = Settings {
        sidecar_image: image.to_owned(),
        debounce: Duration::from_millis(1),
        measure_every: Duration::from_millis(20),
        member_timeout: Duration::from_millis(500),
        member_port,
        ..Settings::default()
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let controller = Controller::new(server.client(kill), http, settings, "test".to_owned(), None);
    Operator(tokio::spawn(controller.run(std::future::pending())))
}

pub(crate) fn graph(name: &str) -> Value {
    json!({
        "apiVersion": "slipstream.dev/v1alpha1", "kind": "ReplicatedGraphDB",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "storage": {"uri": format!("s3://graphs/{name}")},
            "schema": {"nodes": [{"name": "Package", "primaryKey": "name", "properties": [{"name": "name", "type": "string"}]}]}
        }
    })
}

/// A graph whose writer's pod answers, reconciled until it is Ready.
pub(crate) async fn settled() -> (ApiServer, Sidecar, Operator) {
    let server = ApiServer::new();
    let sidecar = Sidecar::default();
    sidecar.seq.store(5, Ordering::SeqCst);
    let port = pods::serve(sidecar.clone()).await;
    server.put(GRAPHS, graph("g"));
    server.put(PODS, pods::pod("g", "g-writer-0", "writer"));
    let operator = start(&server, Kill::never(), port);
    until("the graph is ready", || {
        is(&server, "g", "Ready", "True", "Serving").then_some(())
    })
    .await;
    until("the Event is published", || {
        (!server.names(EVENTS).is_empty()).then_some(())
    })
    .await;
    (server, sidecar, operator)
}

pub(crate) fn condition(server: &ApiServer, graph: &str, kind: &str) -> Option<Value> {
    let status = server.get(GRAPHS, graph)?["status"].clone();
    let conditions = status["conditions"].as_array()?.clone();
    conditions.into_iter().find(|condition| condition["type"] == kind)
}

pub(crate) fn is(server: &ApiServer, graph: &str, kind: &str, status: &str, reason: &str) -> bool {
    condition(server, graph, kind).is_some_and(|found| found["status"] == status && found["reason"] == reason)
}

/// Waits until the graph was reconciled a few times more: each asks the sidecar once.
pub(crate) async fn reconciled_again(sidecar: &Sidecar) {
    let before = sidecar.asked();
    until("it is reconciled again", || {
        (sidecar.asked() > before + 5).then_some(())
    })
    .await;
}
