//! The generated definition: names, subresources, columns, and every rule the API server is to enforce.

#![expect(
    clippy::unwrap_used,
    reason = "clippy exempts test functions, not what they share"
)]

use serde_json::Value;

fn definition() -> Value {
    serde_yaml::from_str(&crds::crd_yaml().unwrap()).unwrap()
}

fn version() -> Value {
    definition()["spec"]["versions"][0].clone()
}

/// The schema at a path of property names; `[]` goes to the items of a list.
fn at(path: &str) -> Value {
    let mut schema = version()["schema"]["openAPIV3Schema"].clone();
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, items) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        schema = schema["properties"][name].clone();
        if items {
            schema = schema["items"].clone();
        }
        assert!(!schema.is_null(), "no schema at {step} of {path}");
    }
    schema
}

/// All rules at a path, as (rule, message, field path).
fn rules(path: &str) -> Vec<(String, String, String)> {
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    at(path)["x-kubernetes-validations"]
        .as_array()
        .unwrap_or(&Vec::new())
        .iter()
        .map(|rule| (text(rule, "rule"), text(rule, "message"), text(rule, "fieldPath")))
        .collect()
}

/// Expects a rule that contains `rule`, reported at `.field` with a message that begins with the field's name.
fn has_rule(path: &str, rule: &str, field: &str) {
    let found = rules(path)
        .into_iter()
        .find(|(text, _, at)| text.contains(rule) && at == &format!(".{field}"));
    let (_, message, _) =
        found.unwrap_or_else(|| panic!("no rule `{rule}` for {field} in {:#?}", rules(path)));
    assert!(message.starts_with(field), "{message}");
}

#[test]
fn the_chart_holds_the_generated_definition() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/slipstream/templates/crd-replicatedgraphdb.yaml"
    );
    let in_chart = std::fs::read_to_string(path).unwrap();
    assert!(
        in_chart == crds::crd_yaml().unwrap(),
        "run crdgen again and write its output to {path}"
    );
    // Helm renders comments too: the two that make the definition optional are all it may find.
    let templates: Vec<&str> = in_chart.lines().filter(|line| line.contains("{{")).collect();
    assert_eq!(templates, ["# {{- if .Values.crds.install }}", "# {{- end }}"]);
}

#[test]
fn the_definition_is_kept_by_helm_and_read_by_kubectl_as_rgdb() {
    let crd = definition();
    assert_eq!(crd["metadata"]["name"], "replicatedgraphdbs.slipstream.dev");
    assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    assert_eq!(crd["spec"]["names"]["shortNames"][0], "rgdb");
    assert_eq!(crds::crd().unwrap().spec.names.kind, "ReplicatedGraphDB");
    let version = version();
    assert_eq!(version["name"], "v1alpha1");
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    // Those with a priority are shown by `-o wide` only.
    let everyone = [
        "Ready",
        "Replicas",
        "Head",
        "Lag",
        "Snapshot",
        "Optimized",
        "Degraded",
        "Age",
    ];
    assert_eq!(columns, everyone);
    assert_eq!(
        version["subresources"]["scale"]["specReplicasPath"],
        ".spec.replicas"
    );
    assert_eq!(
        version["subresources"]["scale"]["statusReplicasPath"],
        ".status.replicas"
    );
    assert_eq!(
        version["subresources"]["scale"]["labelSelectorPath"],
        ".status.selector"
    );
    assert!(version["subresources"]["status"].is_object());
}

#[test]
fn every_printed_and_scaled_path_exists_in_the_schema() {
    for path in [
        "spec.replicas",
        "status.replicas",
        "status.selector",
        "status.readyReplicas",
        "status.head.seq",
        "status.maxLagCommits",
        "status.conditions[].status",
    ] {
        assert!(at(path)["type"].is_string(), "{path}");
    }
}

