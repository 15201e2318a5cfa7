//! Why Lance refused, classified by what to do about it.

use std::path::PathBuf;

use crate::ids::LanceVersion;

/// A failed operation on a Lance table.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Retry: storage did not answer.
    #[error("failed to {doing} table {table}: {source}")]
    Storage {
        doing: &'static str,
        table: String,
        source: Box<lance::Error>,
    },
    /// Rebuild from the head: that version was cleaned, or never was.
    #[error("version {version} of table {table} is not there: {source}")]
    VersionMissing {
        table: String,
        version: u64,
        source: Box<lance::Error>,
    },
    /// Check the epoch, then restore and redo: somebody else wrote to the table.
    #[error("table {table} moved under the writer: expected version {expected}, found {found}")]
    Interference {
        table: String,
        expected: u64,
        found: String,
    },
    /// The table does not hold what the commit log says.
    #[error("table {table} at version {version} holds {found}, expected {expected}")]
    Mismatch {
        table: String,
        version: u64,
        found: String,
        expected: String,
    },
    /// Bring the object back from a copy of the bucket: what the version holds cannot be known.
    #[error(
        "the manifest of table {table} (version {version}) is damaged: {detail}; bring lance/{table}.lance/_versions back \
         from a copy of the store"
    )]
    Damaged {
        table: String,
        version: String,
        detail: String,
    },
    #[error("failed to {doing}: {source}")]
    Connection {
        doing: String,
        source: Box<lancedb::Error>,
    },
    /// Restore, then retry with new files: these may not survive a power cut, and a second sync of them would prove nothing.
    #[error("failed to make table {table} durable, at {path}: {source}", path = path.display())]
    NotDurable {
        table: String,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The rows handed over for writing could not be read.
    #[error("failed to read the rows to write: {0}")]
    Rows(#[from] arrow::error::ArrowError),
}

impl LakeError {
    /// The same where `version` may have been cleaned: then that is what the error says.
    pub(super) fn reading(
        doing: &'static str,
        table: &str,
        version: LanceVersion,
    ) -> impl FnOnce(lance::Error) -> Self {
        let table = table.to_owned();
        move |source| match source {
            lance::Error::DatasetNotFound { .. }
            | lance::Error::VersionNotFound { .. }
            | lance::Error::NotFound { .. } => LakeError::VersionMissing {
                table,
                version: version.0,
                source: Box::new(source),
            },
            other => LakeError::storage(doing, &table)(other),
        }
    }

    /// Wraps an error of the engine with the place where it happened.
    pub(super) fn storage(doing: &'static str, table: &str) -> impl FnOnce(lance::Error) -> Self {
        let table = table.to_owned();
        move |source| LakeError::Storage {
            doing,
            table,
            source: Box::new(source),
        }
    }
}
