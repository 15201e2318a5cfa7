//! The `ReplicatedGraphDB` resource and the config that the operator hands to the sidecar.
//!
//! Flow: YAML → [`ReplicatedGraphDB`] → [`ReplicatedGraphDB::check`] → [`SidecarConfig`] → ConfigMap → sidecar.
//! Owns: the outside interface in YAML, its defaults and its checks, on both sides of the API server.
//! Does not own: anything that runs. This crate does no I/O.

mod cadence;
mod conditions;
mod config;
mod crd;
mod duration;
mod field_error;
mod limits;
mod optimizer_interval;
mod pod_template_check;
mod pod_template_schema;
mod quantity;
mod reason;
mod resource;
mod resource_check;
mod resource_yaml;
mod schema;
mod schema_change;
mod schema_check;
mod status;

pub use cadence::{Compaction, Indices, Optimizer, Readiness, Scrub, Snapshots};
pub use conditions::{ConditionType, set_condition};
pub use config::{ConfigError, Events, GraphName, NatsConfig, SidecarConfig, Storage};
pub use crd::{crd, crd_yaml};
pub use duration::{DURATION_PATTERN, Duration, DurationError};
pub use field_error::{FieldError, SchemaErrors};
pub use limits::{Limits, RoleLimits};
pub use optimizer_interval::{OPTIMIZER_INTERVAL_PATTERN, OptimizerInterval, OptimizerIntervalError};
pub use pod_template_check::SIDECAR_CONTAINER;
pub use quantity::{QuantityError, bytes};
pub use reason::Reason;
pub use resource::{
    Cache, DeletionPolicy, EventsSpec, MAX_REPLICAS, NatsSpec, NetworkPolicySpec, ReplicaSpec,
    ReplicatedGraphDB, ReplicatedGraphDBSpec, SecretRef, StorageSpec, Volume, WriterSpec,
};
pub use resource_yaml::ResourceError;
pub use schema::{
    EdgeTable, GraphSchema, IndexKind, MAX_DIMENSION, MAX_EDGE_TABLES, MAX_NAME_LENGTH, MAX_NODE_TABLES,
    MAX_PROPERTIES, NAME_PATTERN, NodeTable, Property, PropertyType, RESERVED_EDGE_PROPERTY_NAMES,
    RESERVED_TABLE_NAMES, ScalarType,
};
pub use schema_change::SchemaChange;
pub use status::{
    Connection, Head, LastOptimize, LastScrub, LastSnapshot, MemberRole, MemberState, MemberStatus,
    ReplicatedGraphDBStatus, WriterStatus,
};
