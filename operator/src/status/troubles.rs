//! What is wrong with a graph: the refused resource or object first, then each member and its background work, then the volume.
//!
//! Owns: what counts as wrong, and the sentence that names it. Does not own: which comes first in `Degraded` (`conditions`).

use std::time::Duration;

use crds::{MemberRole, MemberState, MemberStatus, Readiness, Reason, ReplicatedGraphDBStatus};

use super::{Facts, Standing};
use crate::members::{Answer, Reading};

/// A replica whose lag is more than this many whole seconds is named, although its readiness may allow more. It is measured every
/// 5 s, a silent pod beside it takes 2 s, and a person is to know within 15 s that a replica stopped following.
const LAG_NAMED_BEYOND_S: u64 = 6;

/// Everything that is wrong, in the members' order.
pub(super) fn troubles(status: &ReplicatedGraphDBStatus, facts: &Facts<'_>) -> Vec<(Reason, String)> {
    let mut troubles = Vec::new();
    match facts.standing {
        Standing::Invalid(why) => troubles.push((Reason::InvalidSpec, why.clone())),
        Standing::ApplyFailed(why) => troubles.push((Reason::ApplyFailed, why.clone())),
        // Pods that end are no trouble.
        Standing::Deleting(_) => return troubles,
        Standing::Applied | Standing::Suspended => {}
    }
    if let Some(why) = &facts.rollout.pods_refused {
        let message = format!(
            "the cluster refuses pods of Deployment {}-replica: {why}",
            facts.graph
        );
        troubles.push((Reason::PodFailing, message));
    }
    let named_beyond_s = lag_named_beyond_s(facts.readiness, facts.poll_interval);
    for (reading, member) in facts.readings.iter().zip(&status.members) {
        troubles.extend(troubles_of(reading, member, named_beyond_s));
    }
    if let Some(why) = facts.snapshot_overdue {
        troubles.push((Reason::SnapshotOverdue, why.to_owned()));
    }
    if let Some(why) = &facts.rollout.volume_note {
        troubles.push((Reason::VolumeCannotGrow, why.clone()));
    }
    troubles
}

/// Where replicas look at the log less often, they are behind for as long without any of them being slow.
fn lag_named_beyond_s(readiness: &Readiness, poll_interval: Duration) -> u64 {
    let usual = poll_interval.saturating_mul(2).as_secs();
    LAG_NAMED_BEYOND_S.max(usual).min(readiness.max_lag_seconds)
}

fn troubles_of(reading: &Reading, member: &MemberStatus, named_beyond_s: u64) -> Vec<(Reason, String)> {
    let role = match member.role {
        MemberRole::Writer => "writer",
        MemberRole::Replica => "replica",
    };
    let name = format!("{role} {}", member.pod);
    let lag = format!("{} commits ({} s)", member.lag_commits, member.lag_seconds);
    let lagging = || {
        let answer = reading.answer.as_ref();
        let detail = answer.and_then(|answer| answer.state_detail.as_ref());
        let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        (Reason::ReplicaLagging, format!("{name} lags by {lag}{detail}"))
    };
    let mut troubles = Vec::new();
    match member.state {
        MemberState::Unreachable => {
            let why = reading
                .waiting
                .as_deref()
                .unwrap_or("it runs, but does not answer");
            troubles.push((
                Reason::MemberUnreachable,
                format!("{name} is not reachable: {why}; its lag is {lag}"),
            ));
        }
        MemberState::Lagging => troubles.push(lagging()),
        MemberState::Diverged => {
            let answer = reading.answer.as_ref();
            let detail = answer.and_then(|answer| {
                let found = answer
                    .scrub
                    .last
                    .as_ref()
                    .and_then(|last| last.difference.as_ref());
                answer.state_detail.as_ref().or(found)
            });
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            troubles.push((
                Reason::Diverged,
                format!("{name} differs from the tables and is built anew{detail}"),
            ));
        }
        MemberState::Bootstrapping | MemberState::Ready | MemberState::Rebuilding => {
            if let Some(why) = &reading.waiting {
                troubles.push((Reason::PodFailing, format!("{name}: {why}")));
            }
            // It counts as ready, and stays so: this only tells that it does not follow. By this operator's clock: what a
            // replica says of its own lag is by the writer's clock and by its own.
            let follows = member.state == MemberState::Ready && member.role == MemberRole::Replica;
            if follows && reading.behind.as_secs() > named_beyond_s {
                troubles.push(lagging());
            }
        }
    }
    let Some(answer) = &reading.answer else {
        return troubles;
    };
    let because = |error: &Option<String>| {
        error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default()
    };
    if let Some(store) = answer.store.as_ref().filter(|store| !store.ok) {
        troubles.push((
            Reason::StoreUnreachable,
            format!("{name} cannot reach the store{}", because(&store.error)),
        ));
    }
    if let Some(events) = answer.events.as_ref()
        && events.configured != Some(false)
        && !events.connected
        // No error yet: it has just started and is connecting.
        && let Some(error) = &events.error
    {
        let message = format!("{name} cannot reach NATS and polls instead: {error}");
        troubles.push((Reason::EventsUnreachable, message));
    }
    troubles.extend(background(&name, answer));
    troubles
}

/// What a member's background work says went wrong.
fn background<'a>(name: &'a str, answer: &'a Answer) -> impl Iterator<Item = (Reason, String)> + 'a {
    let said = [
        (
            Reason::ConfigRejected,
            &answer.settings.error,
            "goes on with its older config",
        ),
        (
            Reason::SnapshotFailing,
            &answer.snapshots.error,
            "failed to take a snapshot",
        ),
        (
            Reason::OptimizerFailing,
            &answer.optimizer.error,
            "failed to optimize",
        ),
        (
            Reason::ScrubFailing,
            &answer.scrub.error,
            "failed to compare its graph with the tables",
        ),
    ];
    said.into_iter().filter_map(move |(reason, error, what)| {
        let error = error.as_ref()?;
        Some((reason, format!("{name} {what}: {error}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_named_before_its_readiness_says_so_unless_it_looks_seldom() {
        let bound = |max_lag_seconds, poll_interval_ms| {
            let readiness = Readiness {
                max_lag_seconds,
                ..Readiness::default()
            };
            lag_named_beyond_s(&readiness, Duration::from_millis(poll_interval_ms))
        };
        assert_eq!(bound(30, 1000), 6, "the default");
        assert_eq!(bound(30, 3000), 6);
        assert_eq!(bound(30, 4500), 9);
        assert_eq!(bound(30, 60_000), 30);
        assert_eq!(bound(4, 1000), 4);
        assert_eq!(bound(3600, 1), 6);
    }
}
