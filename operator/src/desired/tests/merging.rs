//! A user's `podTemplate` over Slipstream's own.

use k8s_openapi::{api::core::v1::Container, apimachinery::pkg::util::intstr::IntOrString};

use super::{empty_cluster, replica_pod, sidecar, with_spec, writer_pod};
use crate::desired::{Objects, desired};

/// The objects of a graph whose replicas have this pod template, in YAML's flow form.
fn of_template(template: &str) -> Objects {
    let graph = with_spec(&format!("  replica: {{podTemplate: {template}}}"));
    desired(&graph, &empty_cluster())
}

fn names(containers: &[Container]) -> Vec<&str> {
    containers
        .iter()
        .map(|container| container.name.as_str())
        .collect()
}

#[test]
fn variables_of_the_sidecar_are_merged_by_name() {
    let objects = of_template(
        "{spec: {containers: [{name: sidecar, env: [{name: RUST_LOG, value: debug}, {name: POD_NAME, value: fixed}]}]}}",
    );
    let pod = replica_pod(&objects);
    assert_eq!(names(&pod.containers), ["sidecar"]);
    let env = sidecar(pod).env.clone().expect("variables");
    let found: Vec<_> = env
        .iter()
        .map(|variable| {
            (
                variable.name.as_str(),
                variable.value.as_deref(),
                variable.value_from.is_some(),
            )
        })
        .collect();
    // Not both a value and a source, which the API server would refuse.
    assert_eq!(
        found,
        [
            ("RUST_LOG", Some("debug"), false),
            ("POD_NAME", Some("fixed"), false)
        ]
    );
    assert_eq!(sidecar(pod).image.as_deref(), Some(super::IMAGE));
    assert_eq!(
        writer_pod(&objects).containers[0].env.as_ref().map(Vec::len),
        Some(1)
    );
}

#[test]
fn the_network_policy_lets_in_to_ports_that_containers_of_the_user_declare() {
    let template = |ports: &str| {
        format!("podTemplate: {{spec: {{containers: [{{name: api, image: 'api:1', ports: [{ports}]}}]}}}}")
    };
    let graph = with_spec(&format!(
        "  networkPolicy: {{enabled: true}}\n  writer: {{{}}}\n  replica: {{{}}}",
        template("{containerPort: 9000}, {containerPort: 8080, protocol: TCP}"),
        template(
            "{containerPort: 9000, protocol: UDP}, {containerPort: 9000, protocol: TCP}, {containerPort: 53, protocol: UDP}"
        ),
    ));
    let policy = desired(&graph, &empty_cluster())
        .network_policy
        .expect("a policy");
    let rules = policy.spec.and_then(|spec| spec.ingress).expect("rules");
    let ports = rules.into_iter().flat_map(|rule| rule.ports.unwrap_or_default());
    let ports: Vec<_> = ports.map(|port| (port.port, port.protocol)).collect();
    let port = |number, protocol: &str| (Some(IntOrString::Int(number)), Some(protocol.to_owned()));
    assert_eq!(
        ports,
        [
            port(8080, "TCP"),
            port(9000, "TCP"),
            port(9000, "UDP"),
            port(53, "UDP")
        ]
    );
}

#[test]
fn beside_a_container_of_the_user_the_sidecar_is_native_and_holds_it_back() {
    let alone = of_template("{spec: {containers: [{name: sidecar}]}}");
    let beside = of_template(
        "{spec: {containers: [{name: api, image: api:1}], initContainers: [{name: settle, image: settle:1}]}}",
    );
    let alone = replica_pod(&alone);
    assert_eq!(
        (names(&alone.containers), &alone.init_containers),
        (vec!["sidecar"], &None)
    );
    assert_eq!(sidecar(alone).restart_policy, None);

    let beside = replica_pod(&beside);
    assert_eq!(names(&beside.containers), ["api"]);
    let init = beside.init_containers.as_deref().unwrap_or_default();
    assert_eq!(
        names(init),
        ["settle", "sidecar"],
        "the user's own init containers come first"
    );
    assert_eq!(init[1].restart_policy.as_deref(), Some("Always"));
    let path = |container: &Container| {
        let probe = container.startup_probe.clone().expect("a startup probe");
        probe.http_get.expect("a request").path.expect("a path")
    };
    assert_eq!(
        (path(sidecar(alone)).as_str(), path(&init[1]).as_str()),
        ("/healthz", "/readyz")
    );
    // Everything else about it is the same.
    let mut expected = sidecar(alone).clone();
    expected.restart_policy = init[1].restart_policy.clone();
    expected.startup_probe = init[1].startup_probe.clone();
    assert_eq!(init[1], expected);
}

