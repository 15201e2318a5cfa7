//! The status of a graph, decided purely from what was observed, what was done and what the pods say.
//!
//! Flow: [`Facts`] → head → members → counts → conditions ([`conditions`]) → [`ReplicatedGraphDBStatus`]; [`pacing`] decides
//! whether it is written.
//! Lag is counted from the newest head that any member knows. A pod that cannot be read keeps its last known watermark, so
//! that its lag grows with the head.
//! Owns: every field of the status. Does not own: the reading of pods (`members`), the writing (`controller`).

mod background;
mod conditions;
mod head;
mod pacing;
#[cfg(test)]
mod tests;
mod troubles;

use std::time::Duration;

use crds::{MemberRole, MemberState, MemberStatus, Readiness, ReplicatedGraphDBStatus, WriterStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(crate) use head::newest;
pub(crate) use pacing::is_due;

use crate::desired::replica_selector_text;
use crate::members::{Answer, Reading};

/// Whether the operator acts on the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The objects are as desired.
    Applied,
    /// `spec.suspend`.
    Suspended,
    /// The resource was refused; which fields, and why. The graph is as it was before.
    Invalid(String),
    /// An object could not be written; which, and why.
    ApplyFailed(String),
    /// Being deleted; what is waited for.
    Deleting(String),
}

/// How far the cluster's controllers have brought the objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Replica pods with an older template exist, or the Deployment was not looked at yet.
    pub replicas: bool,
    /// The writer has an older template, or waits for the replicas to roll.
    pub writer: bool,
    /// The writer's volume has less than its claim asks for.
    pub volume: bool,
    /// Why the writer's volume cannot have the size asked for.
    pub volume_note: Option<String>,
    /// Why the cluster does not let replica pods in, as it says: a quota, a policy.
    pub pods_refused: Option<String>,
}

/// All that a status follows from.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// `metadata.name`.
    pub graph: &'a str,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Replicas asked for.
    pub wanted: u32,
    /// Bounds of lag.
    pub readiness: &'a Readiness,
    /// Time from a replica's look at the log to the next.
    pub poll_interval: Duration,
    pub standing: &'a Standing,
    pub rollout: &'a Rollout,
    /// Pods that count, and what they answered.
    pub readings: &'a [Reading],
    /// Why snapshots are overdue, if they are.
    pub snapshot_overdue: Option<&'a str>,
    /// The sidecars' image; none where it was not decided this time.
    pub image: Option<&'a str>,
    /// The status as it is.
    pub previous: Option<&'a ReplicatedGraphDBStatus>,
}

impl Facts<'_> {
    fn previous_member(&self, pod: &str) -> Option<&MemberStatus> {
        self.previous?.members.iter().find(|member| member.pod == pod)
    }

    fn with_role(&self, role: MemberRole) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter(move |reading| reading.role == role)
    }
}

