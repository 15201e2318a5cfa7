//! The five conditions, each with a reason from the fixed list and a sentence a person can act on.
//!
//! `Ready` follows from `WriterReady` and `ReplicasReady`; `Progressing` says what is on its way; `Degraded` lists everything
//! that is wrong ([`troubles`](super::troubles)), the root of it first, since its reason is the condition's.
//! Owns: when a condition is true, and its words. Does not own: the list of reasons (`crds`).

use crds::{
    ConditionType, MemberRole, MemberState, MemberStatus, Reason, ReplicatedGraphDBStatus, set_condition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Facts, Standing, troubles::troubles, writer_is_ready};
use crate::members::Reading;

type Verdict = (bool, Reason, String);

/// Longest message; a condition is no log.
const LONGEST_MESSAGE: usize = 1500;

pub(super) fn set_all(status: &mut ReplicatedGraphDBStatus, facts: &Facts<'_>, now: Time) {
    let troubles = troubles(status, facts);
    let writer = writer_ready(facts);
    let replicas = replicas_ready(status, facts);
    let ready = ready(facts, &writer, &replicas);
    let progressing = progressing(status, facts, ready.0, troubles.is_empty());
    let degraded = degraded(troubles);
    status.conditions.retain(|condition| {
        ConditionType::ALL
            .iter()
            .any(|known| known.as_str() == condition.type_)
    });
    for (condition_type, (value, reason, message)) in [
        (ConditionType::Ready, ready),
        (ConditionType::WriterReady, writer),
        (ConditionType::ReplicasReady, replicas),
        (ConditionType::Progressing, progressing),
        (ConditionType::Degraded, degraded),
    ] {
        let message = shortened(message);
        let conditions = &mut status.conditions;
        set_condition(
            conditions,
            condition_type,
            Some(value),
            (reason, &message),
            facts.generation,
            now.clone(),
        );
    }
}

fn ready(facts: &Facts<'_>, writer: &Verdict, replicas: &Verdict) -> Verdict {
    match (facts.standing, writer, replicas) {
        (Standing::Deleting(what), ..) => (false, Reason::Deleting, what.clone()),
        (_, (false, _, why), _) => (false, Reason::WriterNotReady, why.clone()),
        (_, _, (false, _, why)) => (false, Reason::ReplicasNotReady, why.clone()),
        (_, _, (_, _, replicas)) => (
            true,
            Reason::Serving,
            format!("the writer accepts transactions; {replicas}"),
        ),
    }
}

fn writer_ready(facts: &Facts<'_>) -> Verdict {
    let Some(reading) = facts.with_role(MemberRole::Writer).next() else {
        let message = format!(
            "pod {0}-writer-0 does not exist (`kubectl describe statefulset {0}-writer` tells why)",
            facts.graph
        );
        return (false, Reason::WriterPodMissing, message);
    };
    let pod = &reading.pod;
    if writer_is_ready(reading) {
        return (
            true,
            Reason::WriterServing,
            format!("pod {pod} accepts transactions"),
        );
    }
    match (&reading.answer, &reading.waiting) {
        (_, Some(why)) if why.starts_with("not scheduled") => {
            (false, Reason::WriterPodMissing, format!("pod {pod} is {why}"))
        }
        (None, Some(why)) => (false, Reason::WriterStarting, format!("pod {pod}: {why}")),
        (None, None) if is_starting(facts, reading) => {
            (false, Reason::WriterStarting, format!("pod {pod} is starting"))
        }
        (None, None) => (
            false,
            Reason::WriterUnreachable,
            format!("pod {pod} does not answer"),
        ),
        (Some(answer), _) => {
            let detail = answer.state_detail.as_ref().map(|detail| format!(": {detail}"));
            let message = format!("pod {pod} is {}{}", answer.state, detail.unwrap_or_default());
            (false, Reason::WriterStarting, message)
        }
    }
}

/// Whether a pod that does not answer never did.
fn is_starting(facts: &Facts<'_>, reading: &Reading) -> bool {
    let previous = facts.previous_member(&reading.pod);
    !reading.ready && previous.is_none_or(|previous| previous.state == MemberState::Bootstrapping)
}

