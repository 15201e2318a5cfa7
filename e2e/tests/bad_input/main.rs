//! Bad input of every kind, sent to real processes: a clear error, and nothing changes.

#![expect(clippy::unwrap_used, reason = "what fails fails the test")]

mod bodies;
mod case;
#[path = "../small_graph/mod.rs"]
mod small_graph;
mod transactions;

use serde_json::{Value, json};
use slipstream_e2e::client::{ClientError, CommitAnswer, JSON, NDJSON, Node, Problem, Query};
use slipstream_e2e::steps::checks::head_of_log;

use bodies::bodies;
use case::{Case, NOWHERE, Place, Request, rows, upsert};
use small_graph::SmallGraph;
use transactions::transactions;

/// What no query may do or carry, on any node.
fn queries() -> Vec<Case> {
    let forbidden = |name, text| Case {
        name,
        request: Request::Query(text),
        status: 403,
        slug: "forbidden-statement",
        place: NOWHERE,
        says: vec!["line 1"],
    };
    vec![
        forbidden(
            "file-reading query",
            "LOAD FROM '/etc/passwd' (file_format='csv', delim=':') RETURN *",
        ),
        forbidden(
            "file-reading clause",
            "MATCH (i:Item) LOAD FROM '/etc/passwd' (file_format='csv') RETURN *",
        ),
        forbidden(
            "file-writing query",
            "COPY (MATCH (i:Item) RETURN i.id) TO '/tmp/items.csv'",
        ),
        forbidden("creating query", "CREATE (:Item {id: 'intruder'})"),
        forbidden("deleting query", "MATCH (i:Item) DETACH DELETE i"),
        forbidden("second statement", "RETURN 1; CREATE (:Item {id: 'intruder'})"),
        forbidden("settings", "CALL threads=1"),
        Case {
            name: "parameter beyond int64",
            request: Request::QueryWith {
                text: "MATCH (i:Item) WHERE i.size = $size RETURN i.id",
                name: "size",
                value: 1 << 63,
            },
            status: 400,
            slug: "query-failed",
            place: NOWHERE,
            says: vec!["parameter size", "9223372036854775808"],
        },
    ]
}

#[tokio::test]
async fn each_kind_of_bad_input_gets_its_clear_error_and_changes_nothing() {
    let graph = SmallGraph::start().await;
    let (writer, replica) = (graph.local.writer(), graph.local.replica(1));
    let known =
        json!({"operations": [{"upsert": {"table": "Item", "rows": [{"id": "here"}, {"id": "there"}]}}]});
    let committed = writer.commit(&known).await.unwrap();
    let before = everything(&replica, &committed.tx_id).await;
    assert_eq!(before.len(), 2, "{before:?}");

    let mut failures = Vec::new();
    for case in transactions().into_iter().chain(bodies()) {
        check(&writer, &writer, &case, committed.seq, &mut failures).await;
    }
    for case in queries() {
        check(&replica, &writer, &case, committed.seq, &mut failures).await;
        check(&writer, &writer, &case, committed.seq, &mut failures).await;
    }
    for request in [
        upsert(json!([{"id": "a"}])),
        rows("Item", NDJSON, "{\"id\": \"a\"}\n"),
    ] {
        let (status, slug) = (403, "replica-refuses-writes");
        let case = Case {
            name: "mutation on a replica",
            request,
            status,
            slug,
            place: NOWHERE,
            says: vec!["writer"],
        };
        check(&replica, &writer, &case, committed.seq, &mut failures).await;
    }
    assert!(
        failures.is_empty(),
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );

    // The next commit is the next one, and nothing came along with it.
    let next =
        json!({"operations": [{"upsert": {"table": "NEAR", "rows": [{"from": "here", "to": "there"}]}}]});
    let next = writer.commit(&next).await.unwrap();
    assert_eq!(next.seq, committed.seq + 1);
    for node in [&writer, &replica] {
        assert_eq!(everything(node, &next.tx_id).await, before, "{}", node.name);
    }
}

async fn check(node: &Node, writer: &Node, case: &Case, head: u64, failures: &mut Vec<String>) {
    let problem = match send(node, &case.request).await {
        Err(ClientError::Refused { problem, .. }) => *problem,
        other => {
            return failures.push(format!(
                "{} on {}: expected a refusal, found {other:?}",
                case.name, node.name
            ));
        }
    };
    let mut wrong = Vec::new();
    if (problem.status, problem.slug()) != (case.status, case.slug) {
        wrong.push(format!("expected {} {}", case.status, case.slug));
    }
    if !is_at(&problem, &case.place) {
        wrong.push(format!("expected {:?}", case.place));
    }
    if problem.title.is_empty() {
        wrong.push("expected a title".to_owned());
    }
    for part in &case.says {
        if !problem.detail.contains(part) {
            wrong.push(format!("expected {part:?} in the detail"));
        }
    }
    match head_of_log(writer).await {
        Ok(found) if found == head => {}
        found => wrong.push(format!("expected the head to stay at {head}, found {found:?}")),
    }
    if !wrong.is_empty() {
        failures.push(format!(
            "{} on {}: {}; found {problem:?}",
            case.name,
            node.name,
            wrong.join(", ")
        ));
    }
}

fn is_at(problem: &Problem, place: &Place) -> bool {
    let found = (
        problem.operation,
        problem.table.as_deref(),
        problem.row,
        problem.column.as_deref(),
        problem.line,
    );
    found == (place.operation, place.table, place.row, place.column, place.line)
}

async fn send(node: &Node, request: &Request) -> Result<Value, ClientError> {
    match request {
        Request::Transaction(body) => node.post("/v1/transactions", JSON, body.clone()).await,
        Request::Rows {
            table,
            content_type,
            body,
        } => {
            let loaded: Result<CommitAnswer, _> = node.load(table, content_type, body.clone()).await;
            loaded.map(|answer| json!(answer.seq))
        }
        Request::KeyedRows { key, body } => {
            let loaded = node
                .load_keyed("Item", NDJSON, key, body.as_bytes().to_vec())
                .await;
            loaded.map(|answer| json!(answer.seq))
        }
        Request::QueryWith { text, name, value } => node
            .query(&Query::new(text).param(name, *value))
            .await
            .map(|answer| json!(answer.rows)),
        Request::Query(text) => node
            .query(&Query::new(text))
            .await
            .map(|answer| json!(answer.rows)),
    }
}

/// All nodes with their properties.
async fn everything(node: &Node, min_tx: &str) -> Vec<Vec<Value>> {
    let query = Query::new("MATCH (i:Item) RETURN i.id, i.size, i.note ORDER BY i.id").min_tx(min_tx);
    node.query(&query).await.unwrap().rows
}
