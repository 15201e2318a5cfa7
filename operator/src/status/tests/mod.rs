//! The status of a graph that is well, and what it becomes when something is not.

mod background;
mod conditions;
mod figures;

use std::time::Duration;

use crds::{MemberRole, Readiness, ReplicatedGraphDBStatus};
use jiff::Timestamp;

use super::{Facts, Rollout, Standing, status};
use crate::members::{Answer, Position, Reading};

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
