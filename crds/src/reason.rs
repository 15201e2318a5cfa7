//! The fixed list of reasons in a `ReplicatedGraphDB`'s conditions.
//!
//! Owns: the words, and for each what it means and what a person does; docs/operations.md lists them in this order.
//! Does not own: when one applies, and the message that names pods and numbers.

use std::fmt;

/// Makes the enum, the list of all, and each one's word and explanation out of one text.
macro_rules! reasons {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// `conditions[].reason`: one of these, nothing else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $text])+ $name,)+
        }

        impl Reason {
            /// All reasons, in the order they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The text in `conditions[].reason`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, and what a person does.
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($text),+).trim(),)+
                }
            }
        }
    };
}

reasons! {
    // Ready
    /// Ready: writer and replicas do what was asked for. Nothing to do.
    Serving,
    /// The writer is not ready, so nothing can be written; reads go on. See `WriterReady`.
    WriterNotReady,
    /// Fewer replicas are ready than asked for. See `ReplicasReady`.
    ReplicasNotReady,
    /// The resource is being deleted; the message says what is waited for. Over in 90 s, with `deletionPolicy: Delete` in 330 s.
    Deleting,

    // WriterReady
    /// The writer accepts transactions. Nothing to do.
    WriterServing,
    /// The writer's pod is starting, or rolls its graph forward. Wait; read the pod's log when it takes long.
    WriterStarting,
    /// The writer's pod does not exist or is not scheduled. Look at the events of the StatefulSet and of the pod.
    WriterPodMissing,
    /// The writer's pod runs, but does not answer. It is restarted after a minute; read its log.
    WriterUnreachable,

    // ReplicasReady
    /// Every replica asked for is within `spec.readiness`. Nothing to do.
    ReplicasFollowing,
    /// `replicas: 0`, so nothing is missing; only the writer answers reads. Scale up to read elsewhere.
    NoReplicasWanted,
    /// Replicas are starting or catch up for the first time. Wait, as a first build reads all tables, unless `Degraded` says that a pod cannot start.
    ReplicasStarting,
    /// Replicas that served are not ready now. See `Degraded` for which and why.
    ReplicasUnready,

    // Progressing
    /// The cluster is as the resource asks. Nothing to do.
    UpToDate,
    /// Objects of the graph are being made for the first time. Wait.
    Creating,
    /// Replica pods are being added or removed. Wait.
    Scaling,
    /// A new pod template reaches the replicas; the writer waits until they are done. Wait, or correct the template.
    RollingReplicas,
    /// A new pod template reaches the writer; writes pause for a restart. Wait.
    RollingWriter,
    /// The writer's volume is growing. Wait.
    VolumeGrowing,
    /// `suspend: true`: the operator changes nothing, pods run on as they are. Set it to false to go on.
    Suspended,

    // Degraded
    /// Nothing is wrong. Nothing to do.
    AsExpected,
    /// The resource has fields that are wrong; the graph runs on in its last accepted form. Correct the fields named.
    InvalidSpec,
    /// An object of the graph could not be written, or belongs to somebody else. The message says which; it is tried again.
    ApplyFailed,
    /// A replica is beyond `spec.readiness`, or still ready and behind for 7 s: it may have stopped following. Look at its log and load, or give it more resources.
    ReplicaLagging,
    /// A pod that runs does not answer the operator, for example because it is frozen. Look at the pod and its node.
    MemberUnreachable,
    /// A pod cannot start: image, Secret, volume, quota, scheduling, crash. The message says which pod, what the cluster or the container said last, and where to look.
    PodFailing,
    /// A sidecar cannot reach the object store: reads go on, writes do not. Look at the store and its credentials.
    StoreUnreachable,
    /// A sidecar cannot reach NATS: replicas poll instead, so only latency suffers. Look at NATS and its credentials.
    EventsUnreachable,
    /// The writer's volume cannot have the size asked for. Set the size back, or do as the message says.
    VolumeCannotGrow,
    /// A pod's graph differs from the tables; it takes no reads and is built anew. If it comes again, report it with the pod's log.
    Diverged,
    /// A pod cannot use its config as it is now, and goes on with the one before. Correct the field that the message names.
    ConfigRejected,
    /// Attempts at a snapshot fail again and again. New pods take longer to start; look at the store, the duty's holder and its log.
    SnapshotFailing,
    /// There were commits, but no snapshot for more than three turns of the schedule. Look at the replicas' logs.
    SnapshotOverdue,
    /// The writer's attempts to optimize fail again and again: queries get slower and the bucket grows. Read the message and the writer's log.
    OptimizerFailing,
    /// A pod's graph cannot be compared with the tables, so nobody knows. Read the message and the pod's log.
    ScrubFailing,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_word_and_explains_itself() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            // The API server's pattern for a reason, without its punctuation.
            assert!(
                word.chars().all(|letter| letter.is_ascii_alphanumeric()),
                "{word}"
            );
            assert!(
                word.starts_with(|first: char| first.is_ascii_uppercase()),
                "{word}"
            );
            let text = reason.explanation();
            assert!(text.ends_with('.') && text.len() > 30, "{word}: {text}");
        }
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
