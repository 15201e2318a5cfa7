//! Events over a real nats-server: replicas follow at once by them, and nothing that happens to an event or to the server
//! costs more than latency.
//!
//! The replicas here never poll: what they follow, they follow because an event rang.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

#[path = "nats/abuse.rs"]
mod abuse;
#[path = "nats/keys.rs"]
mod keys;
#[path = "nats/nodes.rs"]
mod nodes;
#[path = "nats/outages.rs"]
mod outages;
#[path = "nats/server.rs"]
mod server;
mod support;

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::Info;
use futures::StreamExt;
use nodes::{ListeningReplica, PublishingWriter, settings};
use serde_json::json;
use server::{NatsServer, durable, durable_until};
use slipstream::events::{EventsHealth, EventsSettings, JetStreamBell};
use slipstream::ids::TxId;
use slipstream::replica::Doorbell;
use slipstream::store::Key;
use slipstream::writer::TransactionRequest;
use support::cluster::TestGraph;
use support::requests::{transaction, upsert};
use support::waiting::{until, within};
use tokio_util::sync::CancellationToken;

const SCHEMA: &str = "
nodes: [{name: Counter, primaryKey: id, properties: [{name: id, type: int64}, {name: value, type: int64}]}]
";
const SUBJECT: &str = "slipstream.versionmap.default.g";

fn set(value: i64) -> TransactionRequest {
    transaction([upsert("Counter", [json!({"id": 1, "value": value})])])
}

