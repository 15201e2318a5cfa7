//! What stays as it was, and in which order a change reaches the pods.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::PersistentVolumeClaimStatus};

use super::{
    FULL, IMAGE, MINIMAL, changed, cluster_of, empty_cluster, graph, image_of, ready_writer, replica_pod,
    rolled, settled, with_spec, writer_pod,
};
use crate::desired::{Objects, desired};

const NEWER: &str = "registry.example/slipstream:newer-operator";

#[test]
fn a_newer_operator_leaves_a_graph_as_it_was_to_the_byte() {
    for yaml in [MINIMAL, FULL] {
        let graph = graph(yaml);
        let before = desired(&graph, &empty_cluster());
        let after = desired(&graph, &settled(&before, NEWER));
        assert_eq!(before.replica_deployment, after.replica_deployment);
        assert_eq!(before.writer_stateful_set, after.writer_stateful_set);
        assert!(!after.writer_waits);
    }
    let fresh = desired(&graph(MINIMAL), &cluster_of(NEWER));
    assert_eq!(
        image_of(replica_pod(&fresh)),
        NEWER,
        "a new graph takes the new image"
    );
}

#[test]
fn the_image_is_the_one_asked_for_or_the_one_it_has_or_the_operators() {
    let asks = with_spec("  image: asked:1");
    let asks_not = graph(MINIMAL);
    let with_asked = desired(&asks, &empty_cluster());
    assert_eq!(image_of(writer_pod(&with_asked)), "asked:1");
    // Taken away again, it stays.
    let kept = desired(&asks_not, &settled(&with_asked, NEWER));
    assert_eq!(
        (kept.sidecar_image.as_str(), image_of(replica_pod(&kept))),
        ("asked:1", "asked:1")
    );
    // Either workload alone is enough to know it.
    for lost in 0..2 {
        let mut observed = settled(&with_asked, NEWER);
        if lost == 0 {
            observed.writer = None;
        } else {
            observed.replica = None;
        }
        assert_eq!(desired(&asks_not, &observed).sidecar_image, "asked:1");
    }
}

#[test]
fn an_image_in_the_pod_template_is_not_kept_once_it_is_taken_away() {
    let overlaid =
        with_spec("  replica: {podTemplate: {spec: {containers: [{name: sidecar, image: 'patched:1'}]}}}");
    let before = desired(&overlaid, &empty_cluster());
    assert_eq!(image_of(replica_pod(&before)), "patched:1");
    let after = desired(&graph(MINIMAL), &settled(&before, NEWER));
    assert_eq!(image_of(replica_pod(&after)), IMAGE);
}

/// A change of both roles' pods: the writer holds still until the last replica has rolled.
#[test]
fn the_writer_gets_a_new_template_only_after_the_replicas_have_it() {
    let before = desired(&graph(FULL), &empty_cluster());
    let newer = changed(FULL, "slipstream:1.2.3", "slipstream:1.3.0");

    let mut observed = settled(&before, IMAGE);
    let first = desired(&newer, &observed);
    assert!(first.writer_waits);
    assert_eq!(
        first.writer_stateful_set, before.writer_stateful_set,
        "held to the byte"
    );
    assert_ne!(first.replica_deployment, before.replica_deployment);

    for (step, deployment) in rolling(&first).into_iter().enumerate() {
        observed.replica = Some(Arc::new(deployment));
        assert!(desired(&newer, &observed).writer_waits, "step {step}");
    }
    observed.replica = Some(Arc::new(rolled(first.replica_deployment)));
    let last = desired(&newer, &observed);
    assert!(!last.writer_waits);
    assert_eq!(image_of(writer_pod(&last)), "registry.example/slipstream:1.3.0");

    observed.writer = Some(Arc::new(ready_writer(last.writer_stateful_set.clone())));
    assert_eq!(
        desired(&newer, &observed).writer_stateful_set,
        last.writer_stateful_set
    );
}

/// The Deployment at moments when its rollout is not over.
fn rolling(objects: &Objects) -> Vec<Deployment> {
    let done = rolled(objects.replica_deployment.clone());
    let at = |change: fn(&mut Deployment)| {
        let mut deployment = done.clone();
        change(&mut deployment);
        deployment
    };
    fn status(deployment: &mut Deployment) -> &mut k8s_openapi::api::apps::v1::DeploymentStatus {
        deployment.status.get_or_insert_default()
    }
    vec![
        at(|deployment| deployment.status = None),
        at(|deployment| status(deployment).observed_generation = Some(3)),
        at(|deployment| status(deployment).updated_replicas = Some(1)),
        at(|deployment| status(deployment).updated_replicas = None),
        at(|deployment| status(deployment).replicas = Some(4)),
        at(|deployment| status(deployment).available_replicas = Some(2)),
    ]
}

