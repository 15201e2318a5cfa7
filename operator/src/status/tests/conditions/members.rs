//! What is said of pods that are there or not, serve or not, and are as far as the head or not.

use std::time::Duration;

use crds::ConditionType::{Degraded, Progressing, Ready, ReplicasReady, WriterReady};
use crds::{MemberRole, Reason};

use super::Situation;
use crate::members::StoreLink;
use crate::status::tests::{REPLICA, WRITER, position, reading};

pub(super) fn situations() -> Vec<Situation> {
    vec![
        (
            "all well",
            |_| {},
            vec![
                (Ready, "True", Reason::Serving, "2 of 2"),
                (WriterReady, "True", Reason::WriterServing, "g-writer-0"),
                (ReplicasReady, "True", Reason::ReplicasFollowing, "2 of 2"),
                (Progressing, "False", Reason::UpToDate, ""),
                (Degraded, "False", Reason::AsExpected, ""),
            ],
        ),
        (
            "one replica lags",
            |graph| {
                graph.answer(REPLICA).ready = false;
                graph.answer(REPLICA).seq = Some(4);
                graph.answer(REPLICA).lag_ms = 41_000;
            },
            vec![
                (Ready, "False", Reason::ReplicasNotReady, "1 of 2"),
                (ReplicasReady, "False", Reason::ReplicasUnready, "g-replica-a"),
                (
                    Degraded,
                    "True",
                    Reason::ReplicaLagging,
                    "replica g-replica-a lags by 6 commits (41 s)",
                ),
            ],
        ),
        (
            "one replica cannot apply what it reads",
            |graph| {
                graph.answer(WRITER).head = position(11);
                let replica = graph.answer(REPLICA);
                replica.state = "degraded".to_owned();
                replica.state_detail = Some("no space left on device".to_owned());
            },
            vec![
                (Ready, "False", Reason::ReplicasNotReady, "1 of 2"),
                (ReplicasReady, "False", Reason::ReplicasUnready, "g-replica-a"),
                (
                    Degraded,
                    "True",
                    Reason::ReplicaLagging,
                    "replica g-replica-a lags by 1 commits (0 s): no space left on device",
                ),
            ],
        ),
        (
            "one replica stops applying within what its readiness allows",
            |graph| {
                graph.answer(WRITER).head = position(11);
                graph.readings[REPLICA].behind = Duration::from_secs(7);
            },
            vec![
                (Ready, "True", Reason::Serving, "2 of 2"),
                (ReplicasReady, "True", Reason::ReplicasFollowing, "2 of 2"),
                (
                    Degraded,
                    "True",
                    Reason::ReplicaLagging,
                    "replica g-replica-a lags by 1 commits (7 s)",
                ),
            ],
        ),
        (
            "one replica takes a moment",
            |graph| {
                graph.answer(WRITER).head = position(11);
                graph.readings[REPLICA].behind = Duration::from_millis(6900);
            },
            vec![(Degraded, "False", Reason::AsExpected, "")],
        ),
        (
            "one replica lacks commits while it builds its graph anew",
            |graph| {
                graph.answer(WRITER).head = position(11);
                graph.answer(REPLICA).state = "building".to_owned();
                graph.readings[REPLICA].behind = Duration::from_secs(20);
            },
            vec![(Degraded, "False", Reason::AsExpected, "")],
        ),
        (
            "the store is away from a replica that knows of a newer commit",
            |graph| {
                graph.answer(WRITER).head = position(11);
                let replica = graph.answer(REPLICA);
                replica.state = "degraded".to_owned();
                replica.store = Some(StoreLink {
                    ok: false,
                    error: None,
                });
            },
            vec![
                (Ready, "True", Reason::Serving, "2 of 2"),
                (Degraded, "True", Reason::StoreUnreachable, "replica g-replica-a"),
            ],
        ),
        (
            "one replica does not answer",
            |graph| {
                graph.readings[REPLICA].answer = None;
                graph.answer(WRITER).head = position(14);
                graph.readings[REPLICA].behind = Duration::from_secs(9);
            },
            vec![
                (Ready, "False", Reason::ReplicasNotReady, ""),
                (ReplicasReady, "False", Reason::ReplicasUnready, "g-replica-a"),
                (
                    Degraded,
                    "True",
                    Reason::MemberUnreachable,
                    "replica g-replica-a is not reachable",
                ),
                (
                    Degraded,
                    "True",
                    Reason::MemberUnreachable,
                    "its lag is 4 commits (9 s)",
                ),
                (WriterReady, "True", Reason::WriterServing, ""),
            ],
        ),
        (
            "a new replica starts",
            |graph| {
                let mut new = reading("g-replica-c", MemberRole::Replica);
                (new.ready, new.answer) = (false, None);
                graph.readings.push(new);
                graph.wanted = 3;
            },
            vec![
                (ReplicasReady, "False", Reason::ReplicasStarting, "2 of 3"),
                (
                    Progressing,
                    "True",
                    Reason::Scaling,
                    "3 replica pods exist, 3 are asked for",
                ),
                (Degraded, "False", Reason::AsExpected, ""),
            ],
        ),
        (
            "a replica cannot start",
            |graph| {
                let new = &mut graph.readings[REPLICA];
                new.pod = "g-replica-c".to_owned();
                (new.ready, new.answer) = (false, None);
                new.waiting = Some("container sidecar waits: ImagePullBackOff".to_owned());
            },
            vec![(
                Degraded,
                "True",
                Reason::PodFailing,
                "replica g-replica-c: container sidecar waits: ImagePullBackOff",
            )],
        ),
        (
            "no replicas",
            |graph| {
                graph.readings.truncate(1);
                graph.wanted = 0;
            },
            vec![
                (Ready, "True", Reason::Serving, "no replicas"),
                (ReplicasReady, "True", Reason::NoReplicasWanted, ""),
                (Degraded, "False", Reason::AsExpected, ""),
            ],
        ),
        (
            "the writer's pod is gone",
            |graph| drop(graph.readings.remove(WRITER)),
            vec![
                (
                    Ready,
                    "False",
                    Reason::WriterNotReady,
                    "g-writer-0 does not exist",
                ),
                (WriterReady, "False", Reason::WriterPodMissing, ""),
                (ReplicasReady, "True", Reason::ReplicasFollowing, ""),
            ],
        ),
        (
            "the writer takes over",
            |graph| {
                graph.answer(WRITER).ready = false;
                graph.answer(WRITER).state = "building".to_owned();
            },
            vec![(
                WriterReady,
                "False",
                Reason::WriterStarting,
                "pod g-writer-0 is building",
            )],
        ),
        (
            "the writer does not answer",
            |graph| graph.readings[WRITER].answer = None,
            vec![
                (
                    WriterReady,
                    "False",
                    Reason::WriterUnreachable,
                    "g-writer-0 does not answer",
                ),
                (Degraded, "True", Reason::MemberUnreachable, "writer g-writer-0"),
            ],
        ),
    ]
}
