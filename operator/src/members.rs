//! The graph's pods, as they say themselves: `GET /v1/status` of each.
//!
//! Flow: pods → one request each, side by side, 2 s at most → [`Reading`]s.
//! Owns: the shape of `/v1/status` as far as the operator reads it. Does not own: how long a pod has been behind
//! (`followed`), why it does not run (`waiting`), what it means for the graph (`status`).

use std::sync::Arc;
use std::time::Duration;

use crds::MemberRole;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;

use crate::desired::ROLE_LABEL;
use crate::reports::{Optimizer, Scrub, Settings, Snapshots, as_far_as_known};
use crate::waiting::why_waiting;

/// Requests to pods of one graph at the same time.
const CONCURRENT_READINGS: usize = 32;
/// Most bytes of one answer; a real one has about a thousand.
const LARGEST_ANSWER: usize = 1 << 20;

/// A node's own account; fields that an older or newer sidecar lacks are left at their default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// `starting`, `building`, `following`, `degraded`, `diverged` or `fenced`.
    pub state: String,
    /// Why, where there is a reason.
    pub state_detail: Option<String>,
    /// The watermark; none before the first graph.
    pub seq: Option<u64>,
    /// The watermark's commit.
    pub tx_id: Option<String>,
    /// When that commit was made.
    pub timestamp: Option<Timestamp>,
    /// The newest commit the node knows of.
    pub head: Position,
    /// Age of the oldest missing commit, in milliseconds.
    pub lag_ms: u64,
    /// The newest epoch the node knows of; a writer's own.
    pub epoch: u64,
    /// What its `/readyz` says.
    pub ready: bool,
    /// The event bus, where one is configured.
    pub events: Option<Link>,
    /// The store.
    pub store: Option<StoreLink>,
    /// Snapshots.
    #[serde(deserialize_with = "as_far_as_known")]
    pub snapshots: Snapshots,
    /// The optimizer; of the writer only.
    #[serde(deserialize_with = "as_far_as_known")]
    pub optimizer: Optimizer,
    /// Comparisons with the tables.
    #[serde(deserialize_with = "as_far_as_known")]
    pub scrub: Scrub,
    /// The config file.
    #[serde(deserialize_with = "as_far_as_known")]
    pub settings: Settings,
}

/// A commit's number and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Dense number; 0 before the first commit.
    pub seq: u64,
    /// UUIDv7.
    pub tx_id: String,
}

/// The event bus as a node sees it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Whether NATS is configured at all.
    pub configured: Option<bool>,
    /// Whether the connection stands.
    pub connected: bool,
    /// Why not.
    pub error: Option<String>,
}

/// The store as a node sees it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StoreLink {
    /// Whether the last request succeeded.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
}

/// One pod and what it answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its name.
    pub pod: String,
    /// From its label.
    pub role: MemberRole,
    /// Whether the kubelet says it is ready.
    pub ready: bool,
    /// Why it does not run, or a container of it does not.
    pub waiting: Option<String>,
    /// What `/v1/status` answered; none when it did not.
    pub answer: Option<Answer>,
    /// How long it has been behind a head that was known then, without reaching it.
    pub behind: Duration,
}

/// Reads all pods. A pod that does not answer in `timeout` has no answer.
pub(crate) async fn read(
    client: &reqwest::Client,
    pods: &[Arc<Pod>],
    port: u16,
    timeout: Duration,
) -> Vec<Reading> {
    let mut requests = Vec::with_capacity(pods.len());
    for pod in pods.iter().cloned() {
        if let Some(role) = role_of(&pod) {
            requests.push(read_one(client.clone(), pod, role, port, timeout));
        }
    }
    let mut readings: Vec<_> = stream::iter(requests)
        .buffer_unordered(CONCURRENT_READINGS)
        .collect()
        .await;
    readings.sort_by(|one, other| (one.role as u8, &one.pod).cmp(&(other.role as u8, &other.pod)));
    readings
}

async fn read_one(
    client: reqwest::Client,
    pod: Arc<Pod>,
    role: MemberRole,
    port: u16,
    timeout: Duration,
) -> Reading {
    Reading {
        pod: pod.name_any(),
        role,
        ready: is_ready(&pod),
        waiting: why_waiting(&pod, Timestamp::now()),
        answer: ask(&client, &pod, port, timeout).await,
        behind: Duration::ZERO,
    }
}

