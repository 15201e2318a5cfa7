//! Background work and the connections, as the members report them.

use std::time::Duration;

use crds::{Connection, ReplicatedGraphDBStatus};

use super::{Graph, REPLICA, WRITER, at, tx_id, well};
use crate::members::{Link, StoreLink};
use crate::reports::{Compared, Optimize, Optimizer, Snapshot};
use crate::status::is_due;

/// What the API server gives back: nothing that a status is compared by may be lost on the way.
fn stored(status: &ReplicatedGraphDBStatus) -> ReplicatedGraphDBStatus {
    serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap()
}

fn with_background_work() -> Graph {
    let mut graph = well();
    let later = at(5000);
    for pod in [REPLICA, REPLICA + 1] {
        let answer = graph.answer(pod);
        answer.snapshots.last = Some(Snapshot {
            seq: 8,
            tx_id: tx_id(8),
            timestamp: at(1500) + Duration::from_millis(250),
            bytes: 4096,
            duration_ms: if pod == REPLICA { 120 } else { 0 },
        });
        answer.snapshots.next_due = Some(later + Duration::from_millis(pod as u64));
        answer.scrub.last = Some(Compared {
            seq: 9,
            timestamp: at(1600) + Duration::from_millis(1),
            ok: true,
            difference: None,
        });
        answer.store = Some(StoreLink {
            ok: true,
            error: None,
        });
    }
    let writer = graph.answer(WRITER);
    writer.optimizer.last = Some(Optimize {
        seq: 7,
        tx_id: tx_id(7),
        timestamp: at(1400),
        what: "Package: 9 fragments became 1".to_owned(),
        why: "9 small fragments".to_owned(),
        duration_ms: 80,
    });
    writer.optimizer.freed_bytes = 1234;
    writer.optimizer.next_due = Some(later);
    graph
}

#[test]
fn background_work_is_told_as_the_members_report_it() {
    let status = with_background_work().status();
    let snapshot = status.last_snapshot.clone().unwrap();
    assert_eq!(
        (snapshot.seq, snapshot.bytes, snapshot.duration_ms),
        (8, 4096, Some(120))
    );
    assert_eq!(
        (snapshot.timestamp.0, status.next_snapshot.clone().unwrap().0),
        (at(1500), at(5000)),
        "whole seconds, the earliest"
    );
    let optimize = status.last_optimize.clone().unwrap();
    assert_eq!((optimize.seq, optimize.freed_bytes), (7, 1234));
    assert_eq!(optimize.why, "9 small fragments");
    assert_eq!(status.next_optimize.clone().unwrap().0, at(5000));
    let scrub = status.members[REPLICA].last_scrub.clone().unwrap();
    assert_eq!((scrub.seq, scrub.ok, scrub.timestamp.0), (9, true, at(1600)));
    assert_eq!(status.members[WRITER].last_scrub, None);
    assert!(status.store.as_ref().unwrap().connected);
    assert_eq!(status.events, None, "no NATS is configured");

    let mut next = with_background_work();
    next.previous = Some(stored(&status));
    assert_eq!(next.status(), stored(&status), "an idle graph has one status");

    // The pods that took and did these are gone: it is remembered.
    next.readings.truncate(1);
    next.answer(WRITER).optimizer = Optimizer::default();
    let after = next.status();
    assert_eq!(after.last_snapshot, status.last_snapshot);
    assert_eq!(after.last_optimize, status.last_optimize);
    assert_eq!((after.next_snapshot, after.next_optimize), (None, None));
}

#[test]
fn a_snapshot_of_an_earlier_graph_in_this_place_is_forgotten() {
    let mut graph = with_background_work();
    let mut before = graph.status();
    before.last_snapshot.as_mut().unwrap().seq = 11;
    graph.previous = Some(before);
    assert_eq!(graph.status().last_snapshot.unwrap().seq, 8, "the head is 10");
}

#[test]
fn the_connection_is_as_bad_as_the_worst_member_sees_it() {
    let mut graph = with_background_work().settled();
    graph.answer(REPLICA).store = Some(StoreLink {
        ok: false,
        error: Some("timeout".to_owned()),
    });
    graph.answer(WRITER).events = Some(Link {
        connected: true,
        ..Link::default()
    });
    let status = graph.status();
    let store = status.store.clone().unwrap();
    assert_eq!(
        (store.connected, store.unreachable_from, store.error.as_deref()),
        (false, vec!["g-replica-a".to_owned()], Some("timeout"))
    );
    assert_eq!(
        status.events,
        Some(Connection {
            connected: true,
            ..Connection::default()
        })
    );
}

#[test]
fn what_background_work_did_is_a_figure() {
    let before = well().status();
    let after = with_background_work().status();
    let mut only_store = before.clone();
    only_store.store = after.store.clone();
    assert!(!is_due(Some(&only_store), &after, Some(Duration::from_secs(1))));
    assert!(is_due(Some(&only_store), &after, Some(Duration::from_secs(5))));
}
