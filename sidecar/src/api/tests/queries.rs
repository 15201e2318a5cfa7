//! Queries that are refused before a graph is asked, and queries that wait for a floor.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::node;
use crate::ids::Epoch;
use crate::node::Role;

#[tokio::test]
async fn each_kind_of_bad_query_gets_its_own_status() {
    let node = node(Role::Replica, "bad-query").await;
    for (body, status) in [
        (r#"{"query": "#.to_owned(), 400),
        (r#"{"query": "RETURN 1", "colour": 1}"#.to_owned(), 400),
        (r#"{"query": "RETURN 1", "min_tx": "7"}"#.to_owned(), 400),
        (r#"{"query": "RETURN 1", "limit": 0}"#.to_owned(), 400),
        (r#"{"query": "CREATE (:Package {name: 'x'})"}"#.to_owned(), 403),
        (r#"{"query": "LOAD FROM '/etc/passwd' RETURN *"}"#.to_owned(), 403),
        (format!(r#"{{"query": "{}"}}"#, "x".repeat(1000)), 413),
        (r#"{"query": "RETURN 'CREATE'"}"#.to_owned(), 503),
    ] {
        let (found, problem) = node.post("/v1/query", body.clone()).await;
        assert_eq!(found, status, "{body}: {problem}");
        assert_eq!(problem["status"], status);
    }
    let plain = Request::post("/v1/query").body(Body::from("{}")).unwrap();
    assert_eq!(node.send(plain).await.status(), 415);
    let csv = Request::post("/v1/query")
        .header("accept", "text/csv")
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(node.send(csv).await.status(), 406);
}

#[tokio::test]
async fn a_floor_out_of_reach_is_503_after_the_timeout_with_what_the_node_has() {
    let node = node(Role::Replica, "floor").await;
    let first = node.commit(1).await;
    node.progress
        .applied(first, node.progress.clock().now(), Epoch(1));
    node.commit(2).await;
    let started = tokio::time::Instant::now();
    let (status, problem) = node
        .post(
            "/v1/query",
            r#"{"query": "RETURN 1", "strong": true, "timeout_ms": 50}"#,
        )
        .await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("https://slipstream.dev/problems/floor-not-reached"))
    );
    assert_eq!(
        (&problem["seq"], &problem["tx_id"]),
        (&json!(1), &json!(first.tx_id))
    );
    assert!(started.elapsed().as_millis() >= 50);
    // Whoever waits rings for a look at the log.
    node.wake.notified().await;
}

#[tokio::test]
async fn a_waiting_query_goes_on_as_soon_as_its_commit_is_there() {
    let node = node(Role::Replica, "floor-reached").await;
    let first = node.commit(1).await;
    let body = json!({"query": "RETURN 1", "min_tx": first.tx_id, "timeout_ms": 60_000}).to_string();
    let query = node.post("/v1/query", body);
    let follow = async {
        node.wake.notified().await;
        node.progress
            .applied(first, node.progress.clock().now(), Epoch(1));
    };
    let ((status, problem), ()) = tokio::join!(query, follow);
    // Past the floor, there is no graph here to ask.
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("https://slipstream.dev/problems/no-graph"))
    );
}
