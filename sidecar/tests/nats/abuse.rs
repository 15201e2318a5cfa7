//! Events that lie, flood, or meet clocks that are wrong: they cost latency, never a commit.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use bytes::Bytes;
use serde_json::json;
use slipstream::ids::TxId;

use crate::nodes::{ListeningReplica, PublishingWriter, settings};
use crate::server::{NatsServer, durable_until};
use crate::support::cluster::TestGraph;
use crate::support::waiting::until;
use crate::{SCHEMA, SUBJECT, all_acknowledged, set};

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

fn event(tx_id: TxId, timestamp: &str) -> Bytes {
    let tables = json!([{"table": "Counter", "version": 1_000_000}]);
    json!({"tx_id": tx_id, "timestamp": timestamp, "tables": tables})
        .to_string()
        .into()
}

async fn stored(look: &jetstream::Context, subject: &str, body: Bytes) {
    let sent = look.publish(subject.to_owned(), body).await.expect("sent");
    sent.await.expect("stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_is_deleted_under_everybody_is_made_again() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    replica.reaches(&writer.commit(&set(0)).await).await;
    let look = server.look().await;
    look.delete_stream("SLIPSTREAM").await.expect("deleted");
    // The client has its answer all the same, and the replica follows once both have found out.
    let asked = Instant::now();
    let answer = writer.commit(&set(1)).await;
    let answered = asked.elapsed();
    replica.reaches(&answer).await;
    println!(
        "without its stream: answered in {answered:?}, followed in {:?}",
        asked.elapsed()
    );
    let config = look.get_stream("SLIPSTREAM").await.expect("the stream again");
    assert_eq!(
        config.cached_info().config.max_messages_per_subject,
        10_000,
        "with its limits"
    );
    // And by events again.
    let by_event = Instant::now();
    replica.reaches(&writer.commit(&set(2)).await).await;
    assert!(
        by_event.elapsed() < Duration::from_secs(5),
        "{:?}",
        by_event.elapsed()
    );
    durable_until(
        &look,
        "default_g_r1",
        "to have everything acknowledged",
        all_acknowledged,
    )
    .await;
    assert_eq!(writer.health.view().dropped, 0);
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_old_events_delays_and_nothing_more() {
    const FLOOD: usize = 100_000;
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    let polls = Duration::from_millis(200);
    let polling = ListeningReplica::polling(&graph, "r2", settings(&server, "g"), polls).await;
    replica.listens().await;
    polling.listens().await;
    let old = writer.commit(&set(0)).await;
    replica.reaches(&writer.commit(&set(1)).await).await;
    let look = server.look().await;
    let client = look.client();
    let body = event(old.tx_id, "2026-02-03T04:05:06Z");
    let started = Instant::now();
    let flood = tokio::spawn(async move {
        for _ in 0..FLOOD {
            client.publish(SUBJECT, body.clone()).await.expect("sent");
        }
        client.flush().await.expect("flushed");
    });
    // The replica that polls as well answers as ever; the other one's events wait in the flood.
    let mut took = Vec::new();
    while !flood.is_finished() || took.len() < 10 {
        let asked = Instant::now();
        let value = 2 + i64::try_from(took.len()).expect("small");
        polling.reaches(&writer.commit(&set(value)).await).await;
        took.push(asked.elapsed());
    }
    flood.await.expect("everything was sent");
    let sent_in = started.elapsed();
    let last = writer.commit(&set(-1)).await;
    replica.reaches(&last).await;
    polling.reaches(&last).await;
    for durable in ["default_g_r1", "default_g_r2"] {
        durable_until(
            &look,
            durable,
            "to have everything acknowledged",
            all_acknowledged,
        )
        .await;
    }
    took.sort();
    println!(
        "{FLOOD} old events: sent in {sent_in:?}, all done after {:?}, {} taken by a replica; {} commits beside them on a replica that \
         polls: p50 {:?}, slowest {:?}",
        started.elapsed(),
        replica.health.view().received,
        took.len(),
        took[took.len() / 2],
        took[took.len() - 1],
    );
    assert!(
        started.elapsed() < Duration::from_secs(100),
        "bounded: {:?}",
        started.elapsed()
    );
    writer.stop().await;
    replica.leave().await;
    polling.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_forged_commits_and_rubbish_delays_and_nothing_more() {
    const FLOOD: u64 = 6_000;
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    let first = writer.commit(&set(0)).await;
    replica.reaches(&first).await;
    let look = server.look().await;
    let client = look.client();
    let now = u64::try_from(first.timestamp.timestamp_millis()).expect("a time");
    // More than may wait for an acknowledgement at a time; half of them name commits a year ahead, half are no events.
    for number in 0..FLOOD {
        let body = if number % 2 == 0 {
            let year_ahead = TxId::after(first.tx_id, now + 365 * 24 * 3600 * 1000 + number);
            event(year_ahead, "9999-12-31T23:59:59Z")
        } else {
            Bytes::from(format!("{{\"rubbish\": {number}"))
        };
        client.publish(SUBJECT, body).await.expect("sent");
    }
    client.flush().await.expect("flushed");
    let answer = writer.commit(&set(1)).await;
    replica.reaches(&answer).await;
    durable_until(
        &look,
        "default_g_r1",
        "to have everything acknowledged",
        all_acknowledged,
    )
    .await;
    assert_eq!(replica.tx_id(), answer.tx_id, "nothing else was applied");
    replica.reaches(&writer.commit(&set(2)).await).await;
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn huge_deep_and_misaddressed_events_change_nothing() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    let first = writer.commit(&set(0)).await;
    replica.reaches(&first).await;
    let look = server.look().await;
    let came = durable_until(&look, "default_g_r1", "to be idle", all_acknowledged).await;
    let large = 900_000;
    let tables: Vec<_> = (0..20_000)
        .map(|number| json!({"table": format!("T{number}"), "version": u64::MAX}))
        .collect();
    let bodies: Vec<Bytes> = vec![
        vec![b'x'; large].into(),
        vec![b'['; large].into(),
        vec![0_u8; large].into(),
        vec![0xff_u8; 10].into(),
        json!({"tx_id": first.tx_id, "timestamp": first.timestamp, "tables": tables}).to_string().into(),
        json!({"tx_id": first.tx_id, "timestamp": first.timestamp, "tables": [], "notes": "n".repeat(large)})
            .to_string()
            .into(),
        json!({"tx_id": first.tx_id, "timestamp": "yesterday", "tables": []}).to_string().into(),
        json!({"tx_id": first.tx_id, "timestamp": first.timestamp, "tables": [{"table": "Counter", "version": -1}]})
            .to_string()
            .into(),
    ];
    let received = replica.health.view().received;
    for body in &bodies {
        stored(&look, SUBJECT, body.clone()).await;
    }
    // Another graph's subject, in the same stream: not delivered to this one.
    stored(
        &look,
        "slipstream.versionmap.default.g2",
        event(first.tx_id, "2026-02-03T04:05:06Z"),
    )
    .await;
    let last = came.delivered.stream_sequence + bodies.len() as u64;
    durable_until(&look, "default_g_r1", "to have taken them", |info| {
        all_acknowledged(info) && info.delivered.stream_sequence >= last
    })
    .await;
    assert_eq!(replica.health.view().received, received + bodies.len() as u64);
    assert_eq!(replica.tx_id(), first.tx_id, "nothing was applied");
    replica.reaches(&writer.commit(&set(1)).await).await;
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clocks_that_jump_by_days_keep_commits_in_order_and_events_acknowledged() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    let replica = ListeningReplica::start(&graph, "r1", settings(&server, "g")).await;
    replica.listens().await;
    let look = server.look().await;
    let mut last = writer.commit(&set(0)).await;
    replica.reaches(&last).await;
    for (step, days) in [3, -7, 30, -30].into_iter().enumerate() {
        // An event of no commit comes before the jump and is found out after it.
        let ahead = u64::try_from(last.timestamp.timestamp_millis()).expect("a time") + 1_000_000_000_000;
        graph.clock.shift_millis(days * DAY_MILLIS);
        stored(
            &look,
            SUBJECT,
            event(TxId::after(last.tx_id, ahead), "1970-01-01T00:00:00Z"),
        )
        .await;
        let answer = writer.commit(&set(1 + i64::try_from(step).expect("small"))).await;
        assert!(
            answer.tx_id > last.tx_id && answer.seq > last.seq,
            "after {days} days: {answer:?}"
        );
        replica.reaches(&answer).await;
        durable_until(
            &look,
            "default_g_r1",
            "to have everything acknowledged",
            all_acknowledged,
        )
        .await;
        last = answer;
    }
    until("the replica to be at the end of the log", || {
        replica.progress.view().lag_commits() == 0
    })
    .await;
    writer.stop().await;
    replica.leave().await;
}
