//! The conditions of a `ReplicatedGraphDB`: which there are, and how one is set.
//!
//! Owns: the condition types and the rule for `lastTransitionTime`. Does not own: when a condition is true, and the reasons (`reason`).

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reason::Reason;

/// Types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// The graph can be written and read as asked: writer and replicas are ready.
    Ready,
    /// The writer accepts transactions.
    WriterReady,
    /// All replicas asked for are within the allowed lag.
    ReplicasReady,
    /// The cluster is on its way to what the resource asks for.
    Progressing,
    /// Something is wrong that will not pass by waiting for a rollout; the message names it.
    Degraded,
}

impl ConditionType {
    /// All types, in the order they are shown.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::WriterReady,
        Self::ReplicasReady,
        Self::Progressing,
        Self::Degraded,
    ];

    /// The text in `conditions[].type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::WriterReady => "WriterReady",
            Self::ReplicasReady => "ReplicasReady",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sets a condition, replacing one of the same type. `lastTransitionTime` becomes `now` only when the status changes,
/// so that setting the same condition again changes nothing. `status` none means `Unknown`.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    condition_type: ConditionType,
    status: Option<bool>,
    (reason, message): (Reason, &str),
    observed_generation: Option<i64>,
    now: Time,
) {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let existing = conditions
        .iter()
        .position(|condition| condition.type_ == condition_type.as_str());
    let since = existing
        .map(|index| &conditions[index])
        .filter(|condition| condition.status == status)
        .map_or(now, |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: condition_type.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
        observed_generation,
        last_transition_time: since,
    };
    match existing {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        serde_json::from_value(serde_json::json!(format!("2026-01-01T00:00:{second:02}Z"))).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let mut set = |status, message: &str, second| {
            set_condition(
                &mut conditions,
                ConditionType::Ready,
                status,
                (Reason::WriterStarting, message),
                Some(1),
                at(second),
            );
            conditions.clone()
        };
        set(Some(false), "starting", 1);
        let same = set(Some(false), "still starting", 2);
        assert_eq!((same.len(), same[0].last_transition_time.clone()), (1, at(1)));
        assert_eq!(same[0].message, "still starting");
        let changed = set(Some(true), "started", 3);
        assert_eq!(
            (changed.len(), changed[0].last_transition_time.clone()),
            (1, at(3))
        );
        assert_eq!(set(None, "lost", 4)[0].status, "Unknown");
    }
}