/// Decides the status. `now` is used only where a condition changes.
pub(crate) fn status(facts: &Facts<'_>, now: Timestamp) -> ReplicatedGraphDBStatus {
    let head = newest(
        facts.readings,
        facts.previous.and_then(|previous| previous.head.as_ref()),
    );
    let head_seq = head.as_ref().map_or(0, |head| head.seq);
    let members: Vec<_> = facts
        .readings
        .iter()
        .map(|reading| member(facts, reading, head_seq, now))
        .collect();
    let replicas = || members.iter().filter(|member| member.role == MemberRole::Replica);
    let ready_replicas = facts
        .with_role(MemberRole::Replica)
        .zip(replicas())
        // One that rebuilds serves its old graph, and its `/readyz` has judged how old that is.
        .filter(|(reading, member)| {
            reading.ready && matches!(member.state, MemberState::Ready | MemberState::Rebuilding)
        })
        .count();
    let reported = replicas().filter(|member| member.state != MemberState::Bootstrapping);
    let mut status = ReplicatedGraphDBStatus {
        observed_generation: facts.generation,
        replicas: count(replicas().count()),
        ready_replicas: count(ready_replicas),
        selector: Some(replica_selector_text(facts.graph)),
        max_lag_commits: reported.map(|member| member.lag_commits).max(),
        head,
        writer: writer(facts),
        image: facts
            .image
            .map(str::to_owned)
            .or_else(|| facts.previous?.image.clone()),
        conditions: facts
            .previous
            .map(|previous| previous.conditions.clone())
            .unwrap_or_default(),
        members,
        ..ReplicatedGraphDBStatus::default()
    };
    background::set_all(&mut status, facts.readings, facts.previous);
    conditions::set_all(&mut status, facts, Time(now));
    status
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn writer(facts: &Facts<'_>) -> Option<WriterStatus> {
    let previous = facts.previous.and_then(|previous| previous.writer.as_ref());
    let Some(reading) = facts.with_role(MemberRole::Writer).next() else {
        return previous.map(|previous| WriterStatus {
            ready: false,
            ..previous.clone()
        });
    };
    Some(WriterStatus {
        epoch: reading
            .answer
            .as_ref()
            .map(|answer| answer.epoch)
            .filter(|epoch| *epoch > 0)
            .or(previous.map(|previous| previous.epoch))
            .unwrap_or_default(),
        pod: reading.pod.clone(),
        ready: writer_is_ready(reading),
    })
}

fn writer_is_ready(reading: &Reading) -> bool {
    reading.ready && reading.answer.as_ref().is_some_and(|answer| answer.ready)
}

fn member(facts: &Facts<'_>, reading: &Reading, head_seq: u64, now: Timestamp) -> MemberStatus {
    let previous = facts.previous_member(&reading.pod);
    let answer = reading.answer.as_ref();
    let seq = answer
        .and_then(|answer| answer.seq)
        .or(previous.map(|previous| previous.seq))
        .unwrap_or_default();
    let lag_commits = head_seq.saturating_sub(seq);
    let behind_s = reading.behind.as_secs();
    let lag_seconds = match answer {
        _ if lag_commits == 0 => 0,
        Some(answer) => behind_s.max(answer.lag_ms / 1000),
        None => behind_s.max(previous.map_or(0, |previous| previous.lag_seconds)),
    };
    let state = match answer {
        None if reading.ready
            || previous.is_some_and(|previous| previous.state != MemberState::Bootstrapping) =>
        {
            MemberState::Unreachable
        }
        None => MemberState::Bootstrapping,
        Some(answer) => state(facts, reading, answer, lag_commits),
    };
    MemberStatus {
        pod: reading.pod.clone(),
        role: reading.role,
        seq,
        lag_commits,
        lag_seconds,
        state,
        since: previous
            .filter(|previous| previous.state == state)
            .and_then(|previous| previous.since.clone())
            .or(Some(Time(now))),
        last_scrub: match answer {
            Some(answer) => answer.scrub.last.as_ref().map(background::last_scrub),
            None => previous.and_then(|previous| previous.last_scrub.clone()),
        },
    }
}

fn state(facts: &Facts<'_>, reading: &Reading, answer: &Answer, lag_commits: u64) -> MemberState {
    if answer.state == "diverged" {
        return MemberState::Diverged;
    }
    if answer.seq.is_none() || answer.state == "starting" {
        return MemberState::Bootstrapping;
    }
    if answer.state == "building" {
        return MemberState::Rebuilding;
    }
    if reading.role == MemberRole::Writer {
        return if answer.ready {
            MemberState::Ready
        } else {
            MemberState::Bootstrapping
        };
    }
    // The head moves between two pods' answers: only a replica that has not reached a head known before is held to it.
    let beyond_commits = !reading.behind.is_zero() && lag_commits > facts.readiness.max_lag_commits;
    let beyond_seconds = reading.behind.as_secs() > facts.readiness.max_lag_seconds;
    // It says itself that it cannot follow, so its lag will grow. An outage of the store is told apart: nobody can commit then,
    // and replicas stay ready (decision 0008).
    let store_answers = answer.store.as_ref().is_none_or(|store| store.ok);
    let stuck = answer.state == "degraded" && lag_commits > 0 && store_answers;
    if answer.ready && !beyond_commits && !beyond_seconds && !stuck {
        MemberState::Ready
    } else {
        MemberState::Lagging
    }
}
