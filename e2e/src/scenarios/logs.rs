//! What is left of a scenario: the ends of logs when it failed, and namespaces to remove.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};

use super::{Scene, Stage};
use crate::objects::Space;
use crate::objects::pods::container_statuses;

/// Read of the operator's log; printed is what is about the scenario, and what is a warning.
const OPERATOR_LINES: i64 = 1000;
const POD_LINES: i64 = 20;
const PRINTED: usize = 40;

/// Ends of the logs of the operator and of every pod of the scenario, with events and resources.
pub(super) async fn ends(stage: &Stage, scene: &Scene<'_>) -> String {
    let mut text = String::new();
    let operator = Space::existing(&stage.cluster, &stage.client, super::chart::NAMESPACE);
    let concerns = |line: &&str| {
        scene.spaces().any(|space| line.contains(&space.namespace))
            || ["--- ", "WARN", "ERROR", "panic"]
                .iter()
                .any(|word| line.contains(word))
    };
    let log = logs_of(&operator, OPERATOR_LINES).await;
    let lines: Vec<&str> = log.lines().filter(concerns).collect();
    text += &lines[lines.len().saturating_sub(PRINTED)..].join("\n");
    text.push('\n');
    for space in scene.spaces() {
        let looks: [&[&str]; 2] = [
            &["get", "rgdb,pods,jobs,pvc", "-o", "wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
        ];
        for args in looks {
            let said = match space.kubectl(args).await {
                Ok(said) => last_lines(&said, 25),
                Err(error) => error.to_string(),
            };
            text += &format!("--- {}: kubectl {}\n{said}\n", space.namespace, args.join(" "));
        }
        text += &logs_of(space, POD_LINES).await;
    }
    text
}

async fn logs_of(space: &Space, lines: i64) -> String {
    let pods: Api<Pod> = space.api();
    let found = match pods.list(&ListParams::default()).await {
        Ok(found) => found.items,
        Err(error) => return format!("--- {}: {error}\n", space.namespace),
    };
    let mut text = String::new();
    for pod in &found {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        for status in container_statuses(pod) {
            for previous in [true, false] {
                if previous && status.restart_count == 0 {
                    continue;
                }
                let parameters = LogParams {
                    container: Some(status.name.clone()),
                    tail_lines: Some(lines),
                    previous,
                    ..LogParams::default()
                };
                let log = pods.logs(name, &parameters).await;
                let log = log.unwrap_or_else(|error| format!("(failed to read it: {error})\n"));
                let which = if previous { ", the run before" } else { "" };
                text += &format!(
                    "--- {}/{name} {}{which}, end of the log\n{log}",
                    space.namespace, status.name
                );
            }
        }
    }
    text
}

/// Deletes the scenario's namespaces without waiting for it: `namespace_deleted` proves that this ends.
pub(super) async fn remove_spaces(scene: &Scene<'_>) {
    for space in scene.spaces() {
        let args = [
            "delete",
            "namespace",
            &space.namespace,
            "--wait=false",
            "--ignore-not-found",
        ];
        if let Err(error) = space.cluster.kubectl(args).await {
            scene.say(format!("! {error}"));
        }
    }
}

fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
