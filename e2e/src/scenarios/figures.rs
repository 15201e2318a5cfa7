//! Figures that need no running pods: 200 graphs on the real API server, the time from a change of one to its objects, what
//! the operator writes when nothing changes, and its memory.

use std::time::{Duration, Instant};

use crds::ReplicatedGraphDB;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{ScenarioError, Scene, burst, chart};
use crate::client::Node;
use crate::objects::processes::Processes;
use crate::objects::ready::LOOK;
use crate::objects::{SmallGraph, Space};
use crate::report::{Latencies, millis, seconds};
use crate::steps::{expect, expect_equal};
use crate::wait::{Look, until_every};

pub(super) const GRAPHS: usize = 200;
pub(super) const RECONCILED: Duration = Duration::from_secs(180);
/// The promises.
const APPLIED: Duration = Duration::from_secs(2);
const MEMORY: u64 = 100 << 20;
/// From one change to the next: ten a second, all of them different graphs.
const PACE: Duration = Duration::from_millis(100);
/// From one look at an object that is waited for to the next; the resolution of what is measured.
const RESOLUTION: Duration = Duration::from_millis(25);
/// So long nothing is changed, and nothing may be written.
const IDLE: Duration = Duration::from_secs(20);
const WRITES: &str = "slipstream_operator_api_writes_total";

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let space = scene.space.clone();
    // Objects are measured, not pods.
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"},
        "spec": {"hard": {"pods": "0"}}});
    space.apply(&quota).await?;
    let began = Instant::now();
    make_all(scene).await?;
    wait_reconciled(&space).await?;
    scene.figure(
        format!("{GRAPHS} resources created and reconciled"),
        seconds(began.elapsed()),
    );

    let latencies = change_each(&space, "11s").await?;
    scene.figure(
        format!("change to applied objects, {GRAPHS} resources, 10 changes/s"),
        latencies.summary(),
    );
    let p99 = latencies.percentile(99);
    expect(
        p99 <= APPLIED,
        "p99 from a change to applied objects",
        "at most 2 s",
        millis(p99),
    )?;
    let (burst, accepted) = burst::change_all(&space, "13s").await?;
    scene.figure(format!("the same, all {GRAPHS} changed at once"), burst.summary());
    scene.figure(
        "… of which the API server took to accept all changes",
        seconds(accepted),
    );

    let operator = Space::existing(&space.cluster, &space.client, chart::NAMESPACE);
    idle(scene, &operator).await?;
    memory(scene, &operator).await
}

pub(super) fn name(number: usize) -> String {
    format!("g{number:03}")
}

async fn make_all(scene: &Scene<'_>) -> Result<(), ScenarioError> {
    let graphs: Api<ReplicatedGraphDB> = scene.space.api();
    for number in 0..GRAPHS {
        let graph = SmallGraph::new(&scene.stage.backends, &scene.space.namespace, &name(number), 0);
        let resource: ReplicatedGraphDB =
            serde_json::from_value(graph.manifest().clone()).map_err(|error| {
                ScenarioError::wrong("the resource", "one that can be read", error.to_string())
            })?;
        graphs.create(&PostParams::default(), &resource).await?;
    }
    Ok(())
}

