//! What a node tells about itself: status, commits, probes, metrics.

use serde_json::json;

use super::node;
use crate::ids::Seq;
use crate::node::{NodeState, Role};

#[tokio::test]
async fn status_commits_and_probes_tell_where_the_node_stands() {
    let node = node(Role::Replica, "status").await;
    for seq in 1..=3 {
        node.commit(seq).await;
    }
    let (status, page) = node.get("/v1/commits?after=1&limit=1").await;
    assert_eq!((status, &page["commits"][0]["seq"]), (200, &json!(2)));
    assert_eq!(page["commits"].as_array().unwrap().len(), 1);
    for wrong in ["limit=0", "limit=1001", "after=x", "before=1"] {
        assert_eq!(node.get(&format!("/v1/commits?{wrong}")).await.0, 400, "{wrong}");
    }

    let (_, before) = node.get("/v1/status").await;
    assert_eq!(
        (&before["state"], &before["seq"], &before["ready"]),
        (&json!("starting"), &json!(null), &json!(false))
    );
    assert_eq!(
        (&before["graph"]["name"], &before["role"], &before["pid"]),
        (&json!("debian"), &json!("replica"), &json!(42))
    );
    assert_eq!(node.get("/healthz").await.0, 200);
    let (status, problem) = node.get("/readyz").await;
    assert_eq!(
        (status, &problem["detail"]),
        (503, &json!("the node is starting"))
    );

    node.progress
        .set_state(NodeState::Fenced("by epoch 2".to_owned()));
    assert_eq!(node.get("/healthz").await.0, 503);
    let (_, after) = node.get("/v1/status").await;
    assert_eq!(
        (&after["state"], &after["state_detail"]),
        (&json!("fenced"), &json!("by epoch 2"))
    );
}

#[tokio::test]
async fn commits_are_told_from_the_oldest_that_is_there_where_older_ones_were_trimmed() {
    let node = node(Role::Replica, "trimmed").await;
    for seq in 1..=7 {
        node.commit(seq).await;
    }
    // The record of the schema stays, alone.
    for seq in [1, 3, 4] {
        node.log.remove(Seq(seq)).await.unwrap();
    }
    for (asked, expected) in [
        ("after=0", &[2, 5, 6, 7][..]),
        ("after=0&limit=2", &[2, 5]),
        ("after=1&limit=1", &[2]),
        ("after=2", &[5, 6, 7]),
        ("after=3&limit=1", &[5]),
        ("after=5", &[6, 7]),
        ("after=7", &[]),
    ] {
        let (status, page) = node.get(&format!("/v1/commits?{asked}")).await;
        let found = page["commits"].as_array().unwrap().iter();
        let found: Vec<u64> = found.map(|commit| commit["seq"].as_u64().unwrap()).collect();
        assert_eq!((status, found.as_slice()), (200, expected), "{asked}");
    }
}

#[tokio::test]
async fn a_node_whose_graph_differed_says_so_and_answers_nobody() {
    let node = node(Role::Replica, "diverged").await;
    node.local.diverged("table Package: a row is missing");
    // Whatever the follower says about its work meanwhile.
    for state in [NodeState::Following, NodeState::Building] {
        node.progress.set_state(state);
        let (_, status) = node.get("/v1/status").await;
        assert_eq!(
            (&status["state"], &status["state_detail"], &status["ready"]),
            (
                &json!("diverged"),
                &json!("table Package: a row is missing"),
                &json!(false)
            )
        );
    }
    let (status, problem) = node.get("/readyz").await;
    assert_eq!(
        (status, &problem["detail"]),
        (
            503,
            &json!("the graph differed from Lance: table Package: a row is missing")
        )
    );
    assert_eq!(node.get("/healthz").await.0, 200, "a restart would not heal it");
    let (status, problem) = node.post("/v1/query", r#"{"query": "RETURN 1"}"#).await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("https://slipstream.dev/problems/no-graph"))
    );
    let (status, problem) = node.post("/v1/scrub", "").await;
    assert_eq!(
        (status, &problem["detail"]),
        (503, &json!("this node has no graph to compare"))
    );
}

#[tokio::test]
async fn status_reports_what_the_background_work_did() {
    let node = node(Role::Writer, "reports").await;
    node.progress.store_failed(&"connection refused");
    node.progress.reports().update(|view| {
        view.scrub.error = Some("the store is away".to_owned());
        view.settings.error = Some("line 3".to_owned());
    });
    let (_, status) = node.get("/v1/status").await;
    assert_eq!(
        (&status["scrub"]["error"], &status["settings"]["error"]),
        (&json!("the store is away"), &json!("line 3"))
    );
    for (report, fields) in [
        (
            "snapshots",
            &["last", "next_due", "retained", "running", "error"][..],
        ),
        (
            "optimizer",
            &[
                "last",
                "next_due",
                "running",
                "freed_bytes",
                "trimmed_commits",
                "error",
            ],
        ),
        ("scrub", &["last", "next_due", "running", "error"]),
        ("settings", &["generation", "error", "pending"]),
    ] {
        let found = status[report].as_object().unwrap();
        for field in fields {
            assert!(found.contains_key(*field), "{report}.{field} in {found:?}");
        }
    }
    let (_, text) = node.get("/metrics").await;
    assert!(
        text.as_str()
            .unwrap()
            .contains("slipstream_store_up{role=\"writer\"} 0"),
        "{text}"
    );
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_carry_units() {
    let node = node(Role::Writer, "metrics").await;
    node.get("/v1/tables/Package/rows").await;
    let (status, text) = node.get("/metrics").await;
    let text = text.as_str().unwrap();
    assert_eq!(status, 200);
    for expected in [
        r#"slipstream_http_requests_total{route="/v1/tables/{table}/rows",method="GET",status="405"} "#,
        r#"slipstream_watermark_seq{role="writer"} "#,
        "slipstream_http_request_duration_seconds_bucket{",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}
