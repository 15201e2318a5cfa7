//! Why a node did not do what it was asked: its problem document (RFC 9457), or what went wrong on the way.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A problem document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    pub detail: String,
    /// Index of the operation within its transaction.
    pub operation: Option<u64>,
    pub table: Option<String>,
    /// Index of the row within its operation or body.
    pub row: Option<u64>,
    pub column: Option<String>,
    /// Line of a text body, from 1.
    pub line: Option<u64>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Problem {
    /// The last part of `type`: `refused`, `forbidden-statement`.
    pub fn slug(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or_default()
    }
}

/// A request without a good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, no answer, or one that broke off.
    #[error("failed to ask {url}: {detail}")]
    Exchange { url: String, detail: String },
    /// The node said no, and why.
    #[error("{url} answered {} {}: {}", .problem.status, .problem.title, .problem.detail)]
    Refused { url: String, problem: Box<Problem> },
    /// An answer of another form than the API promises.
    #[error("failed to understand the answer of {url}: {detail}")]
    Unexpected { url: String, detail: String },
}

impl ClientError {
    /// The node's own words, where it said no.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            Self::Exchange { .. } | Self::Unexpected { .. } => None,
        }
    }
}
