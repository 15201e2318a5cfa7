//! The status of a `ReplicatedGraphDB` (design section 8).
//!
//! Owns: its shape. Does not own: the words in its conditions (`conditions`) and who writes it (the operator).

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its visibility, inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was last observed of a graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicatedGraphDBStatus {
    /// `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Replica pods that exist; the writer is not counted.
    #[serde(default)]
    pub replicas: u32,
    /// Replica pods that are ready: their lag is within `spec.readiness`.
    #[serde(default)]
    pub ready_replicas: u32,
    /// Label selector of the replica pods, in text form, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The newest commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Largest lag of a replica, in commits; absent while no replica has reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag_commits: Option<u64>,
    /// The writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<WriterStatus>,
    /// Writer and replicas, by pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["pod".into()]))]
    pub members: Vec<MemberStatus>,
    /// The newest complete snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_snapshot: Option<LastSnapshot>,
    /// When the schedule asks for the next snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_snapshot: Option<Time>,
    /// The newest `optimize` commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_optimize: Option<LastOptimize>,
    /// When the writer looks next whether there is something to optimize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_optimize: Option<Time>,
    /// The object store, as the pods see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Connection>,
    /// NATS, as the pods see it; absent where polling alone runs the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Connection>,
    /// Image of the sidecars, decided when the graph was made or by `spec.image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// One condition per type; see `ConditionType`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The newest commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Dense commit number.
    pub seq: u64,
    /// UUIDv7 of the commit.
    pub tx_id: String,
    /// When it was committed, by the writer's clock.
    pub timestamp: Time,
}

/// The writer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriterStatus {
    /// Number of the writer incarnation.
    pub epoch: u64,
    /// Its pod.
    pub pod: String,
    /// Whether it accepts transactions.
    pub ready: bool,
}

/// One pod of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its pod.
    pub pod: String,
    /// Writer or replica.
    pub role: MemberRole,
    /// Its watermark.
    pub seq: u64,
    /// Head minus watermark, in commits.
    pub lag_commits: u64,
    /// Head minus watermark, in seconds.
    pub lag_seconds: u64,
    /// What it is doing.
    pub state: MemberState,
    /// When `state` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last comparison of its graph with the tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scrub: Option<LastScrub>,
}

/// Role of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberRole {
    /// Commits.
    Writer,
    /// Follows.
    Replica,
}

/// What a pod is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberState {
    /// Getting its first graph, from a snapshot or from Lance.
    Bootstrapping,
    /// Serving, within the allowed lag.
    Ready,
    /// Serving, beyond the allowed lag.
    Lagging,
    /// Serving its old graph while it builds a new one.
    Rebuilding,
    /// Not serving: its graph differs from the tables, and is built anew.
    Diverged,
    /// Its status could not be read.
    Unreachable,
}

/// One comparison of a pod's graph with the tables it was derived from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastScrub {
    /// The commit at which they were compared.
    pub seq: u64,
    /// When.
    pub timestamp: Time,
    /// Whether they were equal.
    pub ok: bool,
    /// What differed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// A server outside that the pods need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Whether every pod that answers reaches it.
    pub connected: bool,
    /// Pods that do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable_from: Vec<String>,
    /// Why the first of them does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The newest complete snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastSnapshot {
    /// The commit it holds.
    pub seq: u64,
    /// UUIDv7 of that commit, the snapshot's name in the store.
    pub tx_id: String,
    /// When it was completed.
    pub timestamp: Time,
    /// Size of all parts, compressed.
    pub bytes: u64,
    /// How long it took, in milliseconds; absent when the pod that took it has gone since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// The newest `optimize` commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastOptimize {
    /// Its commit number.
    pub seq: u64,
    /// UUIDv7 of the commit.
    pub tx_id: String,
    /// When it was committed.
    pub timestamp: Time,
    /// Tables, and what was done to them.
    pub what: String,
    /// Why it ran: the cadence, or what the tables' statistics said.
    pub why: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Bytes that cleaning has removed from the store since the writer started.
    pub freed_bytes: u64,
}
