//! What is said of what members report besides: their connections, their graph, their config and their background work.

use crds::ConditionType::{Degraded, Ready, ReplicasReady};
use crds::Reason;

use super::Situation;
use crate::members::{Link, StoreLink};
use crate::status::tests::{REPLICA, WRITER};

pub(super) fn situations() -> Vec<Situation> {
    vec![
        (
            "NATS is away",
            |graph| {
                graph.answer(REPLICA).events = Some(Link {
                    connected: false,
                    error: Some("refused".to_owned()),
                    ..Link::default()
                });
            },
            vec![
                (Ready, "True", Reason::Serving, ""),
                (
                    Degraded,
                    "True",
                    Reason::EventsUnreachable,
                    "replica g-replica-a cannot reach NATS and polls instead: refused",
                ),
            ],
        ),
        (
            "a replica rebuilds beside the graph it serves",
            |graph| graph.answer(REPLICA).state = "building".to_owned(),
            vec![(Ready, "True", Reason::Serving, "")],
        ),
        (
            "a replica has just started and is connecting to NATS",
            |graph| graph.answer(REPLICA).events = Some(Link::default()),
            vec![(Degraded, "False", Reason::AsExpected, "")],
        ),
        (
            "the store is away",
            |graph| {
                graph.answer(WRITER).store = Some(StoreLink {
                    ok: false,
                    error: Some("timeout".to_owned()),
                });
                graph.answer(REPLICA).events = Some(Link {
                    error: Some("refused".to_owned()),
                    ..Link::default()
                });
            },
            vec![
                (
                    Degraded,
                    "True",
                    Reason::StoreUnreachable,
                    "writer g-writer-0 cannot reach the store: timeout",
                ),
                (Degraded, "True", Reason::StoreUnreachable, "cannot reach NATS"),
            ],
        ),
        (
            "a replica's graph differs from the tables",
            |graph| {
                let replica = graph.answer(REPLICA);
                (replica.state, replica.ready) = ("diverged".to_owned(), false);
                replica.state_detail = Some("table Package: 3 rows in Lance, 2 in Kuzu".to_owned());
            },
            vec![
                (ReplicasReady, "False", Reason::ReplicasUnready, "g-replica-a"),
                (
                    Degraded,
                    "True",
                    Reason::Diverged,
                    "replica g-replica-a differs from the tables and is built anew: table Package: 3 rows",
                ),
            ],
        ),
        (
            "a replica cannot use its config",
            |graph| graph.answer(REPLICA).settings.error = Some("unknown field `a`".to_owned()),
            vec![
                (Ready, "True", Reason::Serving, ""),
                (
                    Degraded,
                    "True",
                    Reason::ConfigRejected,
                    "replica g-replica-a goes on with its older config: unknown field `a`",
                ),
            ],
        ),
        (
            "background work fails",
            |graph| {
                graph.answer(WRITER).optimizer.error = Some("no room".to_owned());
                graph.answer(REPLICA).snapshots.error = Some("timed out".to_owned());
                graph.answer(REPLICA).scrub.error = Some("gone".to_owned());
            },
            vec![
                (Ready, "True", Reason::Serving, ""),
                (
                    Degraded,
                    "True",
                    Reason::SnapshotFailing,
                    "replica g-replica-a failed to take a snapshot: timed out; writer g-writer-0 failed to optimize: no room; replica g-replica-a failed to compare its graph with the tables: gone",
                ),
            ],
        ),
        (
            "snapshots are overdue",
            |graph| graph.snapshot_overdue = Some("commits after 4 have waited".to_owned()),
            vec![(Degraded, "True", Reason::SnapshotOverdue, "commits after 4")],
        ),
    ]
}
