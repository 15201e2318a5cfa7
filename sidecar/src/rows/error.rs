//! Why a row or a body was refused. Every text names the place, what was expected and what was found.

use arrow::error::ArrowError;

use super::Format;

/// An error of a body's source, whatever transport it came by.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One refused row, or a whole batch refused for one of its columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}expected {expected}, found {found}", place(*row, column.as_deref()))]
pub struct RowError {
    /// Counted from 0 within the operation or the body; `None` when a column is wrong as a whole.
    pub row: Option<u64>,
    pub column: Option<String>,
    /// A noun phrase: `a vector of dimension 4`.
    pub expected: String,
    /// A noun phrase: `3 numbers`.
    pub found: String,
}

/// Why a body could not be decoded to its end.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Row(#[from] RowError),
    /// The body is not what its content type says. Lines count from 1, and only NDJSON has them.
    #[error("malformed {format} body{}: {detail}", line.map(|line| format!(" at line {line}")).unwrap_or_default())]
    Malformed {
        format: Format,
        line: Option<u64>,
        detail: String,
    },
    #[error("failed to receive the body")]
    Body(#[source] BoxError),
    #[error("failed to spool the body to local disk")]
    Spool(#[source] std::io::Error),
    /// The decoder ended before the body did: it panicked, the process is shutting down, or nobody takes its batches.
    #[error("the decoder of the body stopped early: {detail}")]
    Stopped { detail: String },
}

/// What is wrong with a single value, before its place is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) expected: String,
    pub(super) found: String,
}

impl Mismatch {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(super) fn at(self, row: Option<u64>, column: &str) -> RowError {
        RowError {
            row,
            column: Some(column.to_owned()),
            expected: self.expected,
            found: self.found,
        }
    }

    /// The same, for a value inside a list or vector; items count from 0.
    pub(super) fn in_item(self, item: usize) -> Self {
        Self {
            expected: format!("{} as item {item}", self.expected),
            found: self.found,
        }
    }
}

impl RowError {
    /// For Arrow's own refusals (offsets that overflow, mostly), which name no row.
    pub(super) fn from_arrow(error: &ArrowError) -> Self {
        Self {
            row: None,
            column: None,
            expected: "rows that fit one batch".to_owned(),
            found: error.to_string(),
        }
    }
}

fn place(row: Option<u64>, column: Option<&str>) -> String {
    match (row, column) {
        (Some(row), Some(column)) => format!("row {row}, column {column:?}: "),
        (Some(row), None) => format!("row {row}: "),
        (None, Some(column)) => format!("column {column:?}: "),
        (None, None) => String::new(),
    }
}
