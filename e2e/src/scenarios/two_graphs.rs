//! Two graphs of one name, in two namespaces, on one S3 server and one NATS server.

use super::{GRAPH, ScenarioError, Scene};
use crate::client::Query;
use crate::objects::ready::START;
use crate::objects::small_graph::{COUNT, items};
use crate::objects::{Role, SmallGraph, Space};
use crate::steps::expect_equal;

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let backends = &scene.stage.backends;
    let (one, two) = (
        scene.space.clone(),
        scene.another_space("two-graphs-other").await?,
    );
    for space in [&one, &two] {
        let graph = SmallGraph::new(backends, &space.namespace, GRAPH, 1).with_nats(backends);
        space.apply(graph.manifest()).await?;
    }
    for space in [&one, &two] {
        space.wait_ready(GRAPH, 1, START).await?;
        space.wait_services(GRAPH, true).await?;
    }
    scene.passed("both ready");
    write_and_read(&one, 30).await?;
    write_and_read(&two, 7).await?;
    scene.passed("each answers with its own items");

    let before = pods(&two).await?;
    one.kubectl(&["delete", "rgdb", GRAPH, "--timeout=60s"]).await?;
    for role in [Role::Writer, Role::Replica] {
        one.wait_pods(GRAPH, role, "none", START, <[_]>::is_empty).await?;
    }
    scene.passed("one deleted");
    expect_equal("pods of the other graph", &pods(&two).await?, &before)?;
    expect_equal("restarts of the other graph", &two.restarts(GRAPH).await?, &0)?;
    two.writer(GRAPH).await?.commit(&items(100..103)).await?;
    expect_equal("items of the other graph", &strong_count(&two).await?, &10)?;
    two.wait_ready(GRAPH, 1, START).await?;
    scene.passed("the other one goes on with the same pods and takes commits");
    Ok(())
}

async fn write_and_read(space: &Space, count: i64) -> Result<(), ScenarioError> {
    space.writer(GRAPH).await?.commit(&items(0..count)).await?;
    let found = strong_count(space).await?;
    expect_equal(
        format!("items in {}", space.namespace),
        &found,
        &count.unsigned_abs(),
    )?;
    Ok(())
}

async fn strong_count(space: &Space) -> Result<u64, ScenarioError> {
    Ok(space
        .readers(GRAPH)
        .await?
        .count(&Query::new(COUNT).strong())
        .await?)
}

async fn pods(space: &Space) -> Result<Vec<String>, ScenarioError> {
    let mut pods = space.pod_views(GRAPH, Role::Writer).await?;
    pods.extend(space.pod_views(GRAPH, Role::Replica).await?);
    Ok(pods.into_iter().map(|pod| pod.uid).collect())
}
