//! Bad transactions.

use serde_json::json;

use crate::case::{Case, NOWHERE, Place, Request, at, edges, malformed, operations, refused, upsert};

pub(crate) fn transactions() -> Vec<Case> {
    let long = "x".repeat(10_000_000);
    let item = |row, column| at(Some(1), "Item", row, column);
    vec![
        refused(
            "wrong type",
            upsert(json!([{"id": "a", "size": 1}, {"id": "b", "size": "big"}])),
            item(1, "size"),
            &["int64", "big"],
        ),
        refused(
            "fraction for an integer",
            upsert(json!([{"id": "a", "size": 1.5}])),
            item(0, "size"),
            &["int64", "1.5"],
        ),
        refused(
            "missing key",
            upsert(json!([{"size": 1}])),
            item(0, "id"),
            &["required", "nothing"],
        ),
        refused(
            "null key",
            upsert(json!([{"id": null}])),
            item(0, "id"),
            &["required", "null"],
        ),
        refused(
            "wrong vector dimension",
            upsert(json!([{"id": "a", "embedding": [1, 2, 3, 4]}, {"id": "b", "embedding": [1, 2, 3]}])),
            item(1, "embedding"),
            &["dimension 4", "3 numbers"],
        ),
        refused(
            "number beyond float32 in a vector",
            upsert(json!([{"id": "a", "embedding": [1, 2, 3, 1e300]}])),
            item(0, "embedding"),
            &["finite float32"],
        ),
        refused(
            "unknown property",
            upsert(json!([{"id": "a", "colour": "red"}])),
            item(0, "colour"),
            &["unknown property"],
        ),
        refused(
            "10 MB string",
            upsert(json!([{"id": "a", "note": long}])),
            item(0, "note"),
            &["8388608", "10000000"],
        ),
        refused(
            "duplicate key",
            upsert(json!([{"id": "a", "size": 1}, {"id": "a", "size": 2}])),
            Place {
                operation: Some(1),
                table: Some("Item"),
                row: Some(1),
                ..NOWHERE
            },
            &["a", "twice"],
        ),
        refused(
            "upserted and deleted",
            operations(
                json!([{"upsert": {"table": "Item", "rows": [{"id": "a"}]}}, {"delete": {"table": "Item", "keys": ["a"]}}]),
            ),
            Place {
                operation: Some(1),
                table: Some("Item"),
                row: Some(0),
                ..NOWHERE
            },
            &["both"],
        ),
        refused(
            "dangling edge",
            edges(json!([{"from": "good", "to": "here"}, {"from": "good", "to": "nowhere"}])),
            at(Some(1), "NEAR", 1, "to"),
            &["Item", "nowhere"],
        ),
        refused(
            "edge to a node that the transaction deletes",
            operations(json!([
                {"delete": {"table": "Item", "keys": ["here"]}},
                {"upsert": {"table": "NEAR", "rows": [{"from": "here", "to": "there"}]}}])),
            at(Some(1), "NEAR", 0, "from"),
            &["Item", "here"],
        ),
        refused(
            "edge without an end",
            edges(json!([{"from": "good"}])),
            at(Some(1), "NEAR", 0, "to"),
            &["required"],
        ),
        refused(
            "unknown table",
            operations(json!([{"upsert": {"table": "Thing", "rows": [{"id": "a"}]}}])),
            Place {
                operation: Some(0),
                ..NOWHERE
            },
            &["Item", "NEAR", "Thing"],
        ),
        refused(
            "empty transaction",
            operations(json!([])),
            NOWHERE,
            &["at least one operation"],
        ),
        refused(
            "transaction without rows",
            operations(json!([{"upsert": {"table": "Item", "rows": []}}])),
            NOWHERE,
            &["at least one"],
        ),
        malformed(
            "malformed JSON",
            Request::Transaction("{\"operations\": [\n}".to_owned()),
            NOWHERE,
            &["line 2"],
        ),
        malformed(
            "unknown field",
            Request::Transaction(json!({"operation": []}).to_string()),
            NOWHERE,
            &["unknown field", "operation"],
        ),
    ]
}
