//! The writer's volume claim grows with the resource, without another writer pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use super::{GRAPH, ScenarioError, Scene};
use crate::objects::Role;
use crate::objects::ready::LOOK;
use crate::steps::expect_equal;
use crate::wait::{Look, until_every};

const GROWS: Duration = Duration::from_secs(30);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    scene.start(&scene.small_graph(0), 0).await?;
    let space = scene.space.clone();
    let before = space.pod_views(GRAPH, Role::Writer).await?;
    space
        .patch_graph(GRAPH, &json!({"spec": {"writer": {"storage": {"size": "2Gi"}}}}))
        .await?;
    let claim = format!("data-{GRAPH}-writer-0");
    let what = format!("the claim {claim} asks for 2Gi");
    until_every(LOOK, &what, GROWS, async || {
        match space.api::<PersistentVolumeClaim>().get(&claim).await {
            Ok(found) => match requested(&found).as_deref() {
                Some("2Gi") => Look::Found(()),
                other => Look::NotYet(format!("it asks for {other:?}")),
            },
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    scene.passed(what);
    // The operator must arrive at rest with it, and the writer must not notice.
    space.wait_ready(GRAPH, 0, GROWS).await?;
    expect_equal(
        "the writer's pod",
        &space.pod_views(GRAPH, Role::Writer).await?,
        &before,
    )?;
    scene.passed("the same writer pod, no restart");
    Ok(())
}

fn requested(claim: &PersistentVolumeClaim) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|quantity| quantity.0.clone())
}
