//! One kind of bad input: what is sent, and how it must be refused.

use serde_json::{Value, json};

/// A request that must be refused, and how.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) request: Request,
    pub(crate) status: u16,
    pub(crate) slug: &'static str,
    pub(crate) place: Place,
    /// Parts of `detail`.
    pub(crate) says: Vec<&'static str>,
}

pub(crate) enum Request {
    Transaction(String),
    Rows {
        table: &'static str,
        content_type: &'static str,
        body: Vec<u8>,
    },
    /// Rows of `Item` as NDJSON with an idempotency key.
    KeyedRows {
        key: &'static str,
        body: &'static str,
    },
    Query(&'static str),
    /// A query with one parameter, an integer.
    QueryWith {
        text: &'static str,
        name: &'static str,
        value: u64,
    },
}

/// What the problem document must name, and what it must not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) operation: Option<u64>,
    pub(crate) table: Option<&'static str>,
    pub(crate) row: Option<u64>,
    pub(crate) column: Option<&'static str>,
    pub(crate) line: Option<u64>,
}

pub(crate) const NOWHERE: Place = Place {
    operation: None,
    table: None,
    row: None,
    column: None,
    line: None,
};

/// At a row and column of a table, in an operation or a body.
pub(crate) fn at(operation: Option<u64>, table: &'static str, row: u64, column: &'static str) -> Place {
    Place {
        operation,
        table: Some(table),
        row: Some(row),
        column: Some(column),
        line: None,
    }
}

pub(crate) fn operations(operations: Value) -> Request {
    Request::Transaction(json!({"operations": operations}).to_string())
}

/// A good row first: it must not come to be.
pub(crate) fn upsert(rows: Value) -> Request {
    operations(
        json!([{"upsert": {"table": "Item", "rows": [{"id": "good"}]}}, {"upsert": {"table": "Item", "rows": rows}}]),
    )
}

pub(crate) fn edges(rows: Value) -> Request {
    operations(
        json!([{"upsert": {"table": "Item", "rows": [{"id": "good"}]}}, {"upsert": {"table": "NEAR", "rows": rows}}]),
    )
}

pub(crate) fn rows(table: &'static str, content_type: &'static str, body: impl Into<Vec<u8>>) -> Request {
    Request::Rows {
        table,
        content_type,
        body: body.into(),
    }
}

pub(crate) fn refused(name: &'static str, request: Request, place: Place, says: &[&'static str]) -> Case {
    Case {
        name,
        request,
        status: 422,
        slug: "refused",
        place,
        says: says.to_vec(),
    }
}

pub(crate) fn malformed(name: &'static str, request: Request, place: Place, says: &[&'static str]) -> Case {
    Case {
        name,
        request,
        status: 400,
        slug: "malformed-request",
        place,
        says: says.to_vec(),
    }
}
