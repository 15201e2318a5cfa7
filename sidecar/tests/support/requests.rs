//! Short forms for clients' requests.

use serde_json::Value;
use slipstream::rows::JsonRow;
use slipstream::writer::{OperationRequest, TransactionRequest};

/// An upsert of whole rows.
pub(crate) fn upsert(table: &str, rows: impl IntoIterator<Item = Value>) -> OperationRequest {
    OperationRequest::Upsert {
        table: table.to_owned(),
        rows: rows.into_iter().map(JsonRow::from).collect(),
    }
}

/// A delete by key.
pub(crate) fn delete(table: &str, keys: impl IntoIterator<Item = Value>) -> OperationRequest {
    OperationRequest::Delete {
        table: table.to_owned(),
        keys: keys.into_iter().collect(),
    }
}

/// A transaction without idempotency key.
pub(crate) fn transaction(operations: impl IntoIterator<Item = OperationRequest>) -> TransactionRequest {
    TransactionRequest {
        idempotency_key: None,
        notes: None,
        operations: operations.into_iter().collect(),
    }
}

/// A transaction that can be retried.
pub(crate) fn keyed(key: &str, operations: impl IntoIterator<Item = OperationRequest>) -> TransactionRequest {
    TransactionRequest {
        idempotency_key: Some(key.to_owned()),
        ..transaction(operations)
    }
}
