//! The operator dies before its first write, before its second, and so on; the next one, started over what it left, must
//! arrive at the same objects each time. Once for a new graph, once for a changed one.

use std::time::Duration;

use serde_json::json;

use super::operator_process::OperatorProcess;
use super::{ScenarioError, Scene, chart};
use crate::objects::made::{MadeObjects, made_objects};
use crate::objects::{SmallGraph, Space};
use crate::wait::{Look, until_every};

/// Before which write the operator dies.
pub(super) const FAIL_POINT: &str = "operator::before_api_write";
/// For one operator to bring one graph to its end.
const ARRIVES: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(150);
/// No graph takes more writes.
const MOST_WRITES: usize = 60;

/// What the operator has to do when it dies.
#[derive(Debug, Clone, Copy)]
enum Work {
    Create,
    Change,
}

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let operator = Space::existing(&scene.stage.cluster, &scene.stage.client, chart::NAMESPACE);
    // The one that is installed would do the work of the one that dies.
    operator.pause_operator().await?;
    let outcome = die_everywhere(scene).await;
    operator.resume_operator().await?;
    outcome
}

async fn die_everywhere(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    // Objects are what counts here; pods would only take time.
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"},
        "spec": {"hard": {"pods": "0"}}});
    scene.space.apply(&quota).await?;
    for work in [Work::Create, Work::Change] {
        let reference = reference(scene, work).await?;
        let mut deaths = 0;
        while deaths < MOST_WRITES && dies(scene, work, deaths, &reference).await? {
            deaths += 1;
        }
        if !(2..MOST_WRITES).contains(&deaths) {
            return Err(ScenarioError::wrong(
                format!("writes to {work:?} a graph"),
                format!("2 to {MOST_WRITES}"),
                deaths,
            ));
        }
        scene.passed(format!(
            "{work:?}: died before each of {deaths} writes; {} objects the same each time",
            reference.len()
        ));
        scene.figure(
            format!("operator killed at every write, {work:?}"),
            format!("{deaths} of {deaths} converge"),
        );
    }
    Ok(())
}

/// The objects that an operator makes which is left in peace.
async fn reference(scene: &Scene<'_>, work: Work) -> Result<MadeObjects, ScenarioError> {
    let name = "reference";
    let mut operator = OperatorProcess::start(scene.stage, &scene.space.namespace, "")?;
    apply(scene, name, false).await?;
    settled(scene, &mut operator, name).await?;
    if let Work::Change = work {
        apply(scene, name, true).await?;
        settled(scene, &mut operator, name).await?;
    }
    let objects = made_objects(&scene.space, name).await?;
    operator.kill().await?;
    remove(&scene.space, name).await?;
    Ok(objects)
}

/// Lets an operator die before its write number `writes` (from 0), and another one finish. False when it has no such write.
async fn dies(
    scene: &Scene<'_>,
    work: Work,
    writes: usize,
    reference: &MadeObjects,
) -> Result<bool, ScenarioError> {
    let (name, namespace) = (format!("g{writes}"), &scene.space.namespace);
    apply(scene, &name, false).await?;
    if let Work::Change = work {
        let mut operator = OperatorProcess::start(scene.stage, namespace, "")?;
        settled(scene, &mut operator, &name).await?;
        operator.kill().await?;
        apply(scene, &name, true).await?;
    }
    let fail_points = format!("{FAIL_POINT}={writes}*off->return");
    let mut operator = OperatorProcess::start(scene.stage, namespace, &fail_points)?;
    let died = until_every(
        LOOK,
        "the operator to die or to arrive",
        ARRIVES,
        async || match (operator.ended(), arrived(scene, &name, reference).await) {
            (Err(error), _) => Look::Found(Err(error)),
            (Ok(Some(_)), _) => Look::Found(Ok(true)),
            (Ok(None), Ok(None)) => Look::Found(Ok(false)),
            (Ok(None), Ok(Some(missing))) => Look::NotYet(missing),
            (Ok(None), Err(error)) => Look::NotYet(error.to_string()),
        },
    )
    .await??;
    operator.kill().await?;
    if died {
        let mut operator = OperatorProcess::start(scene.stage, namespace, "")?;
        let what = format!("the objects after a death before write {writes}");
        let arrives = until_every(LOOK, &what, ARRIVES, async || {
            match arrived(scene, &name, reference).await {
                Ok(None) => Look::Found(()),
                Ok(Some(missing)) => Look::NotYet(missing),
                Err(error) => Look::NotYet(error.to_string()),
            }
        });
        if let Err(error) = arrives.await {
            println!("{}", operator.log_end());
            return Err(error.into());
        }
        operator.ended()?;
        operator.kill().await?;
    }
    remove(&scene.space, &name).await?;
    Ok(died)
}