#[test]
fn a_writer_that_is_not_ready_gets_its_template_at_once() {
    let before = desired(&graph(FULL), &empty_cluster());
    let newer = changed(FULL, "slipstream:1.2.3", "slipstream:1.3.0");
    let mut observed = settled(&before, IMAGE);
    observed.writer = Some(Arc::new(before.writer_stateful_set));
    let mended = desired(&newer, &observed);
    assert!(!mended.writer_waits);
    assert_eq!(image_of(writer_pod(&mended)), "registry.example/slipstream:1.3.0");
}

#[test]
fn a_change_of_the_writer_alone_does_not_wait_for_replicas_that_have_nothing_to_do() {
    let before = desired(&graph(FULL), &empty_cluster());
    let newer = changed(FULL, "{cpu: 2, memory: 4Gi}", "{cpu: 4, memory: 4Gi}");
    let after = desired(&newer, &settled(&before, IMAGE));
    assert!(!after.writer_waits);
    assert_ne!(after.writer_stateful_set, before.writer_stateful_set);
    assert_eq!(after.replica_deployment, before.replica_deployment);
}

#[test]
fn no_replicas_are_a_valid_number_and_have_always_rolled() {
    let none = changed(FULL, "replicas: 3", "replicas: 0");
    let before = desired(&none, &empty_cluster());
    assert_eq!(before.replica_deployment.spec.replicas, Some(0));
    let newer = graph(
        &FULL
            .replace("replicas: 3", "replicas: 0")
            .replace("1.2.3", "1.3.0"),
    );
    let mut observed = settled(&before, IMAGE);
    let first = desired(&newer, &observed);
    assert!(first.writer_waits, "the Deployment has the old template still");
    observed.replica = Some(Arc::new(rolled(first.replica_deployment)));
    assert!(!desired(&newer, &observed).writer_waits);
}

#[test]
fn scaling_changes_the_number_and_no_template() {
    let before = desired(&graph(FULL), &empty_cluster());
    let after = desired(
        &changed(FULL, "replicas: 3", "replicas: 5"),
        &settled(&before, IMAGE),
    );
    assert_eq!(after.replica_deployment.spec.replicas, Some(5));
    assert_eq!(
        after.replica_deployment.spec.template,
        before.replica_deployment.spec.template
    );
    assert_eq!(after.writer_stateful_set, before.writer_stateful_set);
}

#[test]
fn the_claim_template_stays_as_it_was_made_when_the_spec_changes() {
    let before = desired(&graph(FULL), &empty_cluster());
    let mut observed = settled(&before, IMAGE);
    // As the API server gives it back.
    let mut workload = ready_writer(before.writer_stateful_set.clone());
    for claim in workload.spec.volume_claim_templates.iter_mut().flatten() {
        claim.spec.get_or_insert_default().volume_mode = Some("Filesystem".to_owned());
        claim.status = Some(PersistentVolumeClaimStatus {
            phase: Some("Pending".to_owned()),
            ..PersistentVolumeClaimStatus::default()
        });
    }
    observed.writer = Some(Arc::new(workload));
    let larger = changed(
        FULL,
        "{size: 20Gi, storageClassName: fast}",
        "{size: 40Gi, storageClassName: slow}",
    );
    let after = desired(&larger, &observed);
    assert_eq!(after.writer_stateful_set, before.writer_stateful_set);
}

#[test]
fn the_volume_goes_with_the_graph_unless_its_root_may_be_on_it() {
    let policy = |yaml: &str| {
        let workload = desired(&graph(yaml), &empty_cluster()).writer_stateful_set;
        workload
            .spec
            .persistent_volume_claim_retention_policy
            .expect("a policy")
            .when_deleted
    };
    assert_eq!(policy(MINIMAL).as_deref(), Some("Delete"));
    let on_disk = MINIMAL.replace("s3://graphs/small", "file:///var/lib/slipstream/store");
    assert_eq!(policy(&on_disk).as_deref(), Some("Retain"));
}
