//! Names in JetStream. Pure.

use crds::GraphName;

/// Graphs whose subject lies here share one stream.
const SHARED_SUBJECTS: &str = "slipstream.versionmap.";
/// That stream.
const SHARED_STREAM: &str = "SLIPSTREAM";

/// A stream, by name and by what it listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamName {
    pub(super) name: String,
    pub(super) subjects: String,
    /// Other graphs' events are in it too.
    pub(super) shared: bool,
}

/// The stream of a graph's events. A graph with a subject elsewhere has a stream of its own.
pub(super) fn stream_of(graph: &GraphName, subject: &str) -> StreamName {
    if subject.starts_with(SHARED_SUBJECTS) {
        return StreamName {
            name: SHARED_STREAM.to_owned(),
            subjects: format!("{SHARED_SUBJECTS}>"),
            shared: true,
        };
    }
    StreamName {
        name: format!("{SHARED_STREAM}_{}_{}", safe(&graph.namespace), safe(&graph.name)),
        subjects: subject.to_owned(),
        shared: false,
    }
}

/// The durable of one replica.
pub(super) fn consumer_of(graph: &GraphName, replica: &str) -> String {
    consumer_prefix(graph) + &safe(replica)
}

/// What every durable of a graph begins with, and no other graph's: names in Kubernetes have no underscore.
pub(super) fn consumer_prefix(graph: &GraphName) -> String {
    format!("{}_{}_", safe(&graph.namespace), safe(&graph.name))
}

/// JetStream's names allow no dot, blank, wildcard or slash.
fn safe(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(namespace: &str, name: &str) -> GraphName {
        GraphName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn graphs_share_a_stream_unless_their_subject_is_elsewhere() {
        let shared = stream_of(&graph("a", "g"), "slipstream.versionmap.a.g");
        assert_eq!(
            (shared.name.as_str(), shared.subjects.as_str()),
            ("SLIPSTREAM", "slipstream.versionmap.>")
        );
        assert!(shared.shared);
        // Two streams may not listen to one subject.
        assert_eq!(
            stream_of(&graph("a", "g"), "slipstream.versionmap.own.name"),
            shared
        );
        let own = stream_of(&graph("a", "g"), "tenants.a.commits");
        assert_eq!(
            (own.name.as_str(), own.subjects.as_str()),
            ("SLIPSTREAM_a_g", "tenants.a.commits")
        );
        assert!(!own.shared);
    }

    #[test]
    fn durables_are_told_apart_by_graph_and_hold_no_forbidden_character() {
        let debian = graph("default", "debian");
        assert_eq!(
            consumer_of(&debian, "debian-replica-6f-x2"),
            "default_debian_debian-replica-6f-x2"
        );
        assert_eq!(
            consumer_of(&debian, "host.example *>/"),
            "default_debian_host-example----"
        );
        let other = consumer_of(&graph("default", "debian-2"), "r");
        assert!(!other.starts_with(&consumer_prefix(&debian)), "{other}");
    }
}
