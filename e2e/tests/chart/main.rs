//! The Helm chart as the real helm renders it, without a cluster: lint, committed snapshots, refusals of its schema; and
//! docs/operations.md beside it.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test … --test chart` writes `snapshots/` anew; read the difference before committing it.
//! The CRD and the dashboard are left out of them: each is compared with the file that it is.

#![expect(clippy::unwrap_used, reason = "what fails fails the test")]

mod fields;
mod helm;
mod metrics;
mod operations;
mod refusals;
mod rights;

use std::fs;

use crds::ReplicatedGraphDB;
use serde_yaml::Value;

use helm::{Helm, beside, chart_file, objects, values};

const CASES: [&str; 3] = ["defaults", "namespace", "everything"];

#[test]
fn the_chart_passes_lint_with_every_kind_of_values() {
    let helm = Helm::new();
    for case in CASES {
        helm.lint(&values(case))
            .unwrap_or_else(|printed| panic!("{case}: {printed}"));
    }
}

#[test]
fn the_rendered_manifests_are_the_committed_ones() {
    let helm = Helm::new();
    let mut changed = Vec::new();
    for case in CASES {
        let rendered = without_generated_parts(&helm.template(&values(case)).unwrap());
        let path = beside(&format!("snapshots/{case}.yaml"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&path, &rendered).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        if let Some(difference) = first_difference(&committed, &rendered) {
            changed.push(format!("{}: {difference}", path.display()));
        }
    }
    assert!(
        changed.is_empty(),
        "rendered differently; UPDATE_SNAPSHOTS=1 writes the files anew:\n{}",
        changed.join("\n")
    );
}

/// The rendering without the CRD, and with the dashboard's content replaced by the name of its file.
fn without_generated_parts(manifests: &str) -> String {
    let indented = |line: &str| format!("    {line}\n");
    let dashboard: String = chart_file("dashboards/slipstream.json")
        .lines()
        .map(indented)
        .collect();
    let manifests = manifests.replace(&dashboard, "    (the content of dashboards/slipstream.json)\n");
    let mut parts: Vec<&str> = manifests.split("---\n").map(str::trim).collect();
    parts.retain(|part| !part.is_empty() && !part.contains("templates/crd-replicatedgraphdb.yaml"));
    parts.join("\n---\n") + "\n"
}

/// Line number and both lines where two texts part.
fn first_difference(committed: &str, rendered: &str) -> Option<String> {
    let (mut left, mut right) = (committed.lines(), rendered.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (committed, rendered) if committed == rendered => {}
            (committed, rendered) => {
                let shown = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return Some(format!(
                    "line {number}: committed `{}`, rendered `{}`",
                    shown(committed),
                    shown(rendered)
                ));
            }
        }
    }
    None
}

#[test]
fn the_definition_is_installed_as_generated_and_kept_on_uninstall() {
    let helm = Helm::new();
    let definitions = definitions(&helm, &[]);
    // That the file is what the types generate is a test of `crds`.
    let generated: Value = serde_yaml::from_str(&chart_file("templates/crd-replicatedgraphdb.yaml")).unwrap();
    assert!(definitions == [generated], "the CRD is not rendered as it is");
    let policy = &definitions[0]["metadata"]["annotations"]["helm.sh/resource-policy"];
    assert_eq!(policy, "keep");
}

#[test]
fn a_further_release_of_a_cluster_leaves_the_definition_out() {
    let without = ["--set=crds.install=false".to_owned()];
    assert!(
        definitions(&Helm::new(), &without).is_empty(),
        "crds.install=false has no effect"
    );
}

fn definitions(helm: &Helm, values: &[String]) -> Vec<Value> {
    let mut all = objects(&helm.template(values).unwrap());
    all.retain(|object| object["kind"] == "CustomResourceDefinition");
    all
}

#[test]
fn the_graph_in_the_notes_is_a_valid_resource() {
    let notes = Helm::new().notes(&[]);
    let (_, after) = notes.split_once("<<'END'\n").unwrap();
    let (indented, _) = after.split_once("\n  END\n").unwrap();
    let lines: Vec<&str> = indented
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap())
        .collect();
    let graph = ReplicatedGraphDB::from_yaml(&lines.join("\n")).unwrap();
    graph.check().unwrap();
    let name = graph.metadata.name.unwrap();
    for command in [
        format!("rgdb/{name} --replicas=4"),
        format!("service/{name}-read 7701:80"),
    ] {
        assert!(notes.contains(&command), "`{command}` is not in {notes}");
    }
}

#[test]
fn every_value_is_in_the_schema_and_every_field_of_the_schema_has_a_default() {
    let schema: Value = serde_yaml::from_str(&chart_file("values.schema.json")).unwrap();
    let defaults: Value = serde_yaml::from_str(&chart_file("values.yaml")).unwrap();
    let (mut in_schema, mut in_values) = (Vec::new(), Vec::new());
    for (name, field) in schema["properties"].as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        // Given by helm to a chart that is part of another one; the next three are Kubernetes' own fields.
        if name == "global" {
            continue;
        }
        in_schema.push(name.to_owned());
        let below = field["properties"].as_mapping();
        if let Some(below) = below.filter(|_| !["resources", "affinity"].contains(&name)) {
            let names = below
                .keys()
                .map(|key| format!("{name}.{}", key.as_str().unwrap()));
            in_schema.extend(names);
        }
    }
    for (name, value) in defaults.as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        in_values.push(name.to_owned());
        if let Some(below) = value.as_mapping().filter(|_| name != "resources") {
            let names = below
                .keys()
                .map(|key| format!("{name}.{}", key.as_str().unwrap()));
            in_values.extend(names);
        }
    }
    in_schema.sort();
    in_values.sort();
    assert_eq!(in_schema, in_values);
}
