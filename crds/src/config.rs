//! The sidecar's config: the content of the graph's one ConfigMap, and of `slipstream local`'s config file.
//!
//! Owns: the struct that the operator writes and the sidecar re-reads, its YAML form, and how it follows from a resource.
//! Does not own: secrets (they reach the process by environment) and what differs between pods (role, id, address).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cadence::{Optimizer, Readiness, Scrub, Snapshots},
    duration::Duration,
    field_error::SchemaErrors,
    limits::{Limits, RoleLimits},
    resource::ReplicatedGraphDB,
    schema::GraphSchema,
};

/// Everything a sidecar of a graph needs to know, the same for writer and replicas.
///
/// A newer operator writes it for sidecars that keep their older image, and these refuse fields they do not know: a field
/// that is added here must be left out of the text while it has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SidecarConfig {
    /// Which graph this is.
    pub graph: GraphName,
    /// Where its tables and commit log are.
    pub storage: Storage,
    /// How nodes hear of commits.
    #[serde(default)]
    pub events: Events,
    /// Its tables; already checked when made by [`SidecarConfig::from_resource`].
    #[serde(default)]
    pub schema: GraphSchema,
    /// When snapshots are taken and kept.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// When tables are optimized.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// When each node compares its graph with the tables.
    #[serde(default, skip_serializing_if = "Scrub::is_default")]
    pub scrub: Scrub,
    /// How far a replica may lag and still be ready.
    #[serde(default)]
    pub readiness: Readiness,
    /// Bounds on memory, threads and waiting clients, by role.
    #[serde(default)]
    pub limits: RoleLimits,
    /// `metadata.generation` of the resource this came from; 0 where there is none.
    #[serde(default)]
    pub generation: i64,
}

/// The graph's place in Kubernetes; on a laptop the namespace is `default`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GraphName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// The graph's root in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// `s3://bucket/prefix` or `file:///path`.
    pub uri: String,
    /// Address of the S3 server; none for the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// How nodes hear of commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Events {
    /// JetStream; without it, polling alone runs the graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<NatsConfig>,
    /// Time from one look at the commit log to the next.
    pub poll_interval: Duration,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            nats: None,
            poll_interval: DEFAULT_POLL_INTERVAL,
        }
    }
}

pub(crate) const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Where version-map events are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NatsConfig {
    /// `nats://host:port`.
    pub url: String,
    /// Subject of the graph's events, already resolved.
    pub subject: String,
}

/// A config text that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to read or write the sidecar's config: {0}")]
pub struct ConfigError(#[from] serde_yaml::Error);

impl SidecarConfig {
    /// The config that follows from a resource, after a check of the whole resource.
    ///
    /// # Errors
    /// Every field of the resource that is wrong.
    pub fn from_resource(resource: &ReplicatedGraphDB) -> Result<Self, SchemaErrors> {
        resource.check()?;
        let spec = &resource.spec;
        let graph = GraphName {
            namespace: resource
                .metadata
                .namespace
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            name: resource.metadata.name.clone().unwrap_or_default(),
        };
        let nats = spec.events.nats.as_ref().map(|nats| NatsConfig {
            url: nats.url.clone(),
            subject: nats
                .subject
                .clone()
                .unwrap_or_else(|| format!("slipstream.versionmap.{}.{}", graph.namespace, graph.name)),
        });
        Ok(Self {
            storage: Storage {
                uri: spec.storage.uri.clone(),
                endpoint: spec.storage.endpoint.clone(),
                region: spec.storage.region.clone(),
            },
            events: Events {
                nats,
                poll_interval: spec.events.poll_interval,
            },
            schema: spec.schema.clone(),
            snapshots: spec.snapshots.clone(),
            optimizer: spec.optimizer.clone(),
            scrub: spec.scrub.clone(),
            readiness: spec.readiness.clone(),
            limits: RoleLimits {
                writer: Limits {
                    queue_transactions: spec.writer.queue_transactions,
                    ..Limits::of(&spec.writer.resources)
                },
                replica: Limits::of(&spec.replica.resources),
            },
            generation: resource.metadata.generation.unwrap_or_default(),
            graph,
        })
    }

    /// Checks the values of a config that was read, whoever wrote it: the schema and the cadences.
    ///
    /// # Errors
    /// Every field that is wrong, named as in the resource.
    pub fn check(&self) -> Result<(), SchemaErrors> {
        self.schema.check()?;
        let mut errors = SchemaErrors::default();
        self.snapshots.check(&mut errors);
        self.optimizer.check(&mut errors);
        self.scrub.check(&mut errors);
        errors.into_result()
    }

    /// The YAML form; [`SidecarConfig::from_yaml`] gives back an equal value.
    ///
    /// # Errors
    /// Not for any config that can be built; kept because the serializer reports one.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        Ok(serde_yaml::to_string(self)?)
    }

    /// Reads the YAML form.
    ///
    /// # Errors
    /// Names the field, line and column that is wrong; unknown fields are refused.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        Ok(serde_yaml::from_str(text)?)
    }
}
