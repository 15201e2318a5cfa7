//! The chart is upgraded to other images of operator and sidecar: graphs that exist keep their pods to the byte.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use serde_json::{Value, json};

use super::two_operators::wait_config;
use super::{GRAPH, ScenarioError, Scene};
use crate::cluster::{OPERATOR_IMAGE, SIDECAR_IMAGE};
use crate::objects::ready::START;
use crate::objects::{Role, Space};
use crate::steps::expect_equal;

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    scene.start(&scene.small_graph(1), 1).await?;
    let (stage, space) = (scene.stage, scene.space.clone());
    let before = (templates(&space).await?, uids(&space).await?);

    let images = [next(OPERATOR_IMAGE), next(SIDECAR_IMAGE)];
    for (old, new) in [OPERATOR_IMAGE, SIDECAR_IMAGE].iter().zip(&images) {
        stage.cluster.tag_image(old, new).await?;
    }
    let outcome = upgraded(scene, &images, &before).await;
    // Also after a failure: the scenarios that follow expect the images of this run.
    stage.chart.upgrade(&stage.cluster, &[]).await?;
    outcome
}

async fn upgraded(
    scene: &Scene<'_>,
    [operator, sidecar]: &[String; 2],
    before: &(Vec<Value>, Vec<String>),
) -> Result<(), ScenarioError> {
    let (stage, space) = (scene.stage, &scene.space);
    stage
        .chart
        .upgrade_images(&stage.cluster, operator, sidecar)
        .await?;
    scene.passed(format!(
        "operator upgraded to {operator}, sidecars of new graphs to {sidecar}"
    ));
    // Proves that the new operator has reconciled the graph.
    space
        .patch_graph(GRAPH, &json!({"spec": {"events": {"pollInterval": "3s"}}}))
        .await?;
    wait_config(space, "pollInterval: 3s", START).await?;
    space.wait_ready(GRAPH, 1, START).await?;
    expect_equal(
        "pod templates after the upgrade",
        &templates(space).await?,
        &before.0,
    )?;
    expect_equal("pods after the upgrade", &uids(space).await?, &before.1)?;
    expect_equal("restarts", &space.restarts(GRAPH).await?, &0)?;
    scene.passed("pod templates unchanged to the byte, the same pods, no restart");
    Ok(())
}

/// `repository:next`
fn next(image: &str) -> String {
    let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
    format!("{repository}:next")
}

async fn templates(space: &Space) -> Result<Vec<Value>, ScenarioError> {
    let writer = space.api::<StatefulSet>().get(&format!("{GRAPH}-writer")).await?;
    let replica = space.api::<Deployment>().get(&format!("{GRAPH}-replica")).await?;
    Ok(vec![json!(writer.spec.template), json!(replica.spec.template)])
}

async fn uids(space: &Space) -> Result<Vec<String>, ScenarioError> {
    let mut pods = space.pod_views(GRAPH, Role::Writer).await?;
    pods.extend(space.pod_views(GRAPH, Role::Replica).await?);
    Ok(pods.into_iter().map(|pod| pod.uid).collect())
}
