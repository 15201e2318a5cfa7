//! Routes over a node that has no graph: what is refused, and how. Queries are in `queries.rs`, what the node tells about itself in
//! `reporting.rs`.

mod queries;
mod reporting;

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