#[test]
fn the_sidecar_can_be_named_in_either_list() {
    let one = of_template("{spec: {containers: [{name: api, image: api:1}, {name: sidecar, tty: true}]}}");
    let other = of_template(
        "{spec: {containers: [{name: api, image: api:1}], initContainers: [{name: sidecar, tty: true}]}}",
    );
    assert_eq!(one.replica_deployment, other.replica_deployment);
    assert_eq!(sidecar(replica_pod(&one)).tty, Some(true));
}

#[test]
fn a_number_of_a_probe_is_changed_and_a_way_of_asking_is_replaced() {
    let objects = of_template(
        "{spec: {containers: [{name: sidecar, startupProbe: {failureThreshold: 7}, livenessProbe: {tcpSocket: {port: 8080}}}]}}",
    );
    let sidecar = sidecar(replica_pod(&objects));
    let startup = sidecar.startup_probe.clone().expect("a probe");
    assert_eq!(
        (startup.failure_threshold, startup.http_get.is_some()),
        (Some(7), true)
    );
    let liveness = sidecar.liveness_probe.clone().expect("a probe");
    assert_eq!(
        (liveness.tcp_socket.is_some(), liveness.http_get.is_some()),
        (true, false)
    );
    assert_eq!(liveness.period_seconds, Some(10));
}

#[test]
fn a_hook_of_the_user_takes_the_place_of_ours() {
    let objects = of_template(
        "{spec: {containers: [{name: sidecar, lifecycle: {preStop: {exec: {command: [\"true\"]}}}}]}}",
    );
    let lifecycle = sidecar(replica_pod(&objects)).lifecycle.clone().expect("hooks");
    let hook = lifecycle.pre_stop.expect("a hook");
    assert!(
        hook.exec.is_some() && hook.sleep.is_none(),
        "one hook acts in one way: {hook:?}"
    );
}

#[test]
fn volumes_are_replaced_by_name_and_mounts_by_path() {
    let objects = of_template(
        "{spec: {volumes: [{name: data, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}}, {name: ca, configMap: {name: ca}}], \
         containers: [{name: sidecar, volumeMounts: [{name: ca, mountPath: /etc/ssl/own}]}]}}",
    );
    let pod = replica_pod(&objects);
    let volumes = pod.volumes.clone().expect("volumes");
    let found: Vec<_> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(found, ["config", "tmp", "data", "ca"]);
    assert!(volumes[2].ephemeral.is_some() && volumes[2].empty_dir.is_none());
    let mounts = sidecar(pod).volume_mounts.clone().expect("mounts");
    let paths: Vec<_> = mounts.iter().map(|mount| mount.mount_path.as_str()).collect();
    assert_eq!(
        paths,
        ["/etc/slipstream", "/var/lib/slipstream", "/tmp", "/etc/ssl/own"]
    );
}

#[test]
fn labels_and_annotations_are_added_and_selectors_still_match() {
    let objects =
        of_template("{metadata: {labels: {team: a, app.kubernetes.io/name: mine}, annotations: {note: b}}}");
    let metadata = objects
        .replica_deployment
        .spec
        .template
        .metadata
        .expect("metadata");
    let labels = metadata.labels.expect("labels");
    assert_eq!(
        (labels["team"].as_str(), labels["app.kubernetes.io/name"].as_str()),
        ("a", "mine")
    );
    assert_eq!(metadata.annotations.expect("annotations")["note"], "b");
    let selector = objects
        .replica_deployment
        .spec
        .selector
        .match_labels
        .expect("labels");
    assert!(
        selector.iter().all(|(key, value)| labels.get(key) == Some(value)),
        "{selector:?}"
    );
}

#[test]
fn the_rest_of_the_pod_is_the_users_too() {
    let objects = of_template(
        "{spec: {nodeSelector: {disk: fast}, tolerations: [{key: graph, operator: Exists}], terminationGracePeriodSeconds: 90, \
         securityContext: {fsGroup: 1}, containers: [{name: sidecar, securityContext: {readOnlyRootFilesystem: false}}]}}",
    );
    let pod = replica_pod(&objects);
    assert_eq!(pod.node_selector.as_ref().expect("labels")["disk"], "fast");
    assert_eq!(pod.tolerations.as_ref().map(Vec::len), Some(1));
    assert_eq!(pod.termination_grace_period_seconds, Some(90));
    // What the template says counts, also where it loosens; what it does not say stays.
    let security = pod.security_context.clone().expect("a security context");
    assert_eq!((security.fs_group, security.run_as_user), (Some(1), Some(65_532)));
    let security = sidecar(pod).security_context.clone().expect("a security context");
    assert_eq!(security.read_only_root_filesystem, Some(false));
    assert_eq!(security.allow_privilege_escalation, Some(false));
}
