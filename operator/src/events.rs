//! What a person would want to see in `kubectl describe`: transitions, as Kubernetes Events.
//!
//! Flow: status before, status after → [`Notice`]s ([`transitions`], pure) → Events. A lost Event changes nothing, so publishing
//! is tried once and a failure is only logged.
//! Owns: which transitions, and their words. Does not own: the status.

use crds::{ConditionType, Reason, ReplicatedGraphDBStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::writes::{FIELD_MANAGER, Writes};

/// Longest note that the API server takes.
const LONGEST_NOTE: usize = 1000;

/// Something worth a person's notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The graph's objects were made.
    Created,
    /// A new pod template is on all pods.
    Rolled,
    /// The number of replicas is as asked for again.
    Scaled(String),
    /// Something is wrong now, or something else than before.
    Degraded(String),
    /// Nothing is wrong any more.
    Recovered,
    /// The resource was refused.
    Invalid(String),
    /// What was outside is gone.
    CleanedUp,
    /// Something is left outside.
    LeftBehind(String),
}

impl Notice {
    fn event(&self) -> Event {
        let (type_, reason, action, note) = match self {
            Self::Created => (
                EventType::Normal,
                "Created",
                "Apply",
                "all objects of the graph were made",
            ),
            Self::Rolled => (
                EventType::Normal,
                "Rolled",
                "Apply",
                "all pods have the new pod template",
            ),
            Self::Scaled(note) => (EventType::Normal, "Scaled", "Apply", note.as_str()),
            Self::Degraded(note) => (EventType::Warning, "Degraded", "Measure", note.as_str()),
            Self::Recovered => (
                EventType::Normal,
                "Recovered",
                "Measure",
                "nothing is wrong any more",
            ),
            Self::Invalid(note) => (EventType::Warning, "Invalid", "Validate", note.as_str()),
            Self::CleanedUp => (
                EventType::Normal,
                "CleanedUp",
                "CleanUp",
                "what the graph had outside the cluster is removed",
            ),
            Self::LeftBehind(note) => (EventType::Warning, "CleanupFailed", "CleanUp", note.as_str()),
        };
        Event {
            type_,
            reason: reason.to_owned(),
            action: action.to_owned(),
            note: Some(note.chars().take(LONGEST_NOTE / 2).collect()),
            secondary: None,
        }
    }
}

/// What changed from one status to the next.
pub(crate) fn transitions(
    before: Option<&ReplicatedGraphDBStatus>,
    after: &ReplicatedGraphDBStatus,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let now = |kind| find(after, kind);
    let was = |kind| before.and_then(|before| find(before, kind));
    let reason_is = |condition: Option<&Condition>, reason: Reason| {
        condition.is_some_and(|condition| condition.reason == reason.as_str())
    };
    let (progressed, progressing) = (was(ConditionType::Progressing), now(ConditionType::Progressing));
    let is_unmade = |condition: Option<&Condition>| {
        [
            Reason::InvalidSpec,
            Reason::ApplyFailed,
            Reason::Suspended,
            Reason::Deleting,
        ]
        .into_iter()
        .any(|reason| reason_is(condition, reason))
    };
    let is_first = progressed.is_none() && !is_unmade(progressing);
    if is_first || is_unmade(progressed) && reason_is(progressing, Reason::Creating) {
        notices.push(Notice::Created);
    }
    if reason_is(progressing, Reason::UpToDate) {
        let rolling = [Reason::RollingReplicas, Reason::RollingWriter];
        if rolling.into_iter().any(|reason| reason_is(progressed, reason)) {
            notices.push(Notice::Rolled);
        }
        if reason_is(progressed, Reason::Scaling) {
            notices.push(Notice::Scaled(format!(
                "{} replicas are ready",
                after.ready_replicas
            )));
        }
    }
    let (wrong_before, wrong) = (was(ConditionType::Degraded), now(ConditionType::Degraded));
    let is_true =
        |condition: Option<&Condition>| condition.is_some_and(|condition| condition.status == "True");
    match (is_true(wrong_before), is_true(wrong)) {
        (true, false) => notices.push(Notice::Recovered),
        (_, true) if wrong_before.map(|before| &before.reason) != wrong.map(|now| &now.reason) => {
            let message = wrong
                .map(|condition| condition.message.clone())
                .unwrap_or_default();
            let invalid = reason_is(wrong, Reason::InvalidSpec);
            notices.push(if invalid {
                Notice::Invalid(message)
            } else {
                Notice::Degraded(message)
            });
        }
        _ => {}
    }
    notices
}

