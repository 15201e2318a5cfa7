//! The graph's pods, as they say themselves: `GET /v1/status` of each.
//!
//! Flow: pods → one request each, side by side, 2 s at most → [`Reading`]s → ([`Followed`]) how long each has been behind.
//! Owns: the shape of `/v1/status` as far as the operator reads it, and the memory of when a pod was last seen moving.
//! Does not own: what it means for the graph (`status`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crds::MemberRole;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;

use crate::desired::ROLE_LABEL;

/// Requests to pods of one graph at the same time.
const CONCURRENT_READINGS: usize = 32;

/// A node's own account; fields that an older or newer sidecar lacks are left at their default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// `starting`, `building`, `following`, `degraded` or `fenced`.
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
    /// Why a container of it does not run, for example `CrashLoopBackOff`.
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
        waiting: waiting(&pod),
        answer: ask(&client, &pod, port, timeout).await,
        behind: Duration::ZERO,
    }
}

async fn ask(client: &reqwest::Client, pod: &Pod, port: u16, timeout: Duration) -> Option<Answer> {
    let address: std::net::IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let url = format!("http://{}/v1/status", std::net::SocketAddr::new(address, port));
    let request = client.get(url).timeout(timeout).send();
    let answer = request.await.and_then(reqwest::Response::error_for_status);
    let parsed = match answer {
        Ok(answer) => answer.json().await,
        Err(error) => Err(error),
    };
    parsed
        .inspect_err(|error| {
            tracing::debug!(
                pod = pod.name_any(),
                error = error as &dyn std::error::Error,
                "no status"
            )
        })
        .ok()
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

/// The reason of the first container that waits for something a person should know, or of a pod that fits no node.
fn waiting(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    let reasons = containers.filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone()?;
        (!matches!(reason.as_str(), "ContainerCreating" | "PodInitializing"))
            .then(|| format!("container {} waits: {reason}", container.name))
    });
    let unschedulable = status.conditions.iter().flatten().filter_map(|condition| {
        let stuck = condition.type_ == "PodScheduled" && condition.status == "False";
        stuck.then(|| format!("not scheduled: {}", condition.message.clone().unwrap_or_default()))
    });
    reasons.chain(unschedulable).next()
}

/// Which head each pod has still to reach, and since when.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    behind: HashMap<String, (u64, Timestamp)>,
}

impl Followed {
    /// Fills in `behind` of each reading. `seq_of` is the last known watermark of a pod that did not answer.
    pub(crate) fn update(
        &mut self,
        readings: &mut [Reading],
        head: u64,
        seq_of: impl Fn(&str) -> u64,
        now: Timestamp,
    ) {
        self.behind
            .retain(|pod, _| readings.iter().any(|reading| reading.pod == *pod));
        for reading in readings {
            let answered = reading.answer.as_ref().and_then(|answer| answer.seq);
            let seq = answered.unwrap_or_else(|| seq_of(&reading.pod));
            if seq >= head {
                self.behind.remove(&reading.pod);
                continue;
            }
            let (target, since) = self.behind.entry(reading.pod.clone()).or_insert((head, now));
            if seq >= *target {
                (*target, *since) = (head, now);
            }
            reading.behind = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reading(pod: &str, seq: Option<u64>) -> Reading {
        Reading {
            pod: pod.to_owned(),
            role: MemberRole::Replica,
            ready: true,
            waiting: None,
            answer: seq.map(|seq| Answer {
                seq: Some(seq),
                ..Answer::default()
            }),
            behind: Duration::ZERO,
        }
    }

    #[test]
    fn a_pod_that_keeps_reaching_older_heads_is_not_behind_for_long() {
        let mut followed = Followed::default();
        let mut behind = |second, seq, head| {
            let mut readings = [reading("a", seq)];
            let now = Timestamp::from_second(second).unwrap();
            followed.update(&mut readings, head, |_| 3, now);
            readings[0].behind.as_secs()
        };
        assert_eq!(behind(0, Some(10), 10), 0);
        assert_eq!(behind(5, Some(10), 20), 0);
        assert_eq!(behind(10, Some(20), 30), 0, "reached the 20 of before");
        assert_eq!(behind(15, Some(25), 40), 5, "not yet at 30");
        assert_eq!(behind(20, None, 40), 10, "no answer is no progress");
        assert_eq!(behind(25, Some(40), 40), 0);
        assert_eq!(behind(30, Some(40), 41), 0);
    }

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

    #[test]
    fn a_pod_tells_why_it_waits() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "g-replica-1", "labels": {"slipstream.dev/role": "replica"}},
            "status": {"containerStatuses": [{"name": "sidecar", "image": "x", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}
        }))
        .unwrap();
        assert_eq!(
            waiting(&pod).as_deref(),
            Some("container sidecar waits: CrashLoopBackOff")
        );
        assert_eq!(role_of(&pod), Some(MemberRole::Replica));
        assert!(is_live(&pod) && !is_ready(&pod));
        assert_eq!(role_of(&Pod::default()), None);
    }
}
