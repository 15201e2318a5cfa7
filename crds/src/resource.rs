//! The `ReplicatedGraphDB` resource (design section 8).
//!
//! Owns: its shape, its defaults and the rules the API server enforces on it.
//! Does not own: the check of everything the API server cannot (`resource_check`), reading YAML (`resource_yaml`).
//!
//! Defaults in one place: one replica; polling every second, no NATS; 10Gi for the writer's and each replica's volume;
//! cadence as in `cadence`; 1024 waiting transactions; no network policy; data is retained when the resource is deleted.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct, with its visibility, inside a function"
)]

use k8s_openapi::{
    api::{
        core::v1::{PodTemplateSpec, ResourceRequirements},
        networking::v1::NetworkPolicyPeer,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cadence::{Optimizer, Readiness, Scrub, Snapshots},
    config::DEFAULT_POLL_INTERVAL,
    duration::Duration,
    pod_template_schema::pod_template_schema,
    schema::GraphSchema,
    status::ReplicatedGraphDBStatus,
};

/// A replicated property graph: one writer, any number of replicas, tables in object storage.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "slipstream.dev",
    version = "v1alpha1",
    kind = "ReplicatedGraphDB",
    plural = "replicatedgraphdbs",
    shortname = "rgdb",
    namespaced,
    status = "ReplicatedGraphDBStatus",
    derive = "PartialEq",
    doc = "A replicated property graph: one writer, any number of replicas, tables in object storage.",
    annotation("helm.sh/resource-policy", "keep"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", description = "Replicas that are ready"),
    printcolumn(name = "Head", type_ = "integer", json_path = ".status.head.seq", description = "Number of the newest commit"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.maxLagCommits", description = "Largest lag of a replica, in commits"),
    printcolumn(name = "Snapshot", type_ = "date", json_path = ".status.lastSnapshot.timestamp", description = "Age of the newest snapshot", priority = 1),
    printcolumn(name = "Optimized", type_ = "date", json_path = ".status.lastOptimize.timestamp", description = "Age of the newest optimize commit", priority = 1),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].reason", description = "What is wrong, if anything", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("metadata.name: must be a DNS label of at most 40 characters that starts with a letter"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicatedGraphDBSpec {
    /// Number of replica pods; the writer is not counted. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(max = MAX_REPLICAS))]
    pub replicas: u32,
    /// Where the tables and the commit log are.
    pub storage: StorageSpec,
    /// How replicas hear of commits. Without NATS, polling alone runs the graph.
    #[serde(default)]
    pub events: EventsSpec,
    /// Node and edge tables.
    #[serde(default)]
    pub schema: GraphSchema,
    /// When snapshots are taken and how long they are kept.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// When tables are compacted, indexed and cleaned.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// When each node compares its graph with the tables.
    #[serde(default)]
    pub scrub: Scrub,
    /// How far a replica may lag and still be ready.
    #[serde(default)]
    pub readiness: Readiness,
    /// The writer's pod.
    #[serde(default)]
    pub writer: WriterSpec,
    /// The replicas' pods.
    #[serde(default)]
    pub replica: ReplicaSpec,
    /// Image of the sidecar. Default: the one the operator was deployed with when the graph was created; it is kept when
    /// the operator is upgraded, and when this field is taken away again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^[^ ]+$"))]
    pub image: Option<String>,
    /// Who may reach the graph's pods. Default: everybody.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,
    /// Stops reconciling: the operator changes nothing any more, pods keep running as they are. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to the graph's data in the store when the resource is deleted. Default: Retain.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Most replicas of a graph: each holds a lease that the writer reads before it cleans.
pub const MAX_REPLICAS: u32 = 1000;

fn one() -> u32 {
    1
}

/// Where the tables and the commit log are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.uri == oldSelf.uri").message("uri: is immutable").field_path(".uri"))]
pub struct StorageSpec {
    /// The graph's root, `s3://bucket/prefix` or `file:///path`. Immutable.
    #[schemars(regex(pattern = "^(s3://[^/]+|file:///).*$"), length(max = 1024))]
    pub uri: String,
    /// Address of the S3 server; none for the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://.+$"), length(max = 1024))]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub region: Option<String>,
    /// Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; none for the pod's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// A Secret in the resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How replicas hear of commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventsSpec {
    /// JetStream server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<NatsSpec>,
    /// Time from one look at the commit log to the next. Default: 1s.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self.matches('[1-9]')", "message": "pollInterval: must be longer than zero"}
    ]))]
    pub poll_interval: Duration,
}

impl Default for EventsSpec {
    fn default() -> Self {
        Self {
            nats: None,
            poll_interval: DEFAULT_POLL_INTERVAL,
        }
    }
}

/// A JetStream server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NatsSpec {
    /// `nats://host:port` or `tls://host:port`.
    #[schemars(regex(pattern = "^(nats|tls)://.+$"), length(max = 1024))]
    pub url: String,
    /// Subject of the graph's events. Default: `slipstream.versionmap.<namespace>.<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$"), length(max = 255))]
    pub subject: Option<String>,
    /// Secret with any of the keys `nats.creds` (user credentials), `ca.crt` (who signs the server's certificate), and
    /// `tls.crt` with `tls.key` (the client's certificate). None: no credentials, the system's certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// The writer's pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WriterSpec {
    /// Resources of the sidecar's container.
    pub resources: ResourceRequirements,
    /// Transactions that may wait for the writer; more are answered with 429. Default: 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue_transactions: Option<u32>,
    /// Volume of the writer's Kuzu; it can be thrown away, but keeping it makes a restart fast.
    pub storage: Volume,
    /// Merged into the pod that the operator makes: containers, variables and volumes by name, mounts by path. The
    /// container `sidecar` is Slipstream's; where others are added, it starts first and they wait until it has caught up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_template_schema")]
    pub pod_template: Option<PodTemplateSpec>,
}

/// The replicas' pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReplicaSpec {
    /// Resources of the sidecar's container.
    pub resources: ResourceRequirements,
    /// Room for the replica's Kuzu.
    pub cache: Cache,
    /// Merged into the pods that the operator makes: containers, variables and volumes by name, mounts by path. The
    /// container `sidecar` is Slipstream's; where others are added, it starts first and they wait until it has caught up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_template_schema")]
    pub pod_template: Option<PodTemplateSpec>,
}

/// A persistent volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Volume {
    /// Its size. Default: 10Gi.
    pub size: Quantity,
    /// Its storage class; none for the cluster's default, empty for no class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            size: Quantity("10Gi".to_owned()),
            storage_class_name: None,
        }
    }
}

/// Room on the node's disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cache {
    /// Its size; a rebuild needs room for two graphs for a while. Default: 10Gi.
    pub size: Quantity,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            size: Quantity("10Gi".to_owned()),
        }
    }
}

/// Who may reach the graph's pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicySpec {
    /// Whether there is a NetworkPolicy for the graph's pods: it opens port 8080 and the ports that containers in `podTemplate`
    /// declare. Default: false.
    pub enabled: bool,
    /// Who may reach them, besides the operator. Default: every pod of the namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_from: Vec<NetworkPolicyPeer>,
}

/// What happens to the graph's data in the store when the resource is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}
