//! The operator dies before each of its writes while it removes a graph; the next one must finish the removal, with the
//! cleanup done and not given up. Each death in a namespace and with an operator of its own, so that removals overlap.

use std::time::{Duration, Instant};

use serde_json::json;

use super::deletion::left;
use super::operator_killed::FAIL_POINT;
use super::operator_process::OperatorProcess;
use super::{GRAPH, ScenarioError, Scene, chart};
use crate::objects::ready::LOOK;
use crate::objects::{SmallGraph, Space};
use crate::report::seconds;
use crate::steps::expect;
use crate::wait::{Look, until_every};

/// Less than the operator's own bound: a removal that only ends by giving up is too late.
const REMOVED: Duration = Duration::from_secs(75);
const MADE: Duration = Duration::from_secs(30);
/// A removal takes fewer writes.
const MOST_WRITES: usize = 12;

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let installed = Space::existing(&scene.stage.cluster, &scene.stage.client, chart::NAMESPACE);
    installed.pause_operator().await?;
    let outcome = die_everywhere(scene).await;
    installed.resume_operator().await?;
    outcome
}

async fn die_everywhere(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let began = Instant::now();
    let mut successors = Vec::new();
    for writes in 0..MOST_WRITES {
        let space = scene.another_space(&format!("operator-killed-{writes}")).await?;
        make(scene, &space).await?;
        space.kubectl(&["delete", "rgdb", GRAPH, "--wait=false"]).await?;
        if !dies(scene, &space, writes).await? {
            break;
        }
        let successor = OperatorProcess::start(scene.stage, &space.namespace, "")?;
        successors.push((space, successor));
    }
    let deaths = successors.len();
    let range = format!("2 to {MOST_WRITES}");
    expect(
        (2..MOST_WRITES).contains(&deaths),
        "writes of a removal",
        range,
        deaths,
    )?;
    for (space, successor) in successors {
        let removed = wait_removed(&space).await;
        if removed.is_err() {
            println!("{}", successor.log_end());
        }
        removed?;
        let events = space
            .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
            .await?;
        let cleaned = events.split(' ').any(|reason| reason == "CleanedUp");
        expect(
            cleaned,
            format!("events in {}", space.namespace),
            "CleanedUp",
            events,
        )?;
        successor.kill().await?;
    }
    scene.passed(format!(
        "died before each of {deaths} writes of a removal; each was finished by the next operator, all in {}",
        seconds(began.elapsed())
    ));
    scene.figure(
        "operator killed at every write, Delete",
        format!("{deaths} of {deaths} finish"),
    );
    Ok(())
}

/// A graph with a writer and no replica.
async fn make(scene: &Scene<'_>, space: &Space) -> Result<(), ScenarioError> {
    let operator = OperatorProcess::start(scene.stage, &space.namespace, "")?;
    let graph = SmallGraph::new(&scene.stage.backends, &space.namespace, GRAPH, 0)
        .with(&json!({"spec": {"writer": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 5}}}}}));
    space.apply(graph.manifest()).await?;
    space
        .wait_graph(GRAPH, "a writer that serves", MADE, |graph| {
            let writer = graph.status.as_ref().and_then(|status| status.writer.as_ref());
            writer.is_some_and(|writer| writer.ready)
        })
        .await?;
    operator.kill().await
}

/// Whether an operator that removes the graph has a write number `writes` (from 0) to die before.
async fn dies(scene: &Scene<'_>, space: &Space, writes: usize) -> Result<bool, ScenarioError> {
    let fail_points = format!("{FAIL_POINT}={writes}*off->return");
    let mut operator = OperatorProcess::start(scene.stage, &space.namespace, &fail_points)?;
    let died = until_every(
        LOOK,
        "the operator to die or to finish",
        REMOVED,
        async || match operator.ended() {
            Err(error) => Look::Found(Err(error)),
            Ok(Some(_)) => Look::Found(Ok(true)),
            Ok(None) => match is_gone(space).await {
                Ok(true) => Look::Found(Ok(false)),
                Ok(false) => Look::NotYet("it works".to_owned()),
                Err(error) => Look::NotYet(error.to_string()),
            },
        },
    )
    .await??;
    operator.kill().await?;
    Ok(died)
}

async fn is_gone(space: &Space) -> Result<bool, ScenarioError> {
    let graphs = space.api::<crds::ReplicatedGraphDB>();
    Ok(graphs.get_opt(GRAPH).await?.is_none())
}

async fn wait_removed(space: &Space) -> Result<(), ScenarioError> {
    let what = format!("the graph in {} to be removed", space.namespace);
    until_every(LOOK, &what, REMOVED, async || {
        match (is_gone(space).await, left(space).await) {
            (Ok(true), Ok(left)) if left.is_empty() => Look::Found(()),
            (Ok(gone), Ok(left)) => Look::NotYet(format!("resource gone: {gone}; {}", left.join(", "))),
            (Err(error), _) | (_, Err(error)) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    Ok(())
}
