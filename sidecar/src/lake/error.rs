//! Why Lance refused, classified by what to do about it.

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
    #[error("failed to {doing} the lake: {source}")]
    Connection {
        doing: &'static str,
        source: Box<lancedb::Error>,
    },
    /// The rows handed over for writing could not be read.
    #[error("failed to read the rows to write: {0}")]
    Rows(#[from] arrow::error::ArrowError),
}

impl LakeError {
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
