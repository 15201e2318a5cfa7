//! Pods that answer `/v1/status`, on loopback addresses of their own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The sidecar of one pod.
#[derive(Clone, Default)]
pub(crate) struct Sidecar {
    /// How often it was asked.
    pub asked: Arc<AtomicUsize>,
    /// Its watermark.
    pub seq: Arc<AtomicU64>,
    /// What it says besides.
    pub also: Arc<Mutex<Value>>,
}

impl Sidecar {
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Serves one sidecar on 127.0.0.1 and answers with the port.
pub(crate) async fn serve(sidecar: Sidecar) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/v1/status", get(status)).with_state(sidecar);
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn status(State(sidecar): State<Sidecar>) -> Json<Value> {
    sidecar.asked.fetch_add(1, Ordering::SeqCst);
    let seq = sidecar.seq.load(Ordering::SeqCst);
    let tx_id = format!("01900000-0000-7000-8000-{seq:012}");
    let mut answer = json!({
        "role": "writer", "state": "following", "seq": seq, "tx_id": tx_id, "timestamp": "2026-01-01T00:00:00Z",
        "head": {"seq": seq, "tx_id": tx_id}, "lag_commits": 0, "lag_ms": 0, "epoch": 1, "ready": true
    });
    let also = sidecar.also.lock().unwrap().clone();
    if let (Some(answer), Value::Object(also)) = (answer.as_object_mut(), also) {
        answer.extend(also);
    }
    Json(answer)
}

/// A pod of graph `graph` that the kubelet calls ready.
pub(crate) fn pod(graph: &str, name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"slipstream.dev/graph": graph, "slipstream.dev/role": role}},
        "status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    })
}
