//! A graph is deleted: its objects go, what lives outside the cluster goes, and its data stays unless the resource says so.
//! Once in the background, and once in the foreground, where the garbage collector takes what is owned while the cleaning has yet to run.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use serde_json::json;

use super::{GRAPH, ScenarioError, Scene};
use crate::client::Query;
use crate::objects::jetstream::consumers;
use crate::objects::ready::LOOK;
use crate::objects::small_graph::{COUNT, items};
use crate::objects::{Role, Space};
use crate::report::seconds;
use crate::steps::{expect, expect_equal};
use crate::wait::{Look, until_every};

const GONE_WITHIN: Duration = Duration::from_secs(90);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let (space, bucket) = (scene.space.clone(), scene.bucket().await?);
    let graph = scene.small_graph(1).with_nats(&scene.stage.backends);
    scene.start(&graph, 1).await?;
    space.writer(GRAPH).await?.commit(&items(0..10)).await?;

    let backends = scene.stage.backends_space();
    let prefix = format!("{}_{GRAPH}_", space.namespace);
    let before = consumers(&backends, &prefix).await?;
    expect_equal("JetStream consumers of one replica", &before.len(), &1)?;
    let took = delete(&space, "background").await?;
    expect_equal(
        "JetStream consumers after the deletion",
        &consumers(&backends, &prefix).await?,
        &Vec::new(),
    )?;
    scene.figure("graph deleted, all of its objects gone", seconds(took));
    expect_equal("leases after the deletion", &bucket.leases().await?, &Vec::new())?;
    let kept = bucket.list("commits").await?;
    expect(
        !kept.is_empty(),
        "the commit log of a deleted graph",
        "all of its commits",
        &kept,
    )?;
    scene.passed(format!(
        "Retain: no object, no lease, no consumer, {} commits stay",
        kept.len()
    ));

    let graph = graph.with(&json!({"spec": {"deletionPolicy": "Delete"}}));
    scene.start(&graph, 1).await?;
    let count = space
        .readers(GRAPH)
        .await?
        .count(&Query::new(COUNT).strong())
        .await?;
    expect_equal(
        "items of the graph that was made anew over the kept data",
        &count,
        &10,
    )?;
    scene.passed("made anew over the kept data: all items are there");

    let took = delete(&space, "foreground").await?;
    scene.figure(
        "graph and data deleted in the foreground, all of its objects gone",
        seconds(took),
    );
    let mut left = Vec::new();
    for directory in ["commits", "lance", "replicas", "kuzu-snapshots"] {
        left.extend(bucket.list(directory).await?);
    }
    expect_equal(
        "objects in the store after deletionPolicy Delete",
        &left,
        &Vec::new(),
    )?;
    scene.passed("Delete, in the foreground: nothing stays in the store");
    Ok(())
}

/// Deletes the resource and waits until all of its objects are gone.
async fn delete(space: &Space, cascade: &str) -> Result<Duration, ScenarioError> {
    let began = Instant::now();
    let cascade = format!("--cascade={cascade}");
    space
        .kubectl(&["delete", "rgdb", GRAPH, &cascade, "--timeout=90s"])
        .await?;
    until_every(
        LOOK,
        "all objects of the graph to be gone",
        GONE_WITHIN,
        async || match left(space).await {
            Ok(left) if left.is_empty() => Look::Found(()),
            Ok(left) => Look::NotYet(left.join(", ")),
            Err(error) => Look::NotYet(error.to_string()),
        },
    )
    .await?;
    Ok(began.elapsed())
}

/// What is left of the graph, by kind and name.
pub(super) async fn left(space: &Space) -> Result<Vec<String>, ScenarioError> {
    let selector = kube::api::ListParams::default().labels(&format!("slipstream.dev/graph={GRAPH}"));
    let mut left = Vec::new();
    let mut note = |kind: &str, names: Vec<Option<String>>| {
        left.extend(
            names
                .into_iter()
                .map(|name| format!("{kind} {}", name.unwrap_or_default())),
        );
    };
    let names = |metadata: &kube::api::ObjectMeta| metadata.name.clone();
    let list = space.api::<StatefulSet>().list(&selector).await?;
    note(
        "StatefulSet",
        list.items.iter().map(|object| names(&object.metadata)).collect(),
    );
    let list = space.api::<Deployment>().list(&selector).await?;
    note(
        "Deployment",
        list.items.iter().map(|object| names(&object.metadata)).collect(),
    );
    let list = space.api::<Service>().list(&selector).await?;
    note(
        "Service",
        list.items.iter().map(|object| names(&object.metadata)).collect(),
    );
    let list = space.api::<ConfigMap>().list(&selector).await?;
    note(
        "ConfigMap",
        list.items.iter().map(|object| names(&object.metadata)).collect(),
    );
    let list = space.api::<ServiceAccount>().list(&selector).await?;
    note(
        "ServiceAccount",
        list.items.iter().map(|object| names(&object.metadata)).collect(),
    );
    for role in [Role::Writer, Role::Replica] {
        let pods = space.pod_views(GRAPH, role).await?;
        note("Pod", pods.into_iter().map(|pod| Some(pod.name)).collect());
    }
    Ok(left)
}