fn all_acknowledged(info: &Info) -> bool {
    info.num_pending == 0 && info.num_ack_pending == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_never_polls_follows_at_once_and_acknowledges() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    let mut took = Vec::new();
    for value in 0..30 {
        let started = Instant::now();
        let answer = writer.commit(&set(value)).await;
        let answered = Instant::now();
        replica.reaches(&answer).await;
        took.push((answered.elapsed(), started.elapsed()));
    }
    took.sort();
    println!(
        "from answer to visible on a replica, by event: p50 {:?}, slowest {:?}",
        took[15].0, took[29].0
    );
    let look = server.look().await;
    let info = durable_until(
        &look,
        "default_g_r1",
        "to have everything acknowledged",
        all_acknowledged,
    )
    .await;
    assert_eq!(info.config.filter_subject, SUBJECT);
    assert!(info.config.inactive_threshold > Duration::ZERO);
    assert!(
        replica.health.view().received >= 30,
        "{:?}",
        replica.health.view()
    );
    until("everything to be published", || {
        writer.health.view().published >= 31
    })
    .await;
    assert_eq!(writer.health.view().dropped, 0);
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_event_has_the_documented_body_and_the_commit_s_id() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let mut request = set(1);
    request.notes = Some("nightly \"import\"".to_owned());
    let answer = writer.commit(&request).await;
    until("the event to be published", || {
        writer.health.view().published >= 2
    })
    .await;
    let stream = server
        .look()
        .await
        .get_stream("SLIPSTREAM")
        .await
        .expect("the stream");
    let config = &stream.cached_info().config;
    assert_eq!(config.max_age, Duration::from_secs(24 * 3600));
    assert_eq!(config.duplicate_window, Duration::from_secs(120));
    assert!(config.max_bytes > 0, "bounded");
    let event = stream
        .get_last_raw_message_by_subject(SUBJECT)
        .await
        .expect("an event");
    let tables: Vec<String> = answer
        .tables
        .iter()
        .map(|(table, version)| format!(r#"{{"table":"{table}","version":{version}}}"#))
        .collect();
    let timestamp = serde_json::to_string(&answer.timestamp).expect("JSON");
    let expected = format!(
        r#"{{"tx_id":"{}","timestamp":{timestamp},"tables":[{}],"notes":"nightly \"import\""}}"#,
        answer.tx_id,
        tables.join(",")
    );
    assert_eq!(String::from_utf8_lossy(&event.payload), expected);
    assert!(timestamp.ends_with("Z\""), "{timestamp}");
    let id = event.headers.get("Nats-Msg-Id").expect("a message id");
    assert_eq!(id.as_str(), answer.tx_id.to_string());
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn useless_events_change_nothing_and_are_acknowledged() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    let answer = writer.commit(&set(1)).await;
    replica.reaches(&answer).await;
    let look = server.look().await;
    let came = durable_until(&look, "default_g_r1", "to be idle", all_acknowledged)
        .await
        .delivered
        .stream_sequence;
    let event = |tx_id: TxId, version: u64| {
        let tables = json!([{"table": "Counter", "version": version}]);
        json!({"tx_id": tx_id, "timestamp": answer.timestamp, "tables": tables}).to_string()
    };
    let now = u64::try_from(answer.timestamp.timestamp_millis()).expect("a time");
    let useless: Vec<String> = vec![
        "no JSON".to_owned(),
        String::new(),
        r#"{"tx_id": "not a uuid"}"#.to_owned(),
        "[]".to_owned(),
        // Repeated and reordered.
        event(answer.tx_id, 1),
        event(answer.tx_id, 1),
        event(TxId::default(), 1),
        // Forged: commits that do not exist, now and far in the future.
        event(TxId::after(answer.tx_id, now + 1), 999),
        event(TxId::after(answer.tx_id, now + 1_000_000_000), 1),
    ];
    let received = replica.health.view().received;
    for body in &useless {
        look.publish(SUBJECT, body.clone().into())
            .await
            .expect("sent")
            .await
            .expect("stored");
    }
    // The same commit's event once more, as its writer would send it: the server stores it once.
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", answer.tx_id.to_string());
    let again = look
        .publish_with_headers(SUBJECT, headers, event(answer.tx_id, 1).into())
        .await
        .expect("sent");
    assert!(again.await.expect("stored").duplicate);
    let count = useless.len() as u64;
    let done = |info: &Info| all_acknowledged(info) && info.delivered.stream_sequence == came + count;
    let info = durable_until(&look, "default_g_r1", "to have everything acknowledged", done).await;
    assert_eq!(info.num_redelivered, 0);
    assert_eq!(replica.health.view().received, received + count);
    assert_eq!(replica.tx_id(), answer.tx_id, "nothing was applied");
    replica.reaches(&writer.commit(&set(2)).await).await;
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_durable_that_is_deleted_under_its_replica_is_made_again() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    replica.reaches(&writer.commit(&set(0)).await).await;
    let look = server.look().await;
    let first = durable_until(&look, "default_g_r1", "to exist", |_| true).await;
    let stream = look.get_stream("SLIPSTREAM").await.expect("the stream");
    stream.delete_consumer("default_g_r1").await.expect("deleted");
    // Whether its event comes before or after the durable is there again.
    replica.reaches(&writer.commit(&set(1)).await).await;
    let again = durable_until(&look, "default_g_r1", "to exist again", |info| {
        info.created != first.created
    })
    .await;
    assert_eq!(again.config.durable_name, first.config.durable_name);
    replica.reaches(&writer.commit(&set(2)).await).await;
    durable_until(
        &look,
        "default_g_r1",
        "to have everything acknowledged",
        all_acknowledged,
    )
    .await;
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_event_is_acknowledged_only_after_its_commit_is_applied() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let mut replica = graph.start_replica("r1").await;
    replica.catch_up().await;
    let events = EventsSettings {
        ack_wait: Duration::from_secs(2),
        ..settings(&server, "g")
    };
    let health = EventsHealth::new(graph.clock.clone());
    let shutdown = CancellationToken::new();
    let progress = replica.advancer.progress.clone();
    let (mut bell, task) = JetStreamBell::start(events, "r1", progress, health, shutdown.clone());
    within("the ring after connecting", bell.rung()).await;
    let look = server.look().await;
    let mut replies = look
        .client()
        .subscribe("$JS.ACK.>")
        .await
        .expect("a subscription");
    let answer = writer.commit(&set(1)).await;
    within("the event's ring", bell.rung()).await;
    durable_until(&look, "default_g_r1", "to wait", |info| info.num_ack_pending == 1).await;
    // Applying takes long: the server is told, and does not deliver the event again.
    for _ in 0..4 {
        let reply = within("a report of progress", replies.next())
            .await
            .expect("a reply");
        assert_eq!(String::from_utf8_lossy(&reply.payload), "+WPI");
    }
    let waiting = durable_until(&look, "default_g_r1", "to exist", |_| true).await;
    assert_eq!((waiting.num_ack_pending, waiting.num_redelivered), (1, 0));
    replica.catch_up().await;
    assert_eq!(
        replica.advancer.progress.view().watermark.map(|at| at.tx_id),
        Some(answer.tx_id)
    );
    durable_until(
        &look,
        "default_g_r1",
        "to have everything acknowledged",
        all_acknowledged,
    )
    .await;
    shutdown.cancel();
    task.finish().await;
    replica.stop().await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_leaves_takes_its_durable_and_its_lease_along() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    replica.reaches(&writer.commit(&set(1)).await).await;
    let look = server.look().await;
    assert!(durable(&look, "SLIPSTREAM", "default_g_r1").await.is_some());
    let lease = Key::new("replicas/r1.json").expect("a key");
    assert!(graph.store.get(&lease).await.expect("an answer").is_some());
    replica.leave().await;
    assert!(durable(&look, "SLIPSTREAM", "default_g_r1").await.is_none());
    assert!(graph.store.get(&lease).await.expect("an answer").is_none());
    writer.stop().await;
}
