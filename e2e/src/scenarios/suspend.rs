//! `suspend: true`: the operator leaves everything as it is, says so, and makes up for it afterwards.

use serde_json::json;

use super::{GRAPH, ScenarioError, Scene};
use crate::objects::Role;
use crate::objects::made::made_objects;
use crate::objects::ready::{START, condition};
use crate::steps::expect_equal;

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    scene.start(&scene.small_graph(0), 0).await?;
    let space = scene.space.clone();
    let before = made_objects(&space, GRAPH).await?;
    let patch = json!({"spec": {"suspend": true, "replicas": 1, "events": {"pollInterval": "5s"}}});
    space.patch_graph(GRAPH, &patch).await?;
    space
        .wait_graph(GRAPH, "Suspended, about the newest generation", START, |graph| {
            let observed = graph
                .status
                .as_ref()
                .and_then(|status| status.observed_generation);
            condition(graph, "Progressing").1 == "Suspended" && observed == graph.metadata.generation
        })
        .await?;
    expect_equal(
        "objects of a suspended graph",
        &made_objects(&space, GRAPH).await?,
        &before,
    )?;
    expect_equal(
        "replicas of a suspended graph",
        &space.pods(GRAPH, Role::Replica).await?.len(),
        &0,
    )?;
    scene.passed("suspended: the status says so, and nothing was changed");
    space
        .patch_graph(GRAPH, &json!({"spec": {"suspend": false}}))
        .await?;
    space.wait_ready(GRAPH, 1, START).await?;
    scene.passed("goes on: what was asked for meanwhile is done");
    Ok(())
}
