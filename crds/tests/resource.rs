//! Reading a resource, its defaults, its refusals, and the config that follows from it.

#![expect(
    clippy::unwrap_used,
    reason = "clippy exempts test functions, not what they share"
)]

use crds::{
    DeletionPolicy, Duration, GraphName, Limits, NatsConfig, ReplicatedGraphDB, ResourceError, RoleLimits,
    SidecarConfig, Storage,
};

const DESIGN: &str = include_str!("design.yaml");
const SMALLEST: &str = "
apiVersion: slipstream.dev/v1alpha1
kind: ReplicatedGraphDB
metadata: {name: small}
spec: {storage: {uri: 'file:///var/lib/slipstream'}}
";

fn read(yaml: &str) -> ReplicatedGraphDB {
    ReplicatedGraphDB::from_yaml(yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// The refusal of the design's example with one text replaced.
fn refusal(from: &str, to: &str) -> String {
    assert!(DESIGN.contains(from), "the example has no `{from}`");
    ReplicatedGraphDB::from_yaml(&DESIGN.replacen(from, to, 1))
        .unwrap_err()
        .to_string()
}

#[test]
fn the_example_of_the_design_is_read_whole() {
    let graph = read(DESIGN);
    assert_eq!(graph.spec.replicas, 2);
    assert_eq!(graph.spec.deletion_policy, DeletionPolicy::Delete);
    assert_eq!(graph.spec.schema.nodes[0].properties[3].dimension, Some(384));
    assert_eq!(graph.spec.writer.storage.storage_class_name.as_deref(), Some(""));
    let containers = graph.spec.replica.pod_template.unwrap().spec.unwrap().containers;
    assert_eq!(
        containers[0].env.as_ref().unwrap()[0].value.as_deref(),
        Some("debug")
    );
}

#[test]
fn everything_but_the_storage_has_a_default() {
    let spec = read(SMALLEST).spec;
    assert_eq!(spec.replicas, 1);
    assert_eq!(spec.events.poll_interval, Duration::from_secs(1));
    assert_eq!(spec.events.nats, None);
    assert!(spec.schema.nodes.is_empty() && !spec.suspend);
    assert_eq!(spec.deletion_policy, DeletionPolicy::Retain);
    assert_eq!(
        (spec.snapshots.every_commits, spec.snapshots.keep_last),
        (1000, 3)
    );
    assert_eq!(spec.snapshots.max_age.to_string(), "7d");
    assert_eq!(spec.optimizer.interval.to_string(), "10m");
    assert_eq!(
        (spec.readiness.max_lag_commits, spec.readiness.max_lag_seconds),
        (10, 30)
    );
    assert_eq!(
        (
            spec.writer.storage.size.0.as_str(),
            spec.replica.cache.size.0.as_str()
        ),
        ("10Gi", "10Gi")
    );

    let error = ReplicatedGraphDB::from_yaml(
        &SMALLEST.replace("{storage: {uri: 'file:///var/lib/slipstream'}}", "{}"),
    );
    assert!(error.unwrap_err().to_string().contains("missing field `storage`"));
}

#[test]
fn a_resource_is_the_same_after_writing_and_reading() {
    for yaml in [DESIGN, SMALLEST] {
        let graph = read(yaml);
        let written = serde_yaml::to_string(&graph).unwrap();
        assert_eq!(read(&written), graph);
    }
}

#[test]
fn unknown_fields_are_refused_at_every_depth() {
    for (from, to, names) in [
        ("replicas: 2", "replica_count: 2", vec!["spec", "`replica_count`"]),
        (
            "primaryKey: name",
            "primaryKeys: name",
            vec!["spec.schema.nodes[0]", "`primaryKeys`", "line"],
        ),
        (
            "pollInterval",
            "pollintervall",
            vec!["spec.events", "`pollintervall`"],
        ),
        // Types of Kubernetes skip unknown fields by themselves.
        (
            "nodeSelector",
            "nodeSelecter",
            vec!["unknown field spec.writer.podTemplate.spec.nodeSelecter"],
        ),
        (
            "value: debug",
            "valeu: debug",
            vec!["spec.replica.podTemplate.spec.containers[0].env[0].valeu"],
        ),
        (
            "limits: {memory: 2Gi}",
            "limit: {memory: 2Gi}",
            vec!["unknown field spec.replica.resources.limit"],
        ),
        (
            "kind: ReplicatedGraphDB",
            "kind: ReplicatedGraphDB\nscale: 3",
            vec!["unknown field scale"],
        ),
        (
            "generation: 7",
            "generations: 7",
            vec!["unknown field metadata.generations"],
        ),
    ] {
        let error = refusal(from, to);
        for name in names {
            assert!(error.contains(name), "{name} in: {error}");
        }
    }
}

#[test]
fn values_of_the_wrong_type_are_refused_with_their_place() {
    for (from, to, place) in [
        ("replicas: 2", "replicas: two", "spec.replicas"),
        ("replicas: 2", "replicas: -1", "spec.replicas"),
        (
            "type: int64",
            "type: integer",
            "spec.schema.nodes[0].properties[1].type",
        ),
        ("maxAge: 14d", "maxAge: 2 weeks", "spec.snapshots.maxAge"),
        (
            "deletionPolicy: Delete",
            "deletionPolicy: Keep",
            "spec.deletionPolicy",
        ),
    ] {
        let error = refusal(from, to);
        assert!(
            error.contains(place) && error.contains("line"),
            "{place} in: {error}"
        );
    }
    assert!(ReplicatedGraphDB::from_yaml("{").is_err());
    assert!(ReplicatedGraphDB::from_yaml("").is_err());
}

#[test]
fn another_kind_of_object_is_refused() {
    let error = refusal("kind: ReplicatedGraphDB", "kind: ConfigMap");
    assert!(
        error.contains("kind is `ConfigMap`, expected `ReplicatedGraphDB`"),
        "{error}"
    );
    let error = refusal("apiVersion: slipstream.dev/v1alpha1", "apiVersion: v1");
    assert!(error.contains("apiVersion is `v1`"), "{error}");
}

#[test]
fn values_that_are_wrong_are_refused_by_field() {
    for (from, to, says) in [
        ("name: debian", "name: Debian", "metadata.name: `Debian`"),
        ("name: debian", "name: debian.sid", "metadata.name: `debian.sid`"),
        ("replicas: 2", "replicas: 1001", "spec.replicas: found 1001"),
        (
            "s3://graphs/debian",
            "gs://graphs/debian",
            "spec.storage.uri: `gs://graphs/debian`",
        ),
        (
            "s3://graphs/debian",
            "s3:///debian",
            "spec.storage.uri: `s3:///debian`",
        ),
        (
            "http://minio:9000",
            "minio:9000",
            "spec.storage.endpoint: `minio:9000`",
        ),
        (
            "nats://nats:4222",
            "http://nats:4222",
            "spec.events.nats.url: `http://nats:4222`",
        ),
        (
            "pollInterval: 500ms",
            "pollInterval: 0s",
            "spec.events.pollInterval: found 0s",
        ),
        ("*/5 * * * *", "often", "spec.snapshots.schedule: `often`"),
        (
            "interval: 5m",
            "interval: 0m",
            "spec.optimizer.interval: found 0s",
        ),
        (
            "memory: 4Gi",
            "memory: 4GiB",
            "spec.writer.resources.limits.memory: `4GiB`",
        ),
        (
            "storage: {size: 20Gi",
            "storage: {size: 0",
            "spec.writer.storage.size: `0` is nothing",
        ),
        (
            "cache: {size: 20Gi",
            "cache: {size: big",
            "spec.replica.cache.size: `big`",
        ),
        (
            "name: sidecar, env",
            "name: slipstream, env",
            "spec.replica.podTemplate.spec.containers[0].image: container `slipstream` has no image",
        ),
        (
            "labels: {team: graph}",
            "labels: {slipstream.dev/role: replica}",
            "spec.writer.podTemplate.metadata.labels[slipstream.dev/role]: belongs to the operator",
        ),
        (
            "{nodeSelector: {disk: fast}}",
            "{restartPolicy: Never}",
            "spec.writer.podTemplate.spec.restartPolicy: found `Never`",
        ),
        (
            "{nodeSelector: {disk: fast}}",
            "{volumes: [{name: data, emptyDir: {}}]}",
            "spec.writer.podTemplate.spec.volumes[0].name: `data`",
        ),
        (
            "containers: [{name: sidecar, env: [{name: RUST_LOG, value: debug}]}]",
            "containers: [{name: a, image: a}], initContainers: [{name: a, image: b}]",
            "spec.replica.podTemplate.spec.containers[0].name: `a` is the name of another",
        ),
        (
            "queueTransactions: 500",
            "queueTransactions: 0",
            "spec.writer.queueTransactions: found 0",
        ),
        (
            "from: Maintainer",
            "from: Nobody",
            "spec.schema.edges[1].from: `Nobody`",
        ),
    ] {
        let error = refusal(from, to);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with(says), "{says} in: {error}");
    }
    let two =
        ReplicatedGraphDB::from_yaml(&SMALLEST.replace("small", "-").replace("file:", "ftp:")).unwrap_err();
    let ResourceError::Invalid(errors) = two else {
        panic!("{two}")
    };
    assert_eq!(errors.0.len(), 2);
}

#[test]
fn a_change_of_the_root_is_refused_and_an_added_property_is_not() {
    let graph = read(DESIGN);
    let moved = read(&DESIGN.replace("s3://graphs/debian", "s3://graphs/other"));
    let error = graph.check_change(&moved).unwrap_err().to_string();
    assert!(
        error.starts_with("spec.storage.uri: changed from `s3://graphs/debian`"),
        "{error}"
    );

    let added = read(&DESIGN.replace(
        "{name: size, type: int64}",
        "{name: size, type: int64}\n          - {name: s, type: bool}",
    ));
    assert_eq!(graph.check_change(&added).unwrap().new_properties[0].0, "Package");
}

#[test]
fn the_config_follows_from_the_resource_and_survives_yaml() {
    let graph = read(DESIGN);
    let config = SidecarConfig::from_resource(&graph).unwrap();
    assert_eq!(
        config.graph,
        GraphName {
            namespace: "graphs".into(),
            name: "debian".into()
        }
    );
    assert_eq!(
        config.storage,
        Storage {
            uri: "s3://graphs/debian".into(),
            endpoint: Some("http://minio:9000".into()),
            region: Some("eu-central-1".into()),
        }
    );
    let nats = NatsConfig {
        url: "nats://nats:4222".into(),
        subject: "slipstream.versionmap.graphs.debian".into(),
    };
    assert_eq!(config.events.nats, Some(nats));
    assert_eq!(config.events.poll_interval, Duration::from_millis(500));
    assert_eq!(
        (&config.schema, &config.snapshots, &config.optimizer),
        (&graph.spec.schema, &graph.spec.snapshots, &graph.spec.optimizer)
    );
    let limits = RoleLimits {
        writer: Limits {
            buffer_pool_bytes: Some(2 << 30),
            query_threads: Some(2),
            queue_transactions: Some(500),
        },
        replica: Limits {
            buffer_pool_bytes: Some(1 << 30),
            ..Limits::default()
        },
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.generation, 7);
    let yaml = config.to_yaml().unwrap();
    assert!(
        !yaml.contains("credentials") && yaml.contains("pollInterval: 500ms"),
        "{yaml}"
    );
    assert_eq!(SidecarConfig::from_yaml(&yaml).unwrap(), config);

    let small = SidecarConfig::from_resource(&read(SMALLEST)).unwrap();
    assert_eq!(
        (small.graph.namespace.as_str(), small.limits.clone()),
        ("default", RoleLimits::default())
    );
    assert_eq!(
        SidecarConfig::from_yaml(&small.to_yaml().unwrap()).unwrap(),
        small
    );
}

#[test]
fn a_config_is_not_made_from_a_wrong_resource_and_refuses_unknown_fields() {
    let mut graph = read(DESIGN);
    graph.spec.schema.nodes[0].primary_key = "none".into();
    let errors = SidecarConfig::from_resource(&graph).unwrap_err();
    assert_eq!(errors.0[0].field, "spec.schema.nodes[0].primaryKey");

    let yaml = SidecarConfig::from_resource(&read(SMALLEST))
        .unwrap()
        .to_yaml()
        .unwrap();
    let error = SidecarConfig::from_yaml(&yaml.replace("maxLagCommits", "maxLag"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("readiness") && error.contains("`maxLag`"),
        "{error}"
    );
}
