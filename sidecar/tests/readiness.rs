//! What a node may say of itself: that it keeps up, that its state is fresh, that its queue is full; each when it is so.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use serde_json::json;
use slipstream::settings::Settings;
use slipstream::writer::{CommitError, TransactionRequest, WriteError};
use support::cluster::TestGraph;
use support::requests::{transaction, upsert};
use support::waiting::{Stall, crash_points, until};

const SCHEMA: &str = "
nodes: [{name: Item, primaryKey: name, properties: [{name: name, type: string}, {name: size, type: int64}]}]
";

fn item(name: &str, size: u64) -> TransactionRequest {
    transaction([upsert("Item", [json!({"name": name, "size": size})])])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pass_that_applied_all_there_was_confirms_the_end_of_the_log() {
    // Also where no crash point is used: those of the other tests here hold for the whole process.
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = graph.start_writer("writer").await;
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    let before = replica.advancer.progress.view().confirmed_at.expect("caught up");
    writer.commit(&item("a", 1)).await;
    assert!(
        replica.pass().await.expect("a pass"),
        "there was a commit to apply"
    );
    let after = replica
        .advancer
        .progress
        .view()
        .confirmed_at
        .expect("still caught up");
    assert!(after > before, "{after} is not later than {before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ring_makes_the_state_of_an_idle_writer_fresh_at_once_and_never_that_of_a_fenced_one() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = graph.start_writer("writer").await;
    // By its first commit it is past its first heartbeat; the next one is an hour away.
    writer.commit(&item("a", 1)).await;
    graph.clock.shift_millis(60_000);
    let age = || {
        let view = writer.advancer.progress.view();
        view.staleness_ms(graph.clock.now()).expect("a graph")
    };
    assert!(age() >= 60_000, "nothing has confirmed the head since");
    writer.wake.notify_one();
    until("the writer to confirm its head", || age() < 60_000).await;

    let _newer = graph.start_writer("newer").await;
    let confirmed_at = writer.advancer.progress.view().confirmed_at;
    writer.wake.notify_one();
    until("the older writer to end", || writer.has_ended()).await;
    assert_eq!(
        writer.advancer.progress.view().confirmed_at,
        confirmed_at,
        "its state counts as fresh no more"
    );
    let ended = writer.ended().await;
    assert!(
        matches!(ended, Err(CommitError::Fenced(_))),
        "the older writer ended with {ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn as_many_transactions_wait_as_the_queue_has_places_wherever_they_wait() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let settings = Settings {
        queue: 2,
        ..graph.settings("writer")
    };
    let writer = graph.try_start_writer(settings, &graph.schema).await;
    let writer = writer.expect("a takeover");
    let [at_hand, next, last, later, too_many] = [
        item("a", 1),
        item("b", 1),
        item("b", 2),
        item("c", 1),
        item("d", 1),
    ];

    let first_stall = Stall::at("writer::before_record");
    let mut at_hand = Box::pin(writer.submit(&at_hand));
    assert!(futures::poll!(&mut at_hand).is_pending());
    first_stall.reached().await;
    // Both touch the same row: they make two commits.
    let (mut next, mut last) = (Box::pin(writer.submit(&next)), Box::pin(writer.submit(&last)));
    assert!(futures::poll!(&mut next).is_pending());
    assert!(futures::poll!(&mut last).is_pending());
    let second_stall = Stall::at("writer::before_lance");
    first_stall.resume();
    second_stall.reached().await;

    // One of the two waits on, taken from the channel already: there is one place.
    let mut later = Box::pin(writer.submit(&later));
    assert!(futures::poll!(&mut later).is_pending());
    let refused = writer.submit(&too_many).await;
    assert!(
        matches!(refused, Err(WriteError::Overloaded { queued: 2 })),
        "{refused:?}"
    );
    second_stall.resume();
    for waiting in [at_hand, next, last, later] {
        waiting.await.expect("a commit");
    }
    // All places are free again.
    for size in 0..4 {
        writer.commit(&item("e", size)).await;
    }
}
