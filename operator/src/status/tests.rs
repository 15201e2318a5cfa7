use std::time::Duration;

use crds::{ConditionType, Connection, MemberRole, MemberState, Readiness, Reason, ReplicatedGraphDBStatus};
use jiff::Timestamp;

use super::{Facts, Rollout, Standing, is_due, status};
use crate::members::{Answer, Link, Position, Reading, StoreLink};
use crate::reports::{Compared, Optimize, Optimizer, Snapshot};

/// A graph with a writer and two replicas, all of them well, at commit 10.
struct Graph {
    wanted: u32,
    standing: Standing,
    rollout: Rollout,
    readings: Vec<Reading>,
    snapshot_overdue: Option<String>,
    previous: Option<ReplicatedGraphDBStatus>,
}

const WRITER: usize = 0;
const REPLICA: usize = 1;

fn well() -> Graph {
    Graph {
        wanted: 2,
        standing: Standing::Applied,
        rollout: Rollout::default(),
        readings: vec![
            reading("g-writer-0", MemberRole::Writer),
            reading("g-replica-a", MemberRole::Replica),
            reading("g-replica-b", MemberRole::Replica),
        ],
        snapshot_overdue: None,
        previous: None,
    }
}

fn reading(pod: &str, role: MemberRole) -> Reading {
    Reading {
        pod: pod.to_owned(),
        role,
        ready: true,
        waiting: None,
        answer: Some(Answer {
            state: "following".to_owned(),
            seq: Some(10),
            tx_id: Some(tx_id(10)),
            timestamp: Some(at(1000)),
            head: position(10),
            epoch: 3,
            ready: true,
            ..Answer::default()
        }),
        behind: Duration::ZERO,
    }
}

fn position(seq: u64) -> Position {
    Position {
        seq,
        tx_id: tx_id(seq),
    }
}

