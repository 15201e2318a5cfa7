//! What a node says of its background work: the fields `snapshots`, `optimizer`, `scrub` and `settings` of `/v1/status`.
//!
//! Owns: their shapes, as far as the operator reads them; a field in a form it does not know counts as absent, so that a
//! sidecar of another version is not taken for one that does not answer. Does not own: what follows (`status`).

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// Snapshots as a node sees them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Snapshots {
    /// The newest complete one in the store.
    pub last: Option<Snapshot>,
    /// When the schedule asks for the next one.
    pub next_due: Option<Timestamp>,
    /// Why this node's last attempt failed.
    pub error: Option<String>,
}

/// A complete snapshot.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Snapshot {
    /// The commit it holds.
    pub seq: u64,
    /// The commit's name.
    pub tx_id: String,
    /// When it was complete.
    pub timestamp: Timestamp,
    /// Size as stored.
    pub bytes: u64,
    /// In milliseconds; 0 from a node that did not take it.
    #[serde(default)]
    pub duration_ms: u64,
}

/// The writer's optimizer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Optimizer {
    /// The newest run that made a commit.
    pub last: Option<Optimize>,
    /// When it looks again.
    pub next_due: Option<Timestamp>,
    /// Removed by cleaning since the process started.
    pub freed_bytes: u64,
    /// Why the last run failed.
    pub error: Option<String>,
}

/// A run of the optimizer that made a commit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Optimize {
    /// Its commit.
    pub seq: u64,
    /// The commit's name.
    pub tx_id: String,
    /// When it was made.
    pub timestamp: Timestamp,
    /// In words.
    pub what: String,
    /// In words.
    pub why: String,
    /// In milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
}

/// Comparisons of a node's graph with the tables.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Scrub {
    /// The last one that came to an end.
    pub last: Option<Compared>,
    /// When the next one begins.
    pub next_due: Option<Timestamp>,
    /// Why the last one did not.
    pub error: Option<String>,
}

/// A comparison that came to an end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Compared {
    /// At which commit.
    pub seq: u64,
    /// When.
    pub timestamp: Timestamp,
    /// Whether both were equal.
    pub ok: bool,
    /// What was not.
    #[serde(default)]
    pub difference: Option<String>,
}

/// The config file as a node follows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Why the file as it is now is not used.
    pub error: Option<String>,
}

/// For `deserialize_with`: the default where the form is not known.
pub(crate) fn as_far_as_known<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}