#[test]
fn immutable_fields_are_compared_with_their_old_value() {
    has_rule("spec.storage", "self.uri == oldSelf.uri", "uri");
    has_rule(
        "spec.schema.nodes[]",
        "self.primaryKey == oldSelf.primaryKey",
        "primaryKey",
    );
    has_rule("spec.schema.edges[]", "self.from == oldSelf.from", "from");
    has_rule("spec.schema.edges[]", "self.to == oldSelf.to", "to");
    has_rule("spec.schema.edges[]", "self.key == oldSelf.key", "key");
    for table in ["nodes", "edges"] {
        let properties = format!("spec.schema.{table}[].properties[]");
        has_rule(&properties, "self.type == oldSelf.type", "type");
        has_rule(&properties, "self.required == oldSelf.required", "required");
        has_rule(&properties, "self.dimension == oldSelf.dimension", "dimension");
        has_rule(&properties, "self.items == oldSelf.items", "items");
    }
}

#[test]
fn tables_and_properties_cannot_be_dropped() {
    has_rule(
        "spec.schema",
        "sets.contains(self.nodes.map(t, t.name), oldSelf.nodes",
        "nodes",
    );
    has_rule(
        "spec.schema",
        "sets.contains(self.edges.map(t, t.name), oldSelf.edges",
        "edges",
    );
    for table in ["nodes", "edges"] {
        let table = format!("spec.schema.{table}[]");
        has_rule(
            &table,
            "sets.contains(self.properties.map(p, p.name), oldSelf.properties",
            "properties",
        );
        has_rule(&table, "self.properties.filter(p, p.required)", "properties");
    }
}

#[test]
fn a_schema_is_checked_as_a_whole() {
    has_rule("spec.schema", "n.name == e.from", "edges");
    has_rule("spec.schema", "n.name == e.to", "edges");
    has_rule("spec.schema", "lowerAscii() == n.name.lowerAscii()", "nodes");
    has_rule("spec.schema", "self.edges.exists_one", "edges");
    has_rule("spec.schema", "!self.nodes.exists", "edges");
    has_rule(
        "spec.schema.nodes[]",
        "p.name == self.primaryKey && p.type in ['string', 'int64']",
        "primaryKey",
    );
    has_rule(
        "spec.schema.edges[]",
        "p.name == self.key && p.type in ['string', 'int64']",
        "key",
    );
    has_rule("spec.schema.edges[]", "in ['from', 'to']", "properties");
    for table in ["nodes", "edges"] {
        has_rule(
            &format!("spec.schema.{table}[]"),
            "in ['systemmetadata', 'watermark']",
            "name",
        );
        let properties = format!("spec.schema.{table}[].properties[]");
        has_rule(
            &properties,
            "(self.type == 'vector') == has(self.dimension)",
            "dimension",
        );
        has_rule(&properties, "(self.type == 'list') == has(self.items)", "items");
        has_rule(&properties, "!has(self.index) ||", "index");
    }
}

#[test]
fn durations_that_must_not_be_zero_and_names_have_rules() {
    for (path, field) in [
        ("spec.events.pollInterval", "pollInterval"),
        ("spec.scrub.interval", "interval"),
    ] {
        let (rule, message, _) = rules(path).remove(0);
        assert_eq!(rule, "self.matches('[1-9]')");
        assert!(message.starts_with(field));
        assert_eq!(at(path)["pattern"], crds::DURATION_PATTERN);
    }
    let (rule, message, _) = rules("spec.optimizer.interval").remove(0);
    assert_eq!(rule, "self == 'auto' || self.matches('[1-9]')");
    assert!(message.starts_with("interval"));
    assert_eq!(
        at("spec.optimizer.interval")["pattern"],
        crds::OPTIMIZER_INTERVAL_PATTERN
    );
    let (rule, message, _) = rules("").remove(0);
    assert!(rule.contains("self.metadata.name.matches"));
    assert!(message.starts_with("metadata.name"));
}

