//! Two operators: one leads; its pod is deleted, and the other takes over; that one is frozen, and the first takes over again.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::json;

use super::{GRAPH, ScenarioError, Scene, chart};
use crate::objects::Space;
use crate::objects::processes::{Frozen, Processes};
use crate::objects::ready::{LOOK, START};
use crate::report::seconds;
use crate::steps::expect;
use crate::wait::{Look, until_every};

/// The promise.
const TAKEOVER: Duration = Duration::from_secs(20);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let stage = scene.stage;
    stage
        .chart
        .upgrade(&stage.cluster, &["--set", "replicas=2"])
        .await?;
    let outcome = take_over(scene).await;
    // Also after a failure: the scenarios that follow expect one.
    stage
        .chart
        .upgrade(&stage.cluster, &["--set", "replicas=1"])
        .await?;
    outcome
}

async fn take_over(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let (stage, space) = (scene.stage, scene.space.clone());
    let operator = Space::existing(&stage.cluster, &stage.client, chart::NAMESPACE);
    wait_both(&operator).await?;
    // No pods are needed to see who reconciles.
    space.apply(scene.small_graph(0).manifest()).await?;
    wait_config(&space, "pollInterval: 1s", START).await?;

    let leader = holder(&operator).await?;
    scene.passed(format!("{leader} leads"));
    let deleted = Instant::now();
    operator
        .kubectl(&["delete", "pod", &leader, "--force", "--grace-period=0"])
        .await?;
    follow(scene, &operator, &leader, deleted, "deleted", "7s").await?;

    // A process that is stopped neither gives its lease up nor closes its connections.
    wait_both(&operator).await?;
    let leader = holder(&operator).await?;
    let pod = operator.api::<Pod>().get(&leader).await?;
    let frozen = Frozen::now(Processes::of(&pod, chart::CONTAINER)?)?;
    let stopped = Instant::now();
    follow(scene, &operator, &leader, stopped, "frozen", "8s").await?;
    drop(frozen);
    // The old leader comes back to itself and must not lead beside the new one.
    change(&space, "9s", TAKEOVER).await?;
    let leads = holder(&operator).await?;
    expect(
        leads != leader,
        "who leads when the frozen leader goes on",
        "the other one",
        &leads,
    )?;
    scene.passed(format!("{leader} goes on, {leads} still leads"));
    Ok(())
}

/// Waits until another one leads and does the work of one that is no more since `since`.
async fn follow(
    scene: &mut Scene<'_>,
    operator: &Space,
    old: &str,
    since: Instant,
    how: &str,
    interval: &str,
) -> Result<(), ScenarioError> {
    let next = until_every(LOOK, "another leader", TAKEOVER, async || {
        match holder(operator).await {
            Ok(next) if next != old && !next.is_empty() => Look::Found(next),
            Ok(next) => Look::NotYet(format!("{next} leads")),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    let leads = since.elapsed();
    change(&scene.space, interval, TAKEOVER).await?;
    let works = since.elapsed();
    let what = format!("from a leader {how} to the next change reconciled");
    expect(works <= TAKEOVER, what, "at most 20 s", seconds(works))?;
    scene.passed(format!("{old} {how}: {next} leads and reconciles"));
    scene.figure(format!("leading operator {how}, the other leads"), seconds(leads));
    scene.figure(
        format!("leading operator {how}, a change is reconciled"),
        seconds(works),
    );
    Ok(())
}

/// Changes the graph and waits for the operator's answer to it.
async fn change(space: &Space, interval: &str, within: Duration) -> Result<(), ScenarioError> {
    let patch = json!({"spec": {"events": {"pollInterval": interval}}});
    space.patch_graph(GRAPH, &patch).await?;
    wait_config(space, &format!("pollInterval: {interval}"), within).await
}

async fn wait_both(operator: &Space) -> Result<(), ScenarioError> {
    let args = [
        "rollout",
        "status",
        "deployment",
        chart::DEPLOYMENT,
        "--timeout=60s",
    ];
    operator.kubectl(&args).await?;
    Ok(())
}

/// Waits until the graph's ConfigMap has that text.
pub(super) async fn wait_config(space: &Space, text: &str, within: Duration) -> Result<(), ScenarioError> {
    let what = format!("`{text}` in the ConfigMap {GRAPH}-config");
    let found = until_every(LOOK, &what, within, async || {
        match space.api::<ConfigMap>().get_opt(&format!("{GRAPH}-config")).await {
            Ok(Some(map)) => {
                let yaml = map
                    .data
                    .unwrap_or_default()
                    .remove("config.yaml")
                    .unwrap_or_default();
                if yaml.contains(text) {
                    Look::Found(())
                } else {
                    Look::NotYet(yaml)
                }
            }
            Ok(None) => Look::NotYet("no ConfigMap".to_owned()),
            Err(error) => Look::NotYet(error.to_string()),
        }
    });
    Ok(found.await?)
}

async fn holder(operator: &Space) -> Result<String, ScenarioError> {
    let lease = operator.api::<Lease>().get(chart::LEASE).await?;
    Ok(lease
        .spec
        .and_then(|spec| spec.holder_identity)
        .unwrap_or_default())
}
