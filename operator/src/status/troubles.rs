//! What is wrong with a graph: the refused resource or object first, then each member and its background work, then the volume.
//!
//! Owns: what counts as wrong, and the sentence that names it. Does not own: which comes first in `Degraded` (`conditions`).

use crds::{MemberRole, MemberState, MemberStatus, Reason, ReplicatedGraphDBStatus};

use super::{Facts, Standing};
use crate::members::{Answer, Reading};

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
    for (reading, member) in facts.readings.iter().zip(&status.members) {
        troubles.extend(troubles_of(reading, member));
    }
    if let Some(why) = facts.snapshot_overdue {
        troubles.push((Reason::SnapshotOverdue, why.to_owned()));
    }
    if let Some(why) = &facts.rollout.volume_note {
        troubles.push((Reason::VolumeCannotGrow, why.clone()));
    }
    troubles
}

fn troubles_of(reading: &Reading, member: &MemberStatus) -> Vec<(Reason, String)> {
    let role = match member.role {
        MemberRole::Writer => "writer",
        MemberRole::Replica => "replica",
    };
    let name = format!("{role} {}", member.pod);
    let lag = format!("{} commits ({} s)", member.lag_commits, member.lag_seconds);
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
        MemberState::Lagging => {
            let detail = reading
                .answer
                .as_ref()
                .and_then(|answer| answer.state_detail.as_deref());
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            troubles.push((Reason::ReplicaLagging, format!("{name} lags by {lag}{detail}")));
        }
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
