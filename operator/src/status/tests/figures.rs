//! The figures follow from the members, and wait to be written.

use std::time::Duration;

use crds::MemberState;

use super::{REPLICA, WRITER, at, position, well};
use crate::status::is_due;

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
