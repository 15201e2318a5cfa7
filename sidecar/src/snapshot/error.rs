//! Why a snapshot could not be taken, read or restored.

use std::path::PathBuf;

use crate::graph::GraphError;
use crate::store::StoreError;

/// A failed operation on snapshots.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store does not answer, or not now: nothing is known about the snapshot. Try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object of the snapshot is not what was stored: another snapshot or a rebuild serves instead.
    #[error("snapshot {tx_id} is damaged: {object}: {detail}")]
    Damaged {
        /// The directory below `kuzu-snapshots/`.
        tx_id: String,
        /// Name of the object in that directory.
        object: String,
        /// What was found and what was expected.
        detail: String,
    },
    /// A whole snapshot that this program cannot read.
    #[error("snapshot {tx_id} cannot be used here: {detail}")]
    Unusable { tx_id: String, detail: String },
    /// The local graph failed; its checkpoint, for example.
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("failed to {doing} {path}: {source}", path = path.display())]
    Files {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The duty went to another replica meanwhile.
    #[error("the duty to take snapshots went to {holder}")]
    DutyLost { holder: String },
    /// The node shuts down.
    #[error("stopped before the snapshot was complete")]
    Cancelled,
    /// A bug: a task of the snapshot panicked.
    #[error("failed to {doing}: {detail}")]
    Internal { doing: &'static str, detail: String },
    /// A crash point of a test.
    #[error("stopped at crash point {0}")]
    Crashed(&'static str),
}

impl SnapshotError {
    /// Wraps an error of the file system.
    pub(super) fn files(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { doing, path, source }
    }

    /// Whether the snapshot itself is at fault, so that an older one may serve.
    pub fn blames_the_snapshot(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Unusable { .. })
    }
}
