//! A replica's process is stopped from outside: nothing crashes, it only does not answer any more.

use std::time::{Duration, Instant};

use super::{GRAPH, ScenarioError, Scene};
use crate::objects::Role;
use crate::objects::pods::{PodView, SIDECAR};
use crate::objects::processes::{Frozen, Processes};
use crate::objects::ready::{START, condition};
use crate::objects::small_graph::items;
use crate::report::seconds;

/// The promise.
const NAMED_WITHIN: Duration = Duration::from_secs(15);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    scene.start(&scene.small_graph(2), 2).await?;
    let space = scene.space.clone();
    let writer = space.writer(GRAPH).await?;
    writer.commit(&items(0..10)).await?;
    let pods = space.pods(GRAPH, Role::Replica).await?;
    let pod = pods
        .first()
        .ok_or_else(|| ScenarioError::wrong("replica pods", "two", "none"))?;
    let name = PodView::of(pod).name;

    let frozen = Frozen::now(Processes::of(pod, SIDECAR)?)?;
    let since = Instant::now();
    let named = |message: &str| message.contains(&name);
    let what = format!("Degraded names {name}");
    let graph = space
        .wait_graph(GRAPH, &what, NAMED_WITHIN, |graph| {
            let (status, _, message) = condition(graph, "Degraded");
            status == "True" && named(&message)
        })
        .await?;
    let (_, reason, message) = condition(&graph, "Degraded");
    scene.passed(format!("{reason}: {message}"));
    scene.figure(
        "frozen replica to Degraded with its name",
        seconds(since.elapsed()),
    );
    // Readers of the other one, and the writer, are not concerned.
    writer.commit(&items(10..20)).await?;

    drop(frozen);
    let thawed = Instant::now();
    space.wait_condition(GRAPH, ("Degraded", "False"), START).await?;
    scene.figure("replica goes on to Degraded cleared", seconds(thawed.elapsed()));
    space.wait_ready(GRAPH, 2, START).await?;
    scene.passed("ready again");
    Ok(())
}
