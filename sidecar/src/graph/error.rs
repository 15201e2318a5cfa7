//! Why the graph engine refused, classified by what to do about it.

use std::path::PathBuf;

/// A failed operation on the local graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The engine failed inside a write or at open. The local graph is in doubt: discard and rebuild it.
    #[error("the graph engine failed to {doing}: {detail}")]
    Engine { doing: String, detail: String },
    /// The local graph does not hold what Lance says it held. Discard and rebuild it.
    #[error("the local graph diverged in table {table}: {detail}")]
    Diverged { table: String, detail: String },
    #[error("failed to {doing} {path}: {source}", path = path.display())]
    Files {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// Rows could not be handed over to the engine.
    #[error("failed to hand rows over to the graph engine: {0}")]
    Rows(String),
    /// The other side went away: nothing was changed.
    #[error("the apply was abandoned before its end")]
    Abandoned,
    /// Rebuilding reads Lance; what failed there.
    #[error(transparent)]
    Lake(#[from] crate::lake::LakeError),
    /// The user's query is at fault: reject it.
    #[error("{0}")]
    Query(String),
    /// The query ran longer than it may.
    #[error("the query ran longer than {timeout_ms} ms and was interrupted")]
    Timeout { timeout_ms: u64 },
    /// The query was ended for a checkpoint that could not wait any longer: ask again.
    #[error("the node had to checkpoint its graph and ended the query for it: ask again, or ask a replica")]
    GaveWay,
}

impl GraphError {
    /// Wraps an error of the engine with what was going on.
    pub(super) fn engine(doing: impl Into<String>) -> impl FnOnce(kuzu::Error) -> Self {
        let doing = doing.into();
        move |error| GraphError::Engine {
            doing,
            detail: error.to_string(),
        }
    }
}
