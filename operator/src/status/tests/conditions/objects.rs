//! What is said of the objects: whether they are as asked for, which of them change, and what the cluster refuses.

use crds::ConditionType::{Degraded, Progressing, Ready};
use crds::Reason;

use super::Situation;
use crate::status::Standing;

pub(super) fn situations() -> Vec<Situation> {
    vec![
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
            "being deleted",
            |graph| graph.standing = Standing::Deleting("pods are ending".to_owned()),
            vec![
                (Ready, "False", Reason::Deleting, "pods are ending"),
                (Progressing, "True", Reason::Deleting, ""),
            ],
        ),
    ]
}