async fn wait_reconciled(space: &Space) -> Result<(), ScenarioError> {
    let graphs: Api<ReplicatedGraphDB> = space.api();
    let what = format!("{GRAPHS} resources with a status, and their writers");
    until_every(Duration::from_secs(1), &what, RECONCILED, async || {
        let seen = async {
            let list = graphs.list(&ListParams::default()).await?;
            let observed = list.items.iter().filter(|graph| {
                graph
                    .status
                    .as_ref()
                    .is_some_and(|status| status.observed_generation.is_some())
            });
            let writers = space
                .api::<StatefulSet>()
                .list_metadata(&ListParams::default())
                .await?;
            Ok::<_, kube::Error>((observed.count(), writers.items.len()))
        };
        match seen.await {
            Ok((GRAPHS, GRAPHS)) => Look::Found(()),
            Ok(seen) => Look::NotYet(format!("{seen:?}")),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    Ok(())
}

/// Changes the poll interval of one graph after the other, and takes the time until its ConfigMap has it.
async fn change_each(space: &Space, interval: &str) -> Result<Latencies, ScenarioError> {
    let mut measured = Vec::new();
    for number in 0..GRAPHS {
        let (space, interval) = (space.clone(), interval.to_owned());
        measured.push(tokio::spawn(change_one(space, name(number), interval)));
        tokio::time::sleep(PACE).await;
    }
    let mut latencies = Latencies::default();
    for task in measured {
        let outcome = task
            .await
            .map_err(|error| ScenarioError::wrong("a measurement", "an end", error.to_string()))?;
        latencies.add(outcome?);
    }
    Ok(latencies)
}

pub(super) fn has_text(map: &ConfigMap, text: &str) -> bool {
    map.data.iter().flatten().any(|(_, value)| value.contains(text))
}

async fn change_one(space: Space, graph: String, interval: String) -> Result<Duration, ScenarioError> {
    let patch = json!({"spec": {"events": {"pollInterval": interval}}});
    let graphs: Api<ReplicatedGraphDB> = space.api();
    let began = Instant::now();
    graphs
        .patch(&graph, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let (map, text) = (format!("{graph}-config"), format!("pollInterval: {interval}"));
    let config_maps: Api<ConfigMap> = space.api();
    let applied = async {
        loop {
            let found = config_maps.get(&map).await?;
            if has_text(&found, &text) {
                return Ok::<(), kube::Error>(());
            }
            tokio::time::sleep(RESOLUTION).await;
        }
    };
    match tokio::time::timeout(RECONCILED, applied).await {
        Ok(applied) => applied?,
        Err(_) => return Err(ScenarioError::wrong(map, text, "the old one")),
    }
    Ok(began.elapsed())
}

/// Nothing changes: nothing is written.
async fn idle(scene: &mut Scene<'_>, operator: &Space) -> Result<(), ScenarioError> {
    let node = Node::behind("operator", &operator.service_url(chart::DEPLOYMENT).await?);
    // First whatever the burst left to do.
    let mut last = f64::NAN;
    until_every(
        Duration::from_secs(8),
        "an operator that has nothing left to write",
        RECONCILED,
        async || match node.metric_sum(WRITES).await {
            Ok(now) if now == last => Look::Found(()),
            Ok(now) => {
                last = now;
                Look::NotYet(format!("{now} writes"))
            }
            Err(error) => Look::NotYet(error.to_string()),
        },
    )
    .await?;
    let before = node.metric_sum(WRITES).await?;
    tokio::time::sleep(IDLE).await;
    let writes = node.metric_sum(WRITES).await? - before;
    expect_equal(
        format!("writes to the API server in {} idle seconds", IDLE.as_secs()),
        &writes,
        &0.0,
    )?;
    scene.figure(
        format!(
            "writes of an idle operator with {GRAPHS} resources in {} s",
            IDLE.as_secs()
        ),
        "0",
    );
    Ok(())
}

async fn memory(scene: &mut Scene<'_>, operator: &Space) -> Result<(), ScenarioError> {
    let selector = ListParams::default().labels(chart::OPERATOR_PODS);
    let pods = operator.api::<Pod>().list(&selector).await?.items;
    let pod = pods
        .first()
        .ok_or_else(|| ScenarioError::wrong("the operator's pods", "one", "none"))?;
    let bytes = Processes::of(pod, chart::CONTAINER)?.resident_bytes()?;
    scene.figure(
        format!("operator's resident memory with {GRAPHS} resources"),
        format!("{} MiB", bytes >> 20),
    );
    expect(
        bytes <= MEMORY,
        "the operator's resident memory",
        "at most 100 MiB",
        bytes,
    )?;
    let what = "all graphs of this scenario to be gone before the next one";
    remove_all(scene, what).await
}

/// Two hundred graphs at their end would be in the way of whoever comes next.
async fn remove_all(scene: &Scene<'_>, what: &str) -> Result<(), ScenarioError> {
    let began = Instant::now();
    scene
        .space
        .kubectl(&["delete", "namespace", &scene.space.namespace, "--wait=false"])
        .await?;
    let graphs: Api<ReplicatedGraphDB> = scene.space.api();
    until_every(LOOK * 5, what, RECONCILED, async || {
        match graphs.list_metadata(&ListParams::default()).await {
            Ok(list) if list.items.is_empty() => Look::Found(()),
            Ok(list) => Look::NotYet(format!("{} left", list.items.len())),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    scene.passed(format!(
        "{GRAPHS} resources gone with their namespace after {}",
        seconds(began.elapsed())
    ));
    Ok(())
}