fn find(status: &ReplicatedGraphDBStatus, kind: ConditionType) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
}

/// Publishes notices about graphs.
pub(crate) struct Notices {
    recorder: Recorder,
    writes: Writes,
}

impl Notices {
    /// `instance` is this pod's name.
    pub(crate) fn new(client: Client, writes: Writes, instance: String) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(instance),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            writes,
        }
    }

    /// Publishes one notice about `graph`.
    pub(crate) async fn publish(&self, graph: &ObjectReference, notice: &Notice) {
        tracing::info!(?notice, "notice");
        self.writes.before("create", "Event");
        if let Err(error) = self.recorder.publish(&notice.event(), graph).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an Event was not published"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn with(progressing: Reason, degraded: Reason) -> ReplicatedGraphDBStatus {
        let condition = |kind: ConditionType, status: bool, reason: Reason| Condition {
            type_: kind.as_str().to_owned(),
            status: if status { "True" } else { "False" }.to_owned(),
            reason: reason.as_str().to_owned(),
            message: "why".to_owned(),
            observed_generation: None,
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        };
        ReplicatedGraphDBStatus {
            conditions: vec![
                condition(
                    ConditionType::Progressing,
                    progressing != Reason::UpToDate,
                    progressing,
                ),
                condition(ConditionType::Degraded, degraded != Reason::AsExpected, degraded),
            ],
            ..ReplicatedGraphDBStatus::default()
        }
    }

    #[test]
    fn each_transition_is_told_once() {
        use Reason::{
            ApplyFailed, AsExpected, Creating, InvalidSpec, MemberUnreachable, ReplicaLagging, RollingWriter,
            Scaling, UpToDate,
        };
        let why = || "why".to_owned();
        for (before, after, expected) in [
            (None, (Creating, AsExpected), vec![Notice::Created]),
            (None, (UpToDate, AsExpected), vec![Notice::Created]),
            (None, (InvalidSpec, InvalidSpec), vec![Notice::Invalid(why())]),
            (None, (ApplyFailed, ApplyFailed), vec![Notice::Degraded(why())]),
            (
                Some((ApplyFailed, ApplyFailed)),
                (Creating, AsExpected),
                vec![Notice::Created, Notice::Recovered],
            ),
            (
                Some((ApplyFailed, ApplyFailed)),
                (UpToDate, AsExpected),
                vec![Notice::Recovered],
            ),
            (Some((Creating, AsExpected)), (Creating, AsExpected), vec![]),
            (Some((Creating, AsExpected)), (UpToDate, AsExpected), vec![]),
            (
                Some((RollingWriter, AsExpected)),
                (UpToDate, AsExpected),
                vec![Notice::Rolled],
            ),
            (
                Some((Scaling, AsExpected)),
                (UpToDate, AsExpected),
                vec![Notice::Scaled("0 replicas are ready".to_owned())],
            ),
            (
                Some((UpToDate, AsExpected)),
                (UpToDate, MemberUnreachable),
                vec![Notice::Degraded(why())],
            ),
            (
                Some((UpToDate, MemberUnreachable)),
                (UpToDate, MemberUnreachable),
                vec![],
            ),
            (
                Some((UpToDate, MemberUnreachable)),
                (UpToDate, ReplicaLagging),
                vec![Notice::Degraded(why())],
            ),
            (
                Some((UpToDate, ReplicaLagging)),
                (UpToDate, AsExpected),
                vec![Notice::Recovered],
            ),
            (
                Some((UpToDate, AsExpected)),
                (InvalidSpec, InvalidSpec),
                vec![Notice::Invalid(why())],
            ),
        ] {
            let before = before.map(|(progressing, degraded)| with(progressing, degraded));
            let found = transitions(before.as_ref(), &with(after.0, after.1));
            assert_eq!(found, expected, "{before:?} -> {after:?}");
        }
    }
}
