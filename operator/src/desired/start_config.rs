//! What a sidecar reads only when it starts: the S3 server's address and region, NATS and its subject, and on the writer the
//! length of its queue. A change of these must restart pods, in the usual order; all else in the config must not.
//!
//! ```text
//! first ConfigMap ─> annotation `started-with-<role>`: a hash of those settings, kept for ever
//! pod template    ─> annotation `start-config`, with the hash of today, only while today's differs from `started-with`
//! ```
//! So the template of a graph in which none of this ever changed has no annotation, and is to the byte what an operator
//! without this file made. A ConfigMap of such an operator has no `started-with` either: it follows from the map's content.
//! Both are in the one ConfigMap, so that no crash can come between a new config and the note of what went before.
//! Owns: which settings these are, and the annotations. Does not own: the order of the restarts (`rollout`).

use crds::SidecarConfig;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};

use super::{
    Observed, Role,
    config_map::CONFIG_KEY,
    labels::{Labels, owned},
};
use crate::validate::Validated;

/// Annotation of pods.
pub(super) const START_CONFIG_ANNOTATION: &str = "slipstream.dev/start-config";
/// Annotations of the ConfigMap.
const STARTED_WITH_WRITER: &str = "slipstream.dev/started-with-writer";
const STARTED_WITH_REPLICA: &str = "slipstream.dev/started-with-replica";
/// For a graph whose ConfigMap is gone after a change: it differs from every hash, so that the pods' annotation stays.
const LOST: &str = "lost";

/// Hashes of the settings with which a graph's first pods started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartedWith {
    writer: String,
    replica: String,
}

impl StartedWith {
    /// As noted in the ConfigMap; of a graph that is new, as they are now.
    pub(super) fn of(graph: &Validated, observed: &Observed) -> Self {
        let noted = |role| {
            noted(observed, role)
                .or_else(|| follows(observed, role))
                .or_else(|| lost(observed, role))
                .unwrap_or_else(|| hash(graph.config(), role))
        };
        Self {
            writer: noted(Role::Writer),
            replica: noted(Role::Replica),
        }
    }

    /// The hash of today, if it is another.
    pub(super) fn changed(&self, graph: &Validated, role: Role) -> Option<String> {
        let today = hash(graph.config(), role);
        let first = match role {
            Role::Writer => &self.writer,
            Role::Replica => &self.replica,
        };
        (today != *first).then_some(today)
    }

    pub(super) fn annotations(&self) -> Labels {
        owned([
            (STARTED_WITH_WRITER, &self.writer),
            (STARTED_WITH_REPLICA, &self.replica),
        ])
    }
}

/// The note, as it was written with the first ConfigMap.
fn noted(observed: &Observed, role: Role) -> Option<String> {
    let annotations = observed.config_map.as_ref()?.metadata.annotations.as_ref()?;
    let key = match role {
        Role::Writer => STARTED_WITH_WRITER,
        Role::Replica => STARTED_WITH_REPLICA,
    };
    annotations.get(key).cloned()
}

/// From the content of a ConfigMap without the note.
fn follows(observed: &Observed, role: Role) -> Option<String> {
    let text = observed.config_map.as_ref()?.data.as_ref()?.get(CONFIG_KEY)?;
    Some(hash(&SidecarConfig::from_yaml(text).ok()?, role))
}

/// No ConfigMap to tell, but pods that have the annotation.
fn lost(observed: &Observed, role: Role) -> Option<String> {
    let template = match role {
        Role::Writer => observed.writer.as_ref().map(|writer| &writer.spec.template),
        Role::Replica => observed.replica.as_ref().map(|replica| &replica.spec.template),
    };
    let metadata: &ObjectMeta = template?.metadata.as_ref()?;
    let annotated = metadata
        .annotations
        .as_ref()?
        .contains_key(START_CONFIG_ANNOTATION);
    annotated.then(|| LOST.to_owned())
}

/// Field by field, not the config as it is serialized: a newer operator that writes it otherwise must find the same hash.
fn hash(config: &SidecarConfig, role: Role) -> String {
    let SidecarConfig {
        storage,
        events,
        limits,
        // Fixed, or followed by a running sidecar, or in the pod template anyway.
        graph: _,
        schema: _,
        snapshots: _,
        optimizer: _,
        scrub: _,
        readiness: _,
        generation: _,
    } = config;
    let nats = events.nats.as_ref();
    let queue = limits.writer.queue_transactions.filter(|_| role == Role::Writer);
    let settings = serde_json::json!([
        storage.endpoint,
        storage.region,
        nats.map(|nats| &nats.url),
        nats.map(|nats| &nats.subject),
        queue,
    ]);
    hex::encode(&Sha256::digest(settings.to_string())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_known_settings_never_changes() {
        let config = SidecarConfig::from_yaml(
            "graph: {namespace: a, name: g}\nstorage: {uri: s3://b/g, endpoint: http://s3:9000, region: r}\n\
             events: {nats: {url: nats://n:4222, subject: s}}\nlimits: {writer: {queueTransactions: 7}}\n",
        )
        .unwrap();
        // Another value here restarts every pod of every graph whose settings have changed once.
        let hashes = [Role::Writer, Role::Replica].map(|role| hash(&config, role));
        assert_eq!(hashes, ["7c0c769d20cbad6e", "6f29805ae5582eb6"]);
    }
}
