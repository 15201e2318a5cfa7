//! docs/operations.md says what is so: its resources are valid, and it explains every condition, reason and alert.

use std::fs;
use std::path::Path;

use crds::{ConditionType, Reason, ReplicatedGraphDB};
use serde_yaml::Value;

use crate::helm::{Helm, objects};

pub(crate) fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    fs::read_to_string(path).unwrap()
}

/// The page's YAML examples.
fn examples() -> Vec<Value> {
    let page = page();
    let blocks = page.split("```yaml\n").skip(1);
    blocks
        .map(|block| {
            let (text, _) = block.split_once("```").unwrap();
            serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
        })
        .collect()
}

fn lay_over(base: &mut Value, over: &Value) {
    let Some(over) = over.as_mapping() else {
        *base = over.clone();
        return;
    };
    for (key, value) in over {
        match base.get_mut(key) {
            Some(below) if below.is_mapping() => lay_over(below, value),
            _ => {
                base.as_mapping_mut().unwrap().insert(key.clone(), value.clone());
            }
        }
    }
}

#[test]
fn every_graph_on_the_page_is_a_valid_resource_and_so_is_every_piece_of_one() {
    let examples = examples();
    let first = examples
        .iter()
        .find(|example| example["kind"] == "ReplicatedGraphDB");
    let mut pieces = 0;
    for example in &examples {
        let mut graph = first.unwrap().clone();
        match example.get("kind").and_then(Value::as_str) {
            Some("ReplicatedGraphDB") => graph = example.clone(),
            Some(_) => continue,
            None => lay_over(&mut graph, example),
        }
        pieces += 1;
        let text = serde_yaml::to_string(&graph).unwrap();
        let graph = ReplicatedGraphDB::from_yaml(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        graph.check().unwrap();
    }
    assert!(pieces >= 4, "{pieces}");
}

#[test]
fn the_autoscaler_on_the_page_points_at_the_graph_on_the_page() {
    let examples = examples();
    let of_kind = |kind: &str| examples.iter().find(|example| example["kind"] == kind).unwrap();
    let (graph, autoscaler) = (of_kind("ReplicatedGraphDB"), of_kind("HorizontalPodAutoscaler"));
    let target = &autoscaler["spec"]["scaleTargetRef"];
    assert_eq!(target["apiVersion"], graph["apiVersion"]);
    assert_eq!(target["kind"], graph["kind"]);
    assert_eq!(target["name"], graph["metadata"]["name"]);
    assert_eq!(
        autoscaler["metadata"]["namespace"],
        graph["metadata"]["namespace"]
    );
}

#[test]
fn every_condition_reason_and_alert_is_explained() {
    let page = page();
    let alerts = Helm::new()
        .template(&[
            "--set=alerts.enabled=true".to_owned(),
            "--show-only=templates/alerts.yaml".to_owned(),
        ])
        .unwrap();
    let groups: Vec<Value> = serde_yaml::from_value(objects(&alerts)[0]["spec"]["groups"].clone()).unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_sequence().unwrap());
    let alerts: Vec<String> = rules
        .map(|rule| rule["alert"].as_str().unwrap().to_owned())
        .collect();
    let conditions = ConditionType::ALL
        .iter()
        .map(|condition| format!("| `{condition}` |"));
    let reasons = Reason::ALL
        .iter()
        .map(|reason| format!("| `{reason}` | {} |", reason.explanation()));
    let missing: Vec<_> = conditions
        .chain(reasons)
        .chain(alerts)
        .filter(|expected| !page.contains(expected))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md lacks: {missing:#?}");
}
