//! Routes over a node that has no graph: what is refused, and how.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::*;
use crate::clock::Clock;
use crate::commit_log::{CommitKind, CommitRecord, Position, VersionMap};
use crate::graph::EngineLimits;
use crate::ids::{Epoch, Seq, TxId};
use crate::node::NodeState;

struct Node {
    router: Router,
    progress: Progress,
    local: Arc<LocalGraph>,
    log: CommitLog,
    wake: Arc<Notify>,
    _data: tempfile::TempDir,
}

async fn node(role: Role, store: &str) -> Node {
    let data = tempfile::tempdir().unwrap();
    let (local, _) = LocalGraph::open(data.path(), EngineLimits::default())
        .await
        .unwrap();
    let local = Arc::new(local);
    let log = CommitLog::new(crate::store::open(&format!("memory://api-{store}")).unwrap());
    let progress = Progress::new(role, Clock::default());
    let wake = Arc::new(Notify::new());
    let state = ApiState {
        role,
        graph_name: crds::GraphName {
            namespace: "default".to_owned(),
            name: "debian".to_owned(),
        },
        progress: progress.clone(),
        local: local.clone(),
        log: log.clone(),
        writer: Arc::default(),
        readiness: watch::channel(crds::Readiness::default()).1,
        metrics: Metrics::install().unwrap(),
        queries: Arc::new(Semaphore::new(1)),
        bodies: BodyRoom::default(),
        settings: ApiSettings {
            max_body_bytes: 1000,
            ..ApiSettings::default()
        },
        status_extra: Arc::new(|| Map::from_iter([("pid".to_owned(), json!(42))])),
        snapshots: None,
        scrub: crate::scrub::ScrubRequests::nobody(),
        wake: wake.clone(),
    };
    Node {
        router: router(state),
        progress,
        local,
        log,
        wake,
        _data: data,
    }
}

impl Node {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        json_of(self.send(Request::get(path).body(Body::empty()).unwrap()).await).await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        json_of(self.send(request).await).await
    }

    async fn commit(&self, seq: u64) -> Position {
        let now = self.progress.clock().now();
        let record = CommitRecord {
            seq: Seq(seq),
            tx_id: TxId::after(TxId::default(), self.progress.clock().unix_millis()),
            prev_tx_id: TxId::default(),
            epoch: Epoch(1),
            timestamp: now,
            kind: CommitKind::Data,
            tables: VersionMap::default(),
            manifests: Default::default(),
            changed: Vec::new(),
            schema_version: Seq(0),
            schema: None,
            notes: None,
            idempotency: Vec::new(),
            traceparent: None,
        };
        self.log.append(&record).await.unwrap();
        record.position()
    }
}

async fn json_of(response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    if status >= 400 {
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_problems() {
    let node = node(Role::Replica, "routes").await;
    let (status, problem) = node.get("/v2/query").await;
    assert_eq!(
        (status, &problem["type"]),
        (404, &json!("https://slipstream.dev/problems/not-found"))
    );
    let response = node
        .send(Request::get("/v1/query").body(Body::empty()).unwrap())
        .await;
    assert_eq!(response.headers()["allow"], "POST");
    let (status, problem) = json_of(response).await;
    assert_eq!(
        (status, &problem["detail"]),
        (405, &json!("/v1/query does not take GET"))
    );
}

#[tokio::test]
async fn a_replica_refuses_writes_before_it_reads_them() {
    let node = node(Role::Replica, "writes").await;
    for path in ["/v1/transactions", "/v1/tables/Package/rows"] {
        let (status, problem) = node.post(path, "not even JSON").await;
        assert_eq!(
            (status, &problem["type"]),
            (
                403,
                &json!("https://slipstream.dev/problems/replica-refuses-writes")
            )
        );
    }
}

#[tokio::test]
async fn a_writer_that_has_not_taken_over_says_that_nothing_was_committed() {
    let node = node(Role::Writer, "takeover").await;
    let (status, problem) = node.post("/v1/transactions", r#"{"operations": []}"#).await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("https://slipstream.dev/problems/not-committed"))
    );
}

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

#[tokio::test]
async fn serving_ends_when_it_is_told_to() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let node = node(Role::Replica, "serve").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, node.router.clone(), shutdown.clone()));
    connection
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 15];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    // The connection is idle, but still open: it must not hold up the end.
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panic_is_a_problem() {
    let panicking = Router::new()
        .route(
            "/",
            get(async || {
                if true {
                    panic!("oops")
                }
            }),
        )
        .layer(CatchPanicLayer::custom(panicked));
    let response = panicking
        .oneshot(Request::get("/").body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (status, problem) = json_of(response).await;
    assert_eq!(
        (status, &problem["title"]),
        (500, &json!("Something is wrong inside this node"))
    );
    assert!(!problem.to_string().contains("oops"));
}
