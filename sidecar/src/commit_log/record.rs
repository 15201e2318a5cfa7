//! One entry of the commit log, as it stands in `commits/<seq>.json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crds::GraphSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, LanceVersion, Seq, TxId};
use crate::lake::ManifestDigests;

/// A commit. Holds the full version map, so that a node can join at any single record; only the schema is by reference
/// (docs/decisions/0003-schema-in-the-log.md).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    pub seq: Seq,
    pub tx_id: TxId,
    /// Nil for the first commit.
    pub prev_tx_id: TxId,
    pub epoch: Epoch,
    pub timestamp: DateTime<Utc>,
    pub kind: CommitKind,
    /// The Lance version of every table of the graph, the tombstones among them.
    pub tables: VersionMap,
    /// What the manifests of those versions say.
    #[serde(default, skip_serializing_if = "ManifestDigests::is_empty")]
    pub manifests: ManifestDigests,
    /// The tables that this commit touched.
    #[serde(default)]
    pub changed: Vec<TableChange>,
    /// The `seq` of the commit whose `schema` holds; 0 before the first schema.
    pub schema_version: Seq,
    /// The whole schema, in commits of kind `schema` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<GraphSchema>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Clients' idempotency keys, so that a retry gets this commit's answer, also from the next writer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idempotency: Vec<IdempotencyEntry>,
    /// W3C trace context of the (first) client request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Why a commit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommitKind {
    /// Rows changed.
    Data,
    /// Tables or properties were added.
    Schema,
    /// Lance files were rewritten, rows are the same.
    Optimize,
    /// A new writer took over; repeats the version map.
    Barrier,
}

/// What a commit did to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChange {
    pub table: String,
    /// Rows created or replaced.
    pub upserted: u64,
    /// Rows deleted, edges deleted along with their node included.
    pub deleted: u64,
}

/// A client's idempotency key and what it stood for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyEntry {
    pub key: String,
    /// SHA-256 of the request, hex: the same key with another request is refused.
    pub request: String,
}

/// Lance version by table. On the wire: `[{"table": "...", "version": 42}]`, sorted by table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<TableVersion>", into = "Vec<TableVersion>")]
pub struct VersionMap(pub BTreeMap<String, LanceVersion>);

/// One entry of a [`VersionMap`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    pub table: String,
    pub version: LanceVersion,
}

impl VersionMap {
    /// The version of a table, if the graph has it at this commit.
    pub fn get(&self, table: &str) -> Option<LanceVersion> {
        self.0.get(table).copied()
    }

    /// Sets the version of a table.
    pub fn set(&mut self, table: &str, version: LanceVersion) {
        self.0.insert(table.to_owned(), version);
    }

    /// Sorted by table.
    pub fn iter(&self) -> impl Iterator<Item = (&str, LanceVersion)> {
        self.0.iter().map(|(table, version)| (table.as_str(), *version))
    }
}

impl From<Vec<TableVersion>> for VersionMap {
    fn from(list: Vec<TableVersion>) -> Self {
        Self(
            list.into_iter()
                .map(|entry| (entry.table, entry.version))
                .collect(),
        )
    }
}

impl From<VersionMap> for Vec<TableVersion> {
    fn from(map: VersionMap) -> Self {
        map.0
            .into_iter()
            .map(|(table, version)| TableVersion { table, version })
            .collect()
    }
}

/// A place in the log: what a node's watermark and the head are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub seq: Seq,
    pub tx_id: TxId,
}

impl CommitRecord {
    /// Where this commit stands.
    pub fn position(&self) -> Position {
        Position {
            seq: self.seq,
            tx_id: self.tx_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_map_is_a_list_of_table_and_version_on_the_wire() {
        let mut map = VersionMap::default();
        map.set("b", LanceVersion(2));
        map.set("a", LanceVersion(1));
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(json, r#"[{"table":"a","version":1},{"table":"b","version":2}]"#);
        assert_eq!(serde_json::from_str::<VersionMap>(&json).unwrap(), map);
    }
}
