//! The whole programs with a real nats-server: one trace from a client's request to every replica's apply, what the status
//! says about events and store, and what a replica leaves behind when it is asked to stop.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

#[path = "nats/otlp.rs"]
mod otlp;
#[path = "nats/processes.rs"]
mod processes;
#[path = "nats/server.rs"]
mod server;
mod support;

use std::path::Path;

use otlp::{ExportedSpan, Sink};
use processes::Node;
use serde_json::{Value, json};
use server::{NatsServer, durable};

const SUBJECT: &str = "slipstream.versionmap.default.g";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn write_config(directory: &Path, nats: &NatsServer) {
    let config = json!({
        "graph": {"namespace": "default", "name": "g"},
        "storage": {"uri": format!("file://{}", directory.join("root").display())},
        "events": {"nats": {"url": nats.url(), "subject": SUBJECT}, "pollInterval": "1h"},
        "schema": {"nodes": [{"name": "Counter", "primaryKey": "id", "properties": [
            {"name": "id", "type": "int64"}, {"name": "value", "type": "int64"}]}]},
    });
    std::fs::write(directory.join("config.yaml"), config.to_string()).expect("a config file");
}

async fn commit(writer: &Node, value: i64, traceparent: &str) -> Value {
    let operations = json!([{"upsert": {"table": "Counter", "rows": [{"id": 1, "value": value}]}}]);
    let request = reqwest::Client::new()
        .post(format!("{}/v1/transactions", writer.url))
        .header("traceparent", traceparent)
        .json(&json!({"operations": operations}));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

fn connected(status: &Value) -> bool {
    status["ready"] == true && status["events"]["connected"] == true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_trace_goes_from_a_client_s_request_to_every_replica_s_apply() {
    let (nats, sink) = (NatsServer::start().await, Sink::start().await);
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_config(directory.path(), &nats);
    // Spans that wait must be sent when the programs end: nothing is sent before.
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ];
    let writer = Node::start("writer", "w", directory.path(), &environment);
    writer.status_until("the writer", connected).await;
    let replicas = ["r1", "r2"].map(|name| Node::start("replica", name, directory.path(), &environment));
    for replica in &replicas {
        replica.status_until("a replica", connected).await;
    }

    let answer = commit(&writer, 1, &format!("00-{TRACE}-b7ad6b7169203331-01")).await;
    for replica in &replicas {
        let status = replica
            .status_until("a replica to follow", |status| status["seq"] == answer["seq"])
            .await;
        assert_eq!(status["tx_id"], answer["tx_id"]);
        replica
            .status_until("the event", |status| {
                status["events"]["received"].as_u64() >= Some(1)
            })
            .await;
    }
    let after = answer["seq"].as_u64().expect("a number") - 1;
    let commits = writer
        .get(&format!("/v1/commits?after={after}"))
        .await
        .expect("commits");
    let recorded = commits["commits"][0]["traceparent"]
        .as_str()
        .expect("a traceparent")
        .to_owned();
    assert_eq!(recorded[3..35], *TRACE, "the commit record's trace");
    let look = nats.look().await;
    let stream = look.get_stream("SLIPSTREAM").await.expect("the stream");
    let event = stream
        .get_last_raw_message_by_subject(SUBJECT)
        .await
        .expect("an event");
    let sent = event
        .headers
        .get("traceparent")
        .expect("a traceparent")
        .as_str()
        .to_owned();
    assert_eq!(sent[3..35], *TRACE, "the event's trace");

    for replica in replicas {
        assert!(replica.terminate().await.success());
    }
    assert!(writer.terminate().await.success());
    let spans: Vec<ExportedSpan> = sink
        .spans()
        .into_iter()
        .filter(|span| span.trace == TRACE)
        .collect();
    let ours = |service: &str, name: &str| -> Vec<ExportedSpan> {
        let wanted = |span: &&ExportedSpan| span.service == service && span.name == name;
        spans.iter().filter(wanted).cloned().collect()
    };
    let one = |name: &str| match ours("slipstream-writer", name).as_slice() {
        [span] => span.clone(),
        other => panic!("one span {name} of the writer: {other:?} of {spans:?}"),
    };
    let (request, committed, published) = (one("request"), one("commit"), one("publish"));
    assert_eq!(request.parent, "b7ad6b7169203331", "a part of the client's trace");
    assert_eq!(committed.parent, request.id);
    assert_eq!(
        (recorded[36..52].to_owned(), published.parent),
        (committed.id.clone(), committed.id.clone())
    );
    assert_eq!(sent[36..52], published.id);
    let (heard, applied) = (
        ours("slipstream-replica", "event"),
        ours("slipstream-replica", "apply"),
    );
    assert_eq!((heard.len(), applied.len()), (2, 2), "one per replica: {spans:?}");
    assert!(heard.iter().all(|span| span.parent == published.id), "{spans:?}");
    assert!(
        applied.iter().all(|span| span.parent == committed.id),
        "{spans:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_status_says_how_it_goes_with_events_and_store_and_a_replica_leaves_nothing_behind() {
    let mut nats = NatsServer::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_config(directory.path(), &nats);
    let writer = Node::start("writer", "w", directory.path(), &[]);
    writer.status_until("the writer", connected).await;
    let replica = Node::start("replica", "r1", directory.path(), &[]);
    let looked = |status: &Value| connected(status) && status["store"]["since"].is_string();
    let status = replica.status_until("the replica", looked).await;
    assert_eq!(
        (&status["store"]["ok"], &status["store"]["error"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(status["events"]["error"], Value::Null);
    // Without an exporter the client's own trace is what is passed on.
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    commit(&writer, 1, &traceparent).await;
    let status = writer
        .status_until("the event", |status| {
            status["events"]["published"].as_u64() >= Some(2)
        })
        .await;
    assert!(status["events"]["last_event_age_ms"].is_u64(), "{status}");
    let look = nats.look().await;
    let stream = look.get_stream("SLIPSTREAM").await.expect("the stream");
    let event = stream
        .get_last_raw_message_by_subject(SUBJECT)
        .await
        .expect("an event");
    assert_eq!(
        event.headers.get("traceparent").map(|value| value.as_str()),
        Some(traceparent.as_str())
    );
    let metrics = reqwest::get(format!("{}/metrics", writer.url))
        .await
        .expect("an answer");
    let metrics = metrics.text().await.expect("text");
    for line in [
        "slipstream_events_connected 1",
        "slipstream_events_published_total 2",
    ] {
        assert!(metrics.contains(line), "{line} is missing:\n{metrics}");
    }

    nats.kill();
    for node in [&writer, &replica] {
        let status = node
            .status_until("the node to notice", |status| {
                status["events"]["connected"] == false
            })
            .await;
        let error = status["events"]["error"].as_str().expect("a reason");
        assert!(error.contains("NATS"), "{error}");
    }
    nats.restart().await;
    for node in [&writer, &replica] {
        node.status_until("the node to be connected again", connected)
            .await;
    }

    let look = nats.look().await;
    assert!(durable(&look, "SLIPSTREAM", "default_g_r1").await.is_some());
    let lease = directory.path().join("root/replicas/r1.json");
    assert!(lease.is_file());
    assert!(replica.terminate().await.success());
    assert!(
        durable(&look, "SLIPSTREAM", "default_g_r1").await.is_none(),
        "its durable is deleted"
    );
    assert!(!lease.exists(), "its lease is released");
    assert!(writer.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_is_gone_shows_in_the_status() {
    let nats = NatsServer::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_config(directory.path(), &nats);
    let writer = Node::start("writer", "w", directory.path(), &[]);
    writer.status_until("the writer", connected).await;
    let replica = Node::start("replica", "r1", directory.path(), &[]);
    let status = replica.status_until("the replica", connected).await;
    // A link to itself where the next commit is looked for: it cannot be read.
    let next = format!(
        "commits/{:020}.json",
        status["seq"].as_u64().expect("a number") + 1
    );
    let unreadable = directory.path().join("root").join(&next);
    std::os::unix::fs::symlink(&unreadable, &unreadable).expect("a link");
    let look = nats.look().await;
    let forged = json!({"tx_id": "ffffffff-ffff-7fff-bfff-ffffffffffff", "timestamp": "2026-02-03T04:05:06Z", "tables": []});
    look.publish(SUBJECT, forged.to_string().into())
        .await
        .expect("sent")
        .await
        .expect("stored");
    let status = replica
        .status_until("the replica to notice", |status| status["store"]["ok"] == false)
        .await;
    assert!(
        status["store"]["error"]
            .as_str()
            .is_some_and(|error| error.contains(&next)),
        "{status}"
    );
    assert_eq!(status["ready"], true, "it goes on serving what it has");
    std::fs::remove_file(&unreadable).expect("removed");
    replica
        .status_until("the replica to recover", |status| status["store"]["ok"] == true)
        .await;
    assert!(replica.terminate().await.success());
    assert!(writer.terminate().await.success());
}
