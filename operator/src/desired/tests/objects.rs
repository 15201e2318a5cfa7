//! Every object as it is applied, to the byte. A difference in a pod template restarts the pods of every graph when the
//! operator is upgraded: accept a new snapshot of one only when that is meant.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;
use serde_json::Value;

use super::{FULL, MINIMAL, empty_cluster, graph};
use crate::desired::{Objects, Observed, VolumeGrowth, cleanup_job, desired};

/// Each object by name, as JSON; taken apart without `..`, so that a new one cannot be forgotten here.
fn by_name(objects: Objects) -> Vec<(&'static str, Value)> {
    let Objects {
        config_map,
        writer_service_account,
        replica_service_account,
        writer_headless_service,
        writer_service,
        read_service,
        replica_deployment,
        writer_stateful_set,
        writer_disruption_budget,
        replica_disruption_budget,
        network_policy,
        pod_monitor,
        volume_growth,
        writer_waits,
        sidecar_image: _,
    } = objects;
    assert_eq!((volume_growth, writer_waits), (VolumeGrowth::None, false));
    let mut all = vec![
        ("config-map", json(config_map)),
        ("writer-service-account", json(writer_service_account)),
        ("replica-service-account", json(replica_service_account)),
        ("writer-headless-service", json(writer_headless_service)),
        ("writer-service", json(writer_service)),
        ("read-service", json(read_service)),
        ("replica-deployment", json(replica_deployment)),
        ("writer-stateful-set", json(writer_stateful_set)),
        ("writer-disruption-budget", json(writer_disruption_budget)),
        ("replica-disruption-budget", json(replica_disruption_budget)),
    ];
    all.extend(network_policy.map(|object| ("network-policy", json(object))));
    all.extend(pod_monitor.map(|object| ("pod-monitor", json(object))));
    all
}

fn json(object: impl Serialize) -> Value {
    serde_json::to_value(object).expect("objects can be written")
}

fn assert_snapshots(graph_name: &str, yaml: &str, observed: &Observed) {
    let graph = graph(yaml);
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // Whether serde_json keeps the order of keys depends on what else is built.
    settings.set_sort_maps(true);
    settings.bind(|| {
        for (name, object) in by_name(desired(&graph, observed)) {
            insta::assert_yaml_snapshot!(format!("{graph_name}-{name}"), object);
        }
        let job = cleanup_job(&graph, observed).expect("a job");
        insta::assert_yaml_snapshot!(format!("{graph_name}-cleanup-job"), job);
    });
}

#[test]
fn the_least_graph_gives_these_objects() {
    assert_snapshots("minimal", MINIMAL, &empty_cluster());
}

#[test]
fn a_graph_with_everything_gives_these_objects() {
    let observed = Observed {
        pod_monitor_installed: true,
        ..empty_cluster()
    };
    assert_snapshots("full", FULL, &observed);
}

#[test]
fn every_object_has_name_namespace_labels_and_an_owner() {
    let observed = Observed {
        pod_monitor_installed: true,
        ..empty_cluster()
    };
    let mut names = Vec::new();
    for (kind, object) in by_name(desired(&graph(FULL), &observed)) {
        let metadata = &object["metadata"];
        assert_eq!(metadata["namespace"], "graphs", "{kind}");
        let labels = &metadata["labels"];
        assert_eq!(labels["slipstream.dev/graph"], "debian", "{kind}");
        assert_eq!(
            labels["app.kubernetes.io/managed-by"], "slipstream-operator",
            "{kind}"
        );
        let owner = &metadata["ownerReferences"][0];
        assert_eq!(owner["uid"], "00000000-0000-0000-0000-000000000002", "{kind}");
        assert_eq!(
            (&owner["controller"], &owner["blockOwnerDeletion"]),
            (&true.into(), &true.into())
        );
        let name = metadata["name"].as_str().expect("a name").to_owned();
        assert!(name.starts_with("debian") && name.len() <= 63, "{name}");
        names.push((object["kind"].to_string(), name));
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "two objects of one kind and name: {names:?}");
}

#[test]
fn opt_in_objects_are_left_out_unless_asked_for() {
    let objects = desired(&graph(MINIMAL), &empty_cluster());
    assert!(objects.network_policy.is_none() && objects.pod_monitor.is_none());
}

#[test]
fn pods_meet_the_restricted_standard_and_hold_no_token() {
    for yaml in [MINIMAL, FULL] {
        let objects = desired(&graph(yaml), &empty_cluster());
        let job = cleanup_job(&graph(yaml), &empty_cluster()).expect("a job");
        let templates: [PodTemplateSpec; 3] = [
            objects.writer_stateful_set.spec.template,
            objects.replica_deployment.spec.template,
            job.spec.expect("a spec").template,
        ];
        for template in templates {
            let pod = template.spec.expect("a pod");
            assert_eq!(pod.automount_service_account_token, Some(false));
            let security = pod.security_context.clone().expect("a security context");
            assert_eq!(
                (security.run_as_non_root, security.run_as_user),
                (Some(true), Some(65_532))
            );
            assert_eq!(
                security.seccomp_profile.expect("a profile").type_,
                "RuntimeDefault"
            );
            let security = super::sidecar(&pod)
                .security_context
                .clone()
                .expect("a security context");
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(
                security.capabilities.expect("capabilities").drop,
                Some(vec!["ALL".to_owned()])
            );
        }
    }
}

#[test]
fn an_edit_of_the_cadence_changes_the_config_and_no_pod_template() {
    let before = desired(&graph(FULL), &empty_cluster());
    let edited = FULL
        .replace("*/5 * * * *", "0 * * * *")
        .replace("interval: 5m", "interval: 9m")
        .replace("maxLagCommits: 5", "maxLagCommits: 50")
        .replace("pollInterval: 500ms", "pollInterval: 2s")
        .replace(
            "{name: size, type: int64}",
            "{name: size, type: int64}, {name: arch, type: string}",
        );
    let after = desired(&graph(&edited), &empty_cluster());
    assert_ne!(before.config_map, after.config_map);
    assert_eq!(before.replica_deployment, after.replica_deployment);
    assert_eq!(before.writer_stateful_set, after.writer_stateful_set);
}