async fn apply(scene: &Scene<'_>, name: &str, changed: bool) -> Result<(), ScenarioError> {
    let mut graph = SmallGraph::new(&scene.stage.backends, &scene.space.namespace, name, 1);
    if changed {
        let template = json!({"metadata": {"annotations": {"changed": "yes"}}});
        graph = graph.with(&json!({"spec": {
            "replicas": 2,
            "events": {"pollInterval": "9s"},
            "replica": {"podTemplate": template},
        }}));
    }
    scene.space.apply(graph.manifest()).await?;
    Ok(())
}

/// Waits until the status is about the newest generation and nothing changes any more.
async fn settled(scene: &Scene<'_>, operator: &mut OperatorProcess, name: &str) -> Result<(), ScenarioError> {
    let mut last = MadeObjects::new();
    let settled = until_every(
        Duration::from_millis(700),
        "a settled graph",
        ARRIVES,
        async || {
            if let Ok(Some(status)) = operator.ended() {
                return Look::NotYet(format!("the operator ended with {status}"));
            }
            if let Some(missing) = status_missing(scene, name).await {
                return Look::NotYet(missing);
            }
            match made_objects(&scene.space, name).await {
                Ok(now) if now == last && !now.is_empty() => Look::Found(()),
                Ok(now) => {
                    last = now;
                    Look::NotYet("objects still change".to_owned())
                }
                Err(error) => Look::NotYet(error.to_string()),
            }
        },
    );
    if let Err(error) = settled.await {
        println!("{}", operator.log_end());
        return Err(error.into());
    }
    Ok(())
}

async fn status_missing(scene: &Scene<'_>, name: &str) -> Option<String> {
    match scene.space.graph(name).await {
        Err(error) => Some(error.to_string()),
        Ok(graph) => {
            let observed = graph
                .status
                .as_ref()
                .and_then(|status| status.observed_generation);
            (observed != graph.metadata.generation)
                .then(|| format!("the status is about generation {observed:?}"))
        }
    }
}

/// What is different from the reference; none when it has arrived.
async fn arrived(
    scene: &Scene<'_>,
    name: &str,
    reference: &MadeObjects,
) -> Result<Option<String>, ScenarioError> {
    if let Some(missing) = status_missing(scene, name).await {
        return Ok(Some(missing));
    }
    let found = made_objects(&scene.space, name).await?;
    let mut keys: Vec<&String> = reference.keys().chain(found.keys()).collect();
    keys.dedup();
    let different = keys
        .into_iter()
        .find(|key| reference.get(*key) != found.get(*key));
    Ok(different.map(|key| {
        format!(
            "{key}: expected {:?}, found {:?}",
            reference.get(key),
            found.get(key)
        )
    }))
}

/// Without an operator there is nobody who would take the finalizer away.
async fn remove(space: &Space, name: &str) -> Result<(), ScenarioError> {
    space
        .patch_graph(name, &json!({"metadata": {"finalizers": null}}))
        .await?;
    space.kubectl(&["delete", "rgdb", name, "--wait=false"]).await?;
    Ok(())
}
