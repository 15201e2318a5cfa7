//! Dashboard, alerts and docs ask only for metrics that the programs record.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::helm::{Helm, chart_file};
use crate::operations;

/// The metrics named in a text, without the endings that histograms add.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("slipstream_") && !word.starts_with("slipstream_dev_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

/// Everything between double quotes that looks like a metric, in all sources of the programs.
fn recorded() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.join("sidecar/src"), root.join("operator/src")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(path).unwrap();
                found.extend(
                    source
                        .split('"')
                        .filter(|text| named(text).contains(*text))
                        .map(str::to_owned),
                );
            }
        }
    }
    found
}

#[test]
fn every_metric_on_the_dashboard_in_an_alert_or_in_the_docs_is_recorded_somewhere() {
    let dashboard = chart_file("dashboards/slipstream.json");
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
    let alerts = Helm::new()
        .template(&[
            "--set=alerts.enabled=true".to_owned(),
            "--show-only=templates/alerts.yaml".to_owned(),
        ])
        .unwrap();
    let recorded = recorded();
    for text in [&dashboard, &alerts, &operations::page()] {
        let asked = named(text);
        assert!(asked.len() > 5, "{asked:?}");
        let missing: Vec<_> = asked.difference(&recorded).collect();
        assert!(missing.is_empty(), "nothing records {missing:?}");
    }
}
