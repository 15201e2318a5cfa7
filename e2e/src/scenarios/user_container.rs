//! A user's container beside the sidecar: its first question, asked as soon as it starts, must be answered in full.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde_json::json;

use super::{GRAPH, ScenarioError, Scene};
use crate::cluster::SIDECAR_IMAGE;
use crate::objects::ready::{LOOK, START};
use crate::objects::small_graph::{COUNT, items};
use crate::objects::{Role, Space};
use crate::steps::expect;
use crate::wait::{Look, until_every};

const CONTAINER: &str = "app";
const ITEMS: i64 = 20_000;
/// For a started container to write its first line.
const FIRST_LINE: Duration = Duration::from_secs(60);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let graph = scene.small_graph(0);
    scene.start(&graph, 0).await?;
    let space = scene.space.clone();
    space.writer(GRAPH).await?.commit(&items(0..ITEMS)).await?;
    scene.passed(format!("{ITEMS} items committed while there is no replica"));

    // Asks once, without a second try, and then stays.
    let ask = format!("slipstream query --server http://127.0.0.1:8080 '{COUNT}'; exec sleep infinity");
    let container = json!({
        "name": CONTAINER,
        "image": SIDECAR_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", ask],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    });
    let patch =
        json!({"spec": {"replicas": 1, "replica": {"podTemplate": {"spec": {"containers": [container]}}}}});
    space.patch_graph(GRAPH, &patch).await?;
    space.wait_ready(GRAPH, 1, START).await?;
    scene.passed("a replica with a user's container beside it is ready");
    let said = first_line(&space).await?;
    expect(
        said.contains(&ITEMS.to_string()),
        "the first answer that the user's container got",
        format!("all {ITEMS} items"),
        &said,
    )?;
    let pods = space.pods(GRAPH, Role::Replica).await?;
    let sidecar_is_native = pods.iter().all(|pod| {
        let spec = pod.spec.clone().unwrap_or_default();
        spec.init_containers.unwrap_or_default().iter().any(|container| {
            container.name == "sidecar" && container.restart_policy.as_deref() == Some("Always")
        })
    });
    expect(
        sidecar_is_native,
        "the sidecar",
        "an init container that always restarts",
        "another form",
    )?;
    expect(
        space.restarts(GRAPH).await? == 0,
        "restarts",
        "none",
        space.restarts(GRAPH).await?,
    )?;
    scene.passed("it started when the graph had caught up: its first question had the whole answer");
    Ok(())
}

/// What the user's container has written, once it has written an answer or a complaint.
async fn first_line(space: &Space) -> Result<String, ScenarioError> {
    let pods: Api<Pod> = space.api();
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        ..LogParams::default()
    };
    let found = until_every(LOOK, "a line of the user's container", FIRST_LINE, async || {
        let replicas = space.ready_replicas(GRAPH).await;
        let Some(pod) = replicas.ok().and_then(|replicas| replicas.into_iter().next()) else {
            return Look::NotYet("no ready replica".to_owned());
        };
        match pods.logs(&pod.name, &parameters).await {
            Ok(log) if log.contains('\n') => Look::Found(log),
            Ok(log) => Look::NotYet(log),
            Err(error) => Look::NotYet(error.to_string()),
        }
    });
    Ok(found.await?)
}