#[test]
fn the_rules_in_rust_and_in_the_definition_name_the_same_words() {
    let reserved = crds::RESERVED_TABLE_NAMES
        .map(|name| format!("'{}'", name.to_lowercase()))
        .join(", ");
    has_rule("spec.schema.nodes[]", &format!("in [{reserved}]"), "name");
    let reserved = crds::RESERVED_EDGE_PROPERTY_NAMES
        .map(|name| format!("'{name}'"))
        .join(", ");
    has_rule("spec.schema.edges[]", &format!("in [{reserved}]"), "properties");
    assert_eq!(at("spec.schema.nodes")["maxItems"], crds::MAX_NODE_TABLES);
    assert_eq!(
        at("spec.schema.nodes[].properties[].dimension")["maximum"],
        f64::from(crds::MAX_DIMENSION)
    );
    assert_eq!(at("spec.replicas")["maximum"], f64::from(crds::MAX_REPLICAS));
}

#[test]
fn lists_of_the_schema_are_maps_by_name_with_bounds() {
    for path in [
        "spec.schema.nodes",
        "spec.schema.edges",
        "spec.schema.nodes[].properties",
        "spec.schema.edges[].properties",
    ] {
        let list = at(path);
        assert_eq!(list["x-kubernetes-list-type"], "map", "{path}");
        assert_eq!(list["x-kubernetes-list-map-keys"][0], "name", "{path}");
        assert_eq!(list["maxItems"], 100, "{path}");
        let name = &at(&format!("{path}[]"))["properties"]["name"];
        assert_eq!(
            (&name["maxLength"], &name["pattern"]),
            (&63.into(), &crds::NAME_PATTERN.into()),
            "{path}"
        );
    }
    assert_eq!(at("status.conditions")["x-kubernetes-list-map-keys"][0], "type");
}

#[test]
fn pod_templates_keep_fields_this_build_does_not_know() {
    for role in ["spec.writer.podTemplate", "spec.replica.podTemplate"] {
        for path in [
            "",
            ".metadata",
            ".spec",
            ".spec.containers[]",
            ".spec.initContainers[]",
            ".spec.volumes[]",
        ] {
            let path = format!("{role}{path}");
            assert_eq!(at(&path)["x-kubernetes-preserve-unknown-fields"], true, "{path}");
        }
    }
}

#[test]
fn pod_templates_cannot_take_the_operators_labels_or_leave_an_image_out() {
    for role in ["spec.writer.podTemplate", "spec.replica.podTemplate"] {
        for (path, rule) in [
            ("metadata.labels", "!k.startsWith('slipstream.dev/')"),
            ("spec.containers", "has(c.image)"),
            ("spec.initContainers", "has(c.image)"),
        ] {
            let found = rules(&format!("{role}.{path}"));
            let (text, message, _) = found.first().expect("a rule");
            assert!(text.contains(rule), "{text}");
            let field = path.rsplit('.').next().unwrap_or_default();
            assert!(message.starts_with(field), "{message}");
        }
    }
}

#[test]
fn defaults_are_written_by_the_api_server_too() {
    assert_eq!(at("spec.replicas")["default"], 1);
    assert_eq!(
        at("spec.schema")["default"],
        serde_json::json!({"nodes": [], "edges": []})
    );
    assert_eq!(at("spec.events.pollInterval")["default"], "1s");
    assert_eq!(at("spec.snapshots.schedule")["default"], "*/15 * * * *");
    assert_eq!(at("spec.deletionPolicy")["default"], "Retain");
    assert_eq!(at("spec.schema.nodes[].properties[].required")["default"], false);
}

#[test]
fn no_field_may_be_null_and_no_format_is_unknown() {
    let yaml = crds::crd_yaml().unwrap();
    assert!(
        !yaml.contains("nullable"),
        "has() would be true for an explicit null"
    );
    assert!(!yaml.contains("- null"));
    assert!(!yaml.contains("format: uint"));
}

#[test]
fn a_size_that_is_no_quantity_is_refused_by_the_api_server() {
    let definition = definition();
    let text = serde_json::to_string(&definition).unwrap();
    let sizes = text.matches("\"x-kubernetes-int-or-string\":true").count();
    assert!(sizes >= 6, "{sizes}");
    assert_eq!(text.matches(r"^(\\+|-)?(([0-9]+").count(), sizes);
}