/// A UUIDv7 of second 1000 + `seq`.
fn tx_id(seq: u64) -> String {
    let digits = format!("{:012x}", (1000 + seq) * 1000);
    format!("{}-{}-7000-8000-{seq:012x}", &digits[..8], &digits[8..])
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Graph {
    fn status(&self) -> ReplicatedGraphDBStatus {
        let readiness = Readiness::default();
        let facts = Facts {
            graph: "g",
            generation: Some(2),
            wanted: self.wanted,
            readiness: &readiness,
            poll_interval: Duration::from_secs(1),
            standing: &self.standing,
            rollout: &self.rollout,
            readings: &self.readings,
            snapshot_overdue: self.snapshot_overdue.as_deref(),
            image: None,
            previous: self.previous.as_ref(),
        };
        status(&facts, at(2000))
    }

    /// As it is after it has been well once.
    fn settled(mut self) -> Self {
        self.previous = Some(well().status());
        self
    }

    fn answer(&mut self, pod: usize) -> &mut Answer {
        self.readings[pod].answer.as_mut().unwrap()
    }
}

fn condition(status: &ReplicatedGraphDBStatus, kind: ConditionType) -> (String, String, String) {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
        .unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn each_situation_has_its_conditions() {
    use ConditionType::{Degraded, Progressing, Ready, ReplicasReady, WriterReady};
    type Change = fn(&mut Graph);
    type Expected = (ConditionType, &'static str, Reason, &'static str);
    let table: Vec<(&str, Change, Vec<Expected>)> = vec![
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
            "the cluster does not let replica pods in",
            |graph| {
                graph.readings.truncate(2);
                graph.rollout.pods_refused =
                    Some("pods \"x\" is forbidden: exceeded quota: small".to_owned());
            },
            vec![
                (Ready, "False", Reason::ReplicasNotReady, "1 of 2"),
                (
                    Degraded,
                    "True",
                    Reason::PodFailing,
                    "Deployment g-replica: pods \"x\" is forbidden: exceeded quota: small",
                ),
            ],
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
        (
            "suspended",
            |graph| graph.standing = Standing::Suspended,
            vec![
                (Ready, "True", Reason::Serving, ""),
                (Progressing, "False", Reason::Suspended, ""),
                (Degraded, "False", Reason::AsExpected, ""),
            ],
        ),
        (
            "wrong resource",
            |graph| graph.standing = Standing::Invalid("spec.snapshots.schedule: no".to_owned()),
            vec![
                (Progressing, "False", Reason::InvalidSpec, ""),
                (
                    Degraded,
                    "True",
                    Reason::InvalidSpec,
                    "spec.snapshots.schedule: no",
                ),
            ],
        ),
        (
            "refused object",
            |graph| graph.standing = Standing::ApplyFailed("failed to apply Service".to_owned()),
            vec![
                (Ready, "True", Reason::Serving, ""),
                (
                    Progressing,
                    "False",
                    Reason::ApplyFailed,
                    "failed to apply Service",
                ),
                (Degraded, "True", Reason::ApplyFailed, "failed to apply Service"),
            ],
        ),
        (
            "replicas roll",
            |graph| (graph.rollout.replicas, graph.rollout.writer) = (true, true),
            vec![
                (Ready, "True", Reason::Serving, ""),
                (Progressing, "True", Reason::RollingReplicas, ""),
            ],
        ),
        (
            "the writer rolls",
            |graph| graph.rollout.writer = true,
            vec![(Progressing, "True", Reason::RollingWriter, "")],
        ),
        (
            "the volume grows",
            |graph| graph.rollout.volume = true,
            vec![(Progressing, "True", Reason::VolumeGrowing, "")],
        ),
        (
            "the volume cannot grow",
            |graph| graph.rollout.volume_note = Some("class x does not allow it".to_owned()),
            vec![(
                Degraded,
                "True",
                Reason::VolumeCannotGrow,
                "class x does not allow it",
            )],
        ),
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
        (
            "being deleted",
            |graph| graph.standing = Standing::Deleting("pods are ending".to_owned()),
            vec![
                (Ready, "False", Reason::Deleting, "pods are ending"),
                (Progressing, "True", Reason::Deleting, ""),
            ],
        ),
    ];
    for (situation, change, expected) in table {
        let mut graph = well().settled();
        change(&mut graph);
        let status = graph.status();
        assert_eq!(status.conditions.len(), 5, "{situation}");
        for (kind, value, reason, part) in expected {
            let (found, why, message) = condition(&status, kind);
            assert_eq!(
                (found.as_str(), why.as_str()),
                (value, reason.as_str()),
                "{situation}: {kind}: {message}"
            );
            assert!(message.contains(part), "{situation}: {kind}: {message}");
        }
    }
}

#[test]
fn a_new_graph_is_being_created_until_it_is_ready_once() {
    let mut graph = well();
    graph.readings.clear();
    let created = graph.status();
    assert_eq!(condition(&created, ConditionType::Progressing).1, "Creating");
    assert_eq!((created.head.is_none(), created.max_lag_commits), (true, None));
    graph.previous = Some(created);
    graph.readings = well().readings;
    let ready = graph.status();
    assert_eq!(condition(&ready, ConditionType::Progressing).1, "UpToDate");
    graph.previous = Some(ready);
    graph.readings.truncate(1);
    assert_eq!(
        condition(&graph.status(), ConditionType::Progressing).1,
        "Scaling"
    );
}

#[test]
fn a_new_graph_whose_objects_were_refused_at_first_is_created_all_the_same() {
    let mut graph = well();
    graph.readings.clear();
    graph.wanted = 0;
    graph.standing = Standing::ApplyFailed("exceeded quota".to_owned());
    graph.previous = Some(graph.status());
    graph.standing = Standing::Applied;
    assert_eq!(
        condition(&graph.status(), ConditionType::Progressing).1,
        "Creating"
    );
}

#[test]
fn the_figures_follow_from_the_members() {
    let mut graph = well();
    graph.answer(WRITER).head = position(12);
    let status = graph.status();
    assert_eq!(
        (status.observed_generation, status.replicas, status.ready_replicas),
        (Some(2), 2, 2)
    );
    assert_eq!(
        status.selector.as_deref(),
        Some("slipstream.dev/graph=g,slipstream.dev/role=replica")
    );
    let head = status.head.unwrap();
    assert_eq!(
        (head.seq, head.timestamp.0),
        (12, at(1012)),
        "the time is in the UUIDv7"
    );
    let writer = status.writer.unwrap();
    assert_eq!(
        (writer.epoch, writer.pod.as_str(), writer.ready),
        (3, "g-writer-0", true)
    );
    assert_eq!(status.max_lag_commits, Some(2));
    let states: Vec<_> = status
        .members
        .iter()
        .map(|member| (member.seq, member.lag_commits, member.state))
        .collect();
    assert_eq!(states, [(10, 2, MemberState::Ready); 3]);
}

#[test]
fn a_pod_that_cannot_be_read_keeps_its_place_and_lags_more_and_more() {
    let mut graph = well().settled();
    graph.readings[REPLICA].answer = None;
    for head in [10, 15, 400] {
        graph.answer(WRITER).head = position(head);
        let status = graph.status();
        let member = &status.members[REPLICA];
        assert_eq!(
            (member.seq, member.lag_commits, member.state),
            (10, head - 10, MemberState::Unreachable)
        );
        assert_eq!(
            (status.max_lag_commits, status.ready_replicas),
            (Some(head - 10), 1)
        );
        graph.previous = Some(status);
    }
}

#[test]
fn the_head_does_not_go_back_when_nobody_answers() {
    let mut graph = well().settled();
    for reading in &mut graph.readings {
        reading.answer = None;
    }
    let status = graph.status();
    assert_eq!(status.head, graph.previous.as_ref().unwrap().head);
    assert_eq!(status.writer.unwrap().epoch, 3);
}

#[test]
fn a_burst_of_commits_between_two_answers_is_no_lag() {
    let mut graph = well().settled();
    graph.answer(WRITER).head = position(500);
    assert_eq!(graph.status().members[REPLICA].state, MemberState::Ready);
    graph.readings[REPLICA].behind = Duration::from_secs(5);
    assert_eq!(
        graph.status().members[REPLICA].state,
        MemberState::Lagging,
        "it had five seconds to reach an older head"
    );
}

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

#[test]
fn equal_status_is_not_written_and_figures_wait() {
    let graph = well().settled();
    let before = graph.previous.clone().unwrap();
    let same = graph.status();
    assert_eq!(same, before, "an idle graph has one status");
    assert!(!is_due(Some(&before), &same, None));
    assert!(is_due(None, &same, None));

    let mut moved = well().settled();
    moved.answer(WRITER).head = position(11);
    let figures = moved.status();
    assert!(!is_due(Some(&before), &figures, Some(Duration::from_secs(1))));
    assert!(is_due(Some(&before), &figures, Some(Duration::from_secs(5))));
    assert!(is_due(Some(&before), &figures, None));

    moved.readings[REPLICA].answer = None;
    assert!(
        is_due(Some(&before), &moved.status(), Some(Duration::ZERO)),
        "a change of state is written at once"
    );
}