fn replicas_ready(status: &ReplicatedGraphDBStatus, facts: &Facts<'_>) -> Verdict {
    let (ready, wanted) = (status.ready_replicas, facts.wanted);
    if wanted == 0 {
        return (
            true,
            Reason::NoReplicasWanted,
            "no replicas are asked for".to_owned(),
        );
    }
    let figures = format!("{ready} of {wanted} replicas are ready");
    if ready >= wanted {
        return (true, Reason::ReplicasFollowing, figures);
    }
    let unready: Vec<_> = replicas(status)
        .filter(|member| !matches!(member.state, MemberState::Ready | MemberState::Bootstrapping))
        .map(|member| member.pod.as_str())
        .collect();
    if unready.is_empty() {
        (
            false,
            Reason::ReplicasStarting,
            format!("{figures}; the others are starting"),
        )
    } else {
        (
            false,
            Reason::ReplicasUnready,
            format!("{figures}; not ready: {}", unready.join(", ")),
        )
    }
}

fn replicas(status: &ReplicatedGraphDBStatus) -> impl Iterator<Item = &MemberStatus> {
    status
        .members
        .iter()
        .filter(|member| member.role == MemberRole::Replica)
}

fn progressing(status: &ReplicatedGraphDBStatus, facts: &Facts<'_>, ready: bool, healthy: bool) -> Verdict {
    match facts.standing {
        Standing::Suspended => {
            let message = "spec.suspend is true: nothing is changed, pods run on as they are";
            return (false, Reason::Suspended, message.to_owned());
        }
        Standing::Invalid(_) => {
            let message = "the resource has wrong fields (see Degraded); the graph runs on as it was";
            return (false, Reason::InvalidSpec, message.to_owned());
        }
        Standing::Deleting(what) => return (true, Reason::Deleting, what.clone()),
        Standing::ApplyFailed(why) => return (false, Reason::ApplyFailed, why.clone()),
        Standing::Applied => {}
    }
    let (found, wanted) = (status.replicas, facts.wanted);
    let figures = format!("{found} replica pods exist, {wanted} are asked for");
    let rollout = facts.rollout;
    if !ready && is_new(status, facts) {
        (
            true,
            Reason::Creating,
            format!("the graph's pods are starting for the first time; {figures}"),
        )
    } else if rollout.replicas {
        (
            true,
            Reason::RollingReplicas,
            "replica pods are replaced; the writer follows".to_owned(),
        )
    } else if rollout.writer {
        (
            true,
            Reason::RollingWriter,
            "the writer's pod is replaced".to_owned(),
        )
    } else if rollout.volume {
        (
            true,
            Reason::VolumeGrowing,
            "the writer's volume grows".to_owned(),
        )
    } else if found != wanted || (healthy && status.ready_replicas < wanted) {
        (
            true,
            Reason::Scaling,
            format!("{figures}, {} are ready", status.ready_replicas),
        )
    } else {
        (
            false,
            Reason::UpToDate,
            "the cluster is as the resource asks".to_owned(),
        )
    }
}

/// Whether the graph was never complete: then `Progressing` was `Creating` all along, or nothing was made yet, and no writer
/// ever said its epoch.
fn is_new(status: &ReplicatedGraphDBStatus, facts: &Facts<'_>) -> bool {
    let before = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Progressing.as_str());
    let Some(before) = before else { return true };
    let unmade = [Reason::ApplyFailed, Reason::InvalidSpec, Reason::Suspended];
    let had_writer = facts
        .previous
        .and_then(|previous| previous.writer.as_ref())
        .is_some_and(|writer| writer.epoch > 0);
    before.reason == Reason::Creating.as_str()
        || !had_writer && unmade.iter().any(|reason| before.reason == reason.as_str())
}

fn degraded(mut troubles: Vec<(Reason, String)>) -> Verdict {
    // Stable: within one reason, in the members' order.
    troubles.sort_by_key(|(reason, _)| ROOTS.iter().position(|root| root == reason));
    let Some((reason, _)) = troubles.first() else {
        return (false, Reason::AsExpected, "nothing is wrong".to_owned());
    };
    let reason = *reason;
    let messages: Vec<_> = troubles.into_iter().map(|(_, message)| message).collect();
    (true, reason, messages.join("; "))
}

/// Reasons of `Degraded`, the cause before its effects.
const ROOTS: [Reason; 14] = [
    Reason::InvalidSpec,
    Reason::ApplyFailed,
    Reason::MemberUnreachable,
    Reason::StoreUnreachable,
    Reason::PodFailing,
    Reason::Diverged,
    Reason::ReplicaLagging,
    Reason::ConfigRejected,
    Reason::EventsUnreachable,
    Reason::VolumeCannotGrow,
    Reason::SnapshotFailing,
    Reason::SnapshotOverdue,
    Reason::OptimizerFailing,
    Reason::ScrubFailing,
];

fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        let end = (0..=LONGEST_MESSAGE)
            .rev()
            .find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
    message
}
