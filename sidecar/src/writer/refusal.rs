//! What a client is told when its write is not taken.

use crate::rows::RowError;

/// Why a transaction is at fault: names the place, what was found and what was expected. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct Refusal {
    /// Index into the transaction's operations.
    pub operation: Option<usize>,
    pub table: Option<String>,
    /// Index of the row or key within its operation, or of the row within a bulk body.
    pub row: Option<u64>,
    pub column: Option<String>,
    pub detail: String,
}

/// Why a write has no answer.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Retry later: the queue is full.
    #[error("the writer's queue is full ({queued} transactions); try again later")]
    Overloaded { queued: usize },
    /// Use another key, or send the same request.
    #[error("idempotency key {key:?} was used for another request, committed as seq {seq}")]
    IdempotencyConflict { key: String, seq: u64 },
    /// Another writer took over; ask the one behind the Service.
    #[error("this writer was fenced: {detail}")]
    Fenced { detail: String },
    /// Retry: nothing was committed.
    #[error("the transaction was not committed: {detail}")]
    NotCommitted { detail: String },
    /// Retry with the idempotency key: the writer stopped before it knew.
    #[error(
        "the writer stopped; whether the transaction was committed is to be found out with its idempotency key"
    )]
    Unknown,
}

impl Refusal {
    /// A refusal of the whole transaction.
    pub fn whole(detail: impl Into<String>) -> Self {
        Self {
            operation: None,
            table: None,
            row: None,
            column: None,
            detail: detail.into(),
        }
    }

    /// A refusal of one operation on `table`.
    pub fn operation(index: usize, table: &str, detail: impl Into<String>) -> Self {
        Self {
            operation: Some(index),
            table: Some(table.to_owned()),
            ..Self::whole(detail)
        }
    }

    /// The same refusal at a row.
    pub fn at_row(mut self, row: u64) -> Self {
        self.row = Some(row);
        self
    }

    /// A row error inside one operation, or inside a bulk body where `operation` is `None`.
    pub fn of_row(operation: Option<usize>, table: &str, error: &RowError) -> Self {
        Self {
            operation,
            table: Some(table.to_owned()),
            row: error.row,
            column: error.column.clone(),
            detail: format!("expected {}, found {}", error.expected, error.found),
        }
    }

    fn describe(&self) -> String {
        let mut place = Vec::new();
        place.extend(self.operation.map(|operation| format!("operation {operation}")));
        place.extend(self.table.as_ref().map(|table| format!("table {table}")));
        place.extend(self.row.map(|row| format!("row {row}")));
        place.extend(self.column.as_ref().map(|column| format!("column {column}")));
        if place.is_empty() {
            self.detail.clone()
        } else {
            format!("{}: {}", place.join(", "), self.detail)
        }
    }
}
