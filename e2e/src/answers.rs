//! What a node answers, as far as scenarios look at it.

use serde::Deserialize;
use serde_json::{Map, Value};

/// `GET /v1/status`.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeStatus {
    pub pid: u32,
    pub ready: bool,
    /// The watermark; `None` before the first graph.
    pub seq: Option<u64>,
    pub head: Head,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The newest commit a node knows of.
#[derive(Debug, Clone, Deserialize)]
pub struct Head {
    pub seq: u64,
}

/// What a commit is answered with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CommitAnswer {
    pub tx_id: String,
    pub seq: u64,
}

/// One entry of `GET /v1/commits`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Commit {
    pub seq: u64,
    pub tx_id: String,
    pub prev_tx_id: String,
    pub epoch: u64,
    pub kind: String,
    /// What clients wrote beside their transactions.
    pub notes: Option<String>,
    /// Keys of the requests that it holds.
    #[serde(default)]
    pub idempotency: Vec<IdempotencyKey>,
}

/// A request that a commit holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct IdempotencyKey {
    pub key: String,
}

/// The JSON answer of a query.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
    pub tx_id: String,
    /// The commit that the answer was computed at.
    pub seq: u64,
    pub truncated: bool,
}

/// A column of an answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Column {
    pub name: String,
}
