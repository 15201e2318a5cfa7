//! What a sidecar reads only when it starts: a change of it restarts pods, and nothing else of the config does.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::{FULL, IMAGE, changed, empty_cluster, graph, image_of, rolled, settled, writer_pod};
use crate::desired::{Objects, Observed, cleanup_job, desired};

const ANNOTATION: &str = "slipstream.dev/start-config";

fn start_config(template: &PodTemplateSpec) -> Option<&str> {
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    annotations.get(ANNOTATION).map(String::as_str)
}

fn templates(objects: &Objects) -> [&PodTemplateSpec; 2] {
    [
        &objects.replica_deployment.spec.template,
        &objects.writer_stateful_set.spec.template,
    ]
}

/// Applies what is desired, and lets it roll, until nothing changes any more.
fn roll(yaml_of: &crate::validate::Validated, mut observed: Observed) -> (Objects, Observed) {
    for _ in 0..3 {
        let objects = desired(yaml_of, &observed);
        observed = settled(&objects, IMAGE);
    }
    (desired(yaml_of, &observed), observed)
}

#[test]
fn a_new_address_of_nats_or_s3_restarts_replicas_and_then_the_writer() {
    for (from, to) in [
        ("nats://nats:4222", "nats://other:4222"),
        ("http://s3:9000", "http://s3:9001"),
        ("eu-central-1", "eu-central-2"),
    ] {
        let before = desired(&graph(FULL), &empty_cluster());
        assert_eq!(templates(&before).map(start_config), [None; 2]);
        let newer = changed(FULL, from, to);
        let mut observed = settled(&before, IMAGE);
        let first = desired(&newer, &observed);
        assert!(start_config(templates(&first)[0]).is_some(), "{to}");
        assert!(first.writer_waits, "{to}");
        // The config is applied first; a crash right after it loses nothing.
        observed.config_map = Some(Arc::new(first.config_map.clone()));
        let again = desired(&newer, &observed);
        assert_eq!(again.replica_deployment, first.replica_deployment, "{to}");

        let (last, observed) = roll(&newer, observed);
        let [replica, writer] = templates(&last).map(start_config);
        assert!(
            replica.is_some() && writer.is_some() && !last.writer_waits,
            "{to}"
        );
        // And back: the very templates of before.
        let (back, _) = roll(&graph(FULL), observed);
        assert_eq!(templates(&back), templates(&before), "{to}");
    }
}

#[test]
fn a_longer_queue_restarts_the_writer_alone() {
    let before = desired(&graph(FULL), &empty_cluster());
    let newer = changed(FULL, "queueTransactions: 500", "queueTransactions: 700");
    let after = desired(&newer, &settled(&before, IMAGE));
    assert_eq!(after.replica_deployment, before.replica_deployment);
    assert!(start_config(templates(&after)[1]).is_some() && !after.writer_waits);
}

#[test]
fn a_graph_of_an_older_operator_is_left_as_it_is_until_it_changes() {
    let before = desired(&graph(FULL), &empty_cluster());
    let mut observed = settled(&before, IMAGE);
    let mut config_map = before.config_map.clone();
    config_map.metadata.annotations = None;
    observed.config_map = Some(Arc::new(config_map));
    let same = desired(&graph(FULL), &observed);
    assert_eq!(templates(&same), templates(&before));
    assert_eq!(
        same.config_map, before.config_map,
        "what it started with is noted"
    );
    // A change that comes together with the new operator.
    let newer = changed(FULL, "nats://nats:4222", "nats://other:4222");
    let changed = desired(&newer, &observed);
    assert!(start_config(templates(&changed)[0]).is_some());
    assert_eq!(
        changed.config_map.metadata.annotations,
        before.config_map.metadata.annotations
    );
}

#[test]
fn a_lost_config_map_restarts_nothing() {
    let before = desired(&graph(FULL), &empty_cluster());
    let newer = changed(FULL, "nats://nats:4222", "nats://other:4222");
    let (rolled_out, mut observed) = roll(&newer, settled(&before, IMAGE));
    observed.config_map = None;
    let (after, _) = roll(&newer, observed);
    assert_eq!(templates(&after), templates(&rolled_out));
    let mut observed = settled(&before, IMAGE);
    observed.config_map = None;
    assert_eq!(templates(&desired(&graph(FULL), &observed)), templates(&before));
}

#[test]
fn the_cleanup_job_runs_the_image_that_the_graph_had() {
    let minimal = graph(super::MINIMAL);
    let mut observed = empty_cluster();
    observed.image_before = Some("registry.example/slipstream:first".to_owned());
    let job = cleanup_job(&minimal, &observed).expect("a job");
    let pod = job.spec.and_then(|spec| spec.template.spec).expect("a pod");
    assert_eq!(image_of(&pod), "registry.example/slipstream:first");
    // What the workloads say counts more, and what the resource asks for most.
    let objects = desired(&minimal, &observed);
    assert_eq!(
        image_of(writer_pod(&objects)),
        "registry.example/slipstream:first"
    );
    let mut observed = settled(&desired(&minimal, &empty_cluster()), "newer");
    observed.image_before = Some("registry.example/slipstream:first".to_owned());
    observed.replica = observed
        .replica
        .map(|replica| Arc::new(rolled((*replica).clone())));
    assert_eq!(image_of(writer_pod(&desired(&minimal, &observed))), IMAGE);
}
