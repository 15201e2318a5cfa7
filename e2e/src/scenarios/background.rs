//! Cadences of background work are changed in the resource: running pods take snapshots, optimize and scrub from then on, the
//! status says so, and a new replica starts from the snapshot instead of from the tables.

use std::time::{Duration, Instant};

use crds::ReplicatedGraphDBStatus;
use serde_json::json;

use super::{GRAPH, ScenarioError, Scene};
use crate::client::Query;
use crate::objects::Role;
use crate::objects::ready::{LOOK, START, condition};
use crate::objects::small_graph::{COUNT, items};
use crate::objects::writer::LoopingWriter;
use crate::report::seconds;
use crate::steps::{expect, expect_equal};
use crate::wait::{Look, until_every};

/// The kubelet brings a changed ConfigMap into running pods in its own time, up to a minute and a half; then the work itself.
const REACHES: Duration = Duration::from_secs(150);
/// Enough commits for the optimizer to have something to merge.
const COMMITS: i64 = 40;
const EACH: i64 = 250;
const RESTORES: &str = "slipstream_restores_total";
const REBUILDS: &str = "slipstream_rebuilds_total";

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    // Nothing of this is due within the scenario.
    let graph = scene.small_graph(1).with(&json!({"spec": {
        "snapshots": {"schedule": "0 0 1 1 *", "everyCommits": 0},
        "optimizer": {"interval": "1h"},
        "scrub": {"enabled": false},
    }}));
    scene.start(&graph, 1).await?;
    let space = scene.space.clone();
    let writer = space.writer(GRAPH).await?;
    for commit in 0..COMMITS {
        writer.commit(&items(commit * EACH..(commit + 1) * EACH)).await?;
    }
    let pods = space.pod_views(GRAPH, Role::Replica).await?;
    let before = space.graph(GRAPH).await?.status.unwrap_or_default();
    expect(
        before.last_snapshot.is_none() && before.last_optimize.is_none(),
        "the status before any of it is due",
        "no lastSnapshot and no lastOptimize",
        (&before.last_snapshot, &before.last_optimize),
    )?;

    let changed = Instant::now();
    let cadence = json!({"spec": {
        "snapshots": {"everyCommits": 10},
        "optimizer": {"interval": "5s"},
        "scrub": {"enabled": true, "interval": "5s"},
    }});
    space.patch_graph(GRAPH, &cadence).await?;
    let client = LoopingWriter::start(writer, 1_000_000);
    for (what, is_there) in [
        (
            "lastSnapshot",
            (|status| status.last_snapshot.is_some()) as fn(&ReplicatedGraphDBStatus) -> bool,
        ),
        ("lastOptimize", |status| status.last_optimize.is_some()),
        ("lastScrub of each member", |status| {
            let scrubbed =
                |member: &crds::MemberStatus| member.last_scrub.as_ref().is_some_and(|last| last.ok);
            !status.members.is_empty() && status.members.iter().all(scrubbed)
        }),
    ] {
        space
            .wait_graph(GRAPH, what, REACHES, |graph| {
                graph.status.as_ref().is_some_and(is_there)
            })
            .await?;
        scene.figure(
            format!("changed cadence to {what} in the status (mostly the kubelet's)"),
            seconds(changed.elapsed()),
        );
    }
    expect_equal(
        "replica pods",
        &space.pod_views(GRAPH, Role::Replica).await?,
        &pods,
    )?;
    expect_equal("restarts", &space.restarts(GRAPH).await?, &0)?;
    let after = space.graph(GRAPH).await?;
    expect_equal("Degraded", &condition(&after, "Degraded").0, &"False".to_owned())?;
    let status = after.status.unwrap_or_default();
    let connected = status.store.as_ref().is_some_and(|store| store.connected);
    expect(connected, "status.store", "connected", &status.store)?;
    scene.passed("the same pods, no restart; status.store is connected, nothing is degraded");

    restored(scene).await?;
    drop(client);
    Ok(())
}

/// A replica's pod is deleted: the next one copies the snapshot, and applies what came after it.
async fn restored(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let space = scene.space.clone();
    let old = space.ready_replicas(GRAPH).await?;
    let deleted = Instant::now();
    for pod in &old {
        space
            .kubectl(&["delete", "pod", &pod.name, "--wait=false"])
            .await?;
    }
    let is_old = |uid: &str| old.iter().any(|pod| pod.uid == uid);
    let new = space
        .wait_pods(GRAPH, Role::Replica, "a new one, ready", START, |pods| {
            pods.iter().any(|pod| pod.ready && !is_old(&pod.uid))
        })
        .await?;
    scene.figure(
        format!(
            "replica pod deleted, successor ready from a snapshot ({} items)",
            COMMITS * EACH
        ),
        seconds(deleted.elapsed()),
    );
    for pod in new.iter().filter(|pod| pod.ready && !is_old(&pod.uid)) {
        let node = pod.node()?;
        let (restores, rebuilds) = (node.metric_sum(RESTORES).await?, node.metric_sum(REBUILDS).await?);
        expect(
            restores >= 1.0 && rebuilds == 0.0,
            format!("{RESTORES} and {REBUILDS} of {}", pod.name),
            "one restore, no rebuild",
            (restores, rebuilds),
        )?;
        let at_least = u64::try_from(COMMITS * EACH).unwrap_or_default();
        until_every(
            LOOK,
            "all items, read from the new replica",
            START,
            async || match node.count(&Query::new(COUNT)).await {
                Ok(count) if count >= at_least => Look::Found(()),
                Ok(count) => Look::NotYet(format!("{count} items")),
                Err(error) => Look::NotYet(error.to_string()),
            },
        )
        .await?;
    }
    scene.passed("the new replica restored a snapshot and built nothing");
    Ok(())
}