/// Why a pod told nothing.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("failed to ask")]
    Request(#[from] reqwest::Error),
    #[error("failed to read the answer")]
    Json(#[from] serde_json::Error),
    #[error("failed to read the answer: it has more than {LARGEST_ANSWER} bytes")]
    TooLong,
}

async fn ask(client: &reqwest::Client, pod: &Pod, port: u16, timeout: Duration) -> Option<Answer> {
    let address: std::net::IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let url = format!("http://{}/v1/status", std::net::SocketAddr::new(address, port));
    let request = client.get(url).timeout(timeout).send();
    let answer = request.await.and_then(reqwest::Response::error_for_status);
    let body = match answer {
        Ok(answer) => body(answer).await,
        Err(error) => Err(error.into()),
    };
    body.and_then(|body| Ok(serde_json::from_slice(&body)?))
        .inspect_err(|error: &NoAnswer| {
            let error = error as &dyn std::error::Error;
            tracing::debug!(pod = pod.name_any(), error, "no status");
        })
        .ok()
}

/// A pod's answer, bounded: what runs in a pod is not to fill the operator's memory.
async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_ANSWER {
            return Err(NoAnswer::TooLong);
        }
    }
    Ok(body)
}

/// The role in the pod's label; none for a pod that is no member, such as the cleanup Job's.
pub(crate) fn role_of(pod: &Pod) -> Option<MemberRole> {
    match pod.labels().get(ROLE_LABEL).map(String::as_str) {
        Some("writer") => Some(MemberRole::Writer),
        Some("replica") => Some(MemberRole::Replica),
        _ => None,
    }
}

/// Whether the pod counts: not on its way out, not ended.
pub(crate) fn is_live(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_of_an_older_sidecar_is_read_as_far_as_it_goes() {
        let answer: Answer = serde_json::from_value(json!({
            "role": "replica", "state": "following", "state_detail": null, "seq": 4, "tx_id": "x",
            "timestamp": "2026-01-01T00:00:00.5Z", "head": {"seq": 5, "tx_id": "y"}, "lag_commits": 1, "lag_ms": 20,
            "staleness_ms": 20, "epoch": 2, "ready": true, "version": "0.1.0", "pid": 42
        }))
        .unwrap();
        assert_eq!((answer.seq, answer.head.seq, answer.epoch), (Some(4), 5, 2));
        assert_eq!((answer.events, answer.store), (None, None));
        let first: Answer =
            serde_json::from_value(json!({"state": "starting", "seq": null, "store": {"ok": true}})).unwrap();
        assert_eq!((first.seq, first.store.map(|store| store.ok)), (None, Some(true)));
    }

    #[tokio::test]
    async fn an_answer_without_end_is_no_answer() {
        async fn answer_with(length: usize) -> Option<Vec<u8>> {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let router = axum::Router::new().fallback(move || async move { vec![b'x'; length] });
            tokio::spawn(async move { axum::serve(listener, router).await });
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            body(client.get(url).send().await.unwrap()).await.ok()
        }
        assert_eq!(answer_with(1000).await.map(|body| body.len()), Some(1000));
        assert_eq!(answer_with(LARGEST_ANSWER + 1).await, None);
    }

    #[test]
    fn the_role_is_in_the_label() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "g-replica-1", "labels": {"slipstream.dev/role": "replica"}},
        }))
        .unwrap();
        assert_eq!(role_of(&pod), Some(MemberRole::Replica));
        assert!(is_live(&pod) && !is_ready(&pod));
        assert_eq!(role_of(&Pod::default()), None);
    }

    #[test]
    fn a_report_of_an_unknown_form_is_no_report_and_the_rest_is_read() {
        let answer: Answer = serde_json::from_value(json!({
            "state": "following", "seq": 4,
            "snapshots": {"last": {"seq": 3, "tx_id": "x", "timestamp": "2026-01-01T00:00:00.25Z", "bytes": 7,
                "duration_ms": 12, "parts": 2}, "next_due": null, "retained": 1, "running": false, "error": null},
            "optimizer": {"last": "yesterday"}, "scrub": null, "settings": {"generation": 3, "error": "bad"}
        }))
        .unwrap();
        assert_eq!(
            answer.snapshots.last.map(|last| (last.seq, last.bytes)),
            Some((3, 7))
        );
        assert_eq!(
            (answer.optimizer, answer.scrub),
            (Optimizer::default(), Scrub::default())
        );
        assert_eq!(
            (answer.seq, answer.settings.error.as_deref()),
            (Some(4), Some("bad"))
        );
    }
}
