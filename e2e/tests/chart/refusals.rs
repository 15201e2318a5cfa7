//! Values that are wrong: each is refused before anything is sent to a cluster, with the name of its field.

use crate::helm::Helm;

/// What is set, the place that the refusal must name, and a piece of what it must say.
const WRONG: [(&str, &str, &str); 14] = [
    ("replicaCount=2", "at ''", "'replicaCount' not allowed"),
    ("image.tagg=1.0", "at '/image'", "'tagg' not allowed"),
    ("image.repository=", "/image/repository", "minLength"),
    ("image.repository=name:tag", "/image/repository", "does not match"),
    ("image.pullPolicy=Sometimes", "/image/pullPolicy", "IfNotPresent"),
    (
        "sidecar.image.pullPolicy=Never",
        "/sidecar/image",
        "'pullPolicy' not allowed",
    ),
    ("scope=Everywhere", "/scope", "'Cluster', 'Namespace'"),
    ("replicas=-1", "/replicas", "minimum"),
    ("replicas=two", "/replicas", "want integer"),
    ("concurrency=0", "/concurrency", "minimum"),
    ("crds.install=maybe", "/crds/install", "want boolean"),
    ("otel.endpoint=collector:4318", "/otel/endpoint", "does not match"),
    (
        "serviceMonitor.interval=often",
        "/serviceMonitor/interval",
        "does not match",
    ),
    ("podLabels.a=1", "/podLabels/a", "want string"),
];

#[test]
fn wrong_values_are_refused_with_the_name_of_their_field() {
    let helm = Helm::new();
    for (set, place, says) in WRONG {
        let refusal = helm.template(&[format!("--set={set}")]).expect_err(set);
        assert!(refusal.contains(place), "{set}: {refusal} does not name {place}");
        assert!(refusal.contains(says), "{set}: {refusal} does not say {says}");
    }
}
