//! Servers that are away, come back, want keys, or must be left clean.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use slipstream::commit_log::CommitRecord;
use slipstream::events::{EventsHealth, EventsSettings, JetStreamBell, Publisher, remove_consumers};
use slipstream::ids::{Seq, TxId};
use tokio_util::sync::CancellationToken;

use crate::nodes::{ListeningReplica, PublishingWriter, settings};
use crate::server::{NatsServer, durable, durable_until};
use crate::support::cluster::TestGraph;
use crate::support::waiting::{until, within};
use crate::{SCHEMA, SUBJECT, all_acknowledged, keys, set};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_are_answered_while_the_server_is_away_and_followed_when_it_is_back() {
    let mut server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, settings(&server, "g")).await;
    // A server that is killed forgets acknowledgements of the last moment, and delivers those events again after this.
    let events = EventsSettings {
        ack_wait: Duration::from_secs(2),
        ..settings(&server, "g")
    };
    let replica = ListeningReplica::start(&graph, "r1", events).await;
    replica.listens().await;
    replica.reaches(&writer.commit(&set(0)).await).await;
    for (round, forgets) in [(1, false), (2, true)] {
        server.kill();
        until("both to notice", || {
            !writer.health.view().connected && !replica.health.view().connected
        })
        .await;
        let error = replica.health.view().error.expect("a reason");
        assert!(error.contains("NATS"), "{error}");
        let before = replica.tx_id();
        let mut last = writer.commit(&set(round * 10)).await;
        for value in 1..5 {
            last = writer.commit(&set(round * 10 + value)).await;
        }
        assert_eq!(replica.tx_id(), before, "nothing rings while the server is away");
        if forgets {
            server.forget();
        }
        server.restart().await;
        replica.reaches(&last).await;
        until("both to be connected", || {
            writer.health.view().connected && replica.health.view().connected
        })
        .await;
        // And by events again, not by the one look after connecting.
        replica.reaches(&writer.commit(&set(round * 10 + 9)).await).await;
        let look = server.look().await;
        durable_until(
            &look,
            "default_g_r1",
            "to have everything acknowledged",
            all_acknowledged,
        )
        .await;
    }
    assert_eq!(writer.health.view().dropped, 0);
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deleted_graph_leaves_no_durable_and_other_graphs_keep_theirs() {
    let server = NatsServer::start().await;
    let graph = TestGraph::new(SCHEMA);
    let settings_of = |name: &str| settings(&server, name);
    let shutdown = CancellationToken::new();
    let mut listening = Vec::new();
    let elsewhere = |mut settings: EventsSettings| {
        settings.nats.subject = "tenants.g3".to_owned();
        settings
    };
    for (settings, replica) in [
        (settings_of("g"), "r1"),
        (settings_of("g"), "r2"),
        (settings_of("g-2"), "r1"),
        (elsewhere(settings_of("g3")), "r1"),
    ] {
        let node = graph
            .start_replica(&format!("{}-{replica}", settings.graph.name))
            .await;
        let health = EventsHealth::new(graph.clock.clone());
        let progress = node.advancer.progress.clone();
        let (_, task) = JetStreamBell::start(settings, replica, progress, health.clone(), shutdown.clone());
        until("it to listen", || health.view().connected).await;
        listening.push((node, task));
    }
    let look = server.look().await;
    assert!(
        durable(&look, "SLIPSTREAM_default_g3", "default_g3_r1")
            .await
            .is_some()
    );
    // Killed, not stopped: nobody is left to delete them.
    for (node, task) in listening {
        drop(task);
        node.stop().await;
    }
    let own = elsewhere(settings_of("g3"));
    let g = settings_of("g");
    let removed = remove_consumers(&g.graph, &g.nats).await.expect("removed");
    assert_eq!(removed, 2);
    assert_eq!(remove_consumers(&own.graph, &own.nats).await.expect("removed"), 1);
    assert!(durable(&look, "SLIPSTREAM", "default_g-2_r1").await.is_some());
    let unknown = settings_of("unknown");
    assert_eq!(
        remove_consumers(&unknown.graph, &unknown.nats)
            .await
            .expect("nothing to do"),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cleaning_up_without_a_server_fails_soon_and_says_where() {
    let server = NatsServer::stopped(Vec::new());
    let events = settings(&server, "g");
    let removed = within("a failure", remove_consumers(&events.graph, &events.nats)).await;
    let error = removed.expect_err("nobody answers").to_string();
    assert!(
        error.starts_with(&format!("failed to connect to NATS at {}: ", server.url())),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_from_the_credentials_directory_open_an_encrypted_connection() {
    // As `main` does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    keys::make(directory.path());
    let file = |name: &str| directory.path().join(name).display().to_string();
    let arguments = [
        "--tls",
        "--tlsverify",
        "--tlscert",
        &file("tls.crt"),
        "--tlskey",
        &file("tls.key"),
        "--tlscacert",
        &file("ca.crt"),
    ];
    let mut server = NatsServer::stopped(arguments.map(str::to_owned).to_vec());
    server.restart().await;
    let mut bare = settings(&server, "g");
    bare.nats.url = server.tls_url();
    let events = EventsSettings {
        credentials: Some(directory.path().to_owned()),
        ..bare.clone()
    };
    let graph = TestGraph::new(SCHEMA);
    let writer = PublishingWriter::start(&graph, events.clone()).await;
    let replica = ListeningReplica::start(&graph, "r1", events).await;
    replica.listens().await;
    replica.reaches(&writer.commit(&set(1)).await).await;
    let health = EventsHealth::new(graph.clock.clone());
    let (_publisher, _task) = Publisher::start(bare, health.clone());
    let refused = || {
        health
            .view()
            .error
            .is_some_and(|error| error.starts_with("no connection to NATS at tls://"))
    };
    until("a client without keys to be refused", refused).await;
    writer.stop().await;
    replica.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_oldest_events_are_given_up_while_the_server_is_away() {
    let mut server = NatsServer::stopped(Vec::new());
    let graph = TestGraph::new(SCHEMA);
    let writer = graph.start_writer("writer").await;
    writer.commit(&set(1)).await;
    writer.stop().await;
    let record: CommitRecord = graph.log.head(Seq(0)).await.expect("a log").expect("a commit");
    let health = EventsHealth::new(graph.clock.clone());
    let (publisher, task) = Publisher::start(settings(&server, "g"), health.clone());
    let mut last = record.tx_id;
    let started = Instant::now();
    for _ in 0..300 {
        last = TxId::after(last, 0);
        let record = CommitRecord {
            tx_id: last,
            ..record.clone()
        };
        publisher.publish(&record);
    }
    assert!(started.elapsed() < Duration::from_secs(1), "it waits for nobody");
    server.restart().await;
    until("all to be published or given up", || {
        let view = health.view();
        view.published + view.dropped == 300
    })
    .await;
    assert_eq!(health.view().published, 256);
    let look: jetstream::Context = server.look().await;
    let stream = look.get_stream("SLIPSTREAM").await.expect("the stream");
    let newest = stream
        .get_last_raw_message_by_subject(SUBJECT)
        .await
        .expect("an event");
    let id = newest.headers.get("Nats-Msg-Id").expect("a message id");
    assert_eq!(id.as_str(), last.to_string());
    drop(publisher);
    task.finish().await;
}
