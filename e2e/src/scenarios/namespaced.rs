//! The chart in `scope: Namespace`: an operator with rights in its own namespace only brings a graph up there, lets its
//! volume grow, and cleans up after it.

use serde_json::json;

use super::{GRAPH, ScenarioError, Scene, chart};
use crate::objects::Space;
use crate::objects::ready::{LOOK, START, conditions};
use crate::steps::expect;
use crate::wait::{Look, until_every};

const RELEASE: &str = "namespaced";

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let cluster_wide = Space::existing(&scene.stage.cluster, &scene.stage.client, chart::NAMESPACE);
    // The other one would do the work.
    cluster_wide.pause_operator().await?;
    let outcome = alone(scene).await;
    cluster_wide.resume_operator().await?;
    outcome
}

async fn alone(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let (stage, space) = (scene.stage, scene.space.clone());
    stage
        .chart
        .install_in(&stage.cluster, RELEASE, &space.namespace)
        .await?;
    scene.passed("chart installed with scope: Namespace");
    let elsewhere = scene.another_space("namespaced-elsewhere").await?;
    let other = crate::objects::SmallGraph::new(&stage.backends, &elsewhere.namespace, GRAPH, 0);
    elsewhere.apply(other.manifest()).await?;
    scene
        .start(&scene.small_graph(1).with_nats(&stage.backends), 1)
        .await?;
    space
        .patch_graph(GRAPH, &json!({"spec": {"writer": {"storage": {"size": "2Gi"}}}}))
        .await?;
    until_every(LOOK, "a claim of 2Gi", START, async || {
        match space
            .kubectl(&[
                "get",
                "pvc",
                "-o",
                "jsonpath={.items[*].spec.resources.requests.storage}",
            ])
            .await
        {
            Ok(said) if said.trim() == "2Gi" => Look::Found(()),
            Ok(said) => Look::NotYet(said),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    space.kubectl(&["delete", "rgdb", GRAPH, "--timeout=90s"]).await?;
    scene.passed("its graph came up, grew, and went away");
    let untouched = elsewhere.graph(GRAPH).await?;
    expect(
        untouched.status.is_none(),
        "a graph of another namespace",
        "no status",
        conditions(&untouched),
    )?;
    scene.passed("a graph of another namespace was left alone");
    stage
        .chart
        .uninstall(&stage.cluster, RELEASE, &space.namespace)
        .await
}
