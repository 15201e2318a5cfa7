//! What is wrong with a graph: the refused resource or object first, then each member, then the volume.
//!
//! Owns: what counts as wrong, and the sentence that names it. Does not own: which comes first in `Degraded` (`conditions`).

use crds::{MemberRole, MemberState, MemberStatus, Reason, ReplicatedGraphDBStatus};

use super::{Facts, Standing};
use crate::members::Reading;

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
    troubles
}
