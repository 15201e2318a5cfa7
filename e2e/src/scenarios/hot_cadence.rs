//! A cadence is changed in the resource: running pods follow it. Seen by what they do, not by what they say: a replica that
//! polls every ten minutes sees a commit only after it was told to poll every second.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{GRAPH, ScenarioError, Scene};
use crate::client::Query;
use crate::objects::Role;
use crate::objects::ready::{LOOK, START};
use crate::objects::small_graph::{COUNT, items};
use crate::report::seconds;
use crate::steps::{expect, expect_equal};
use crate::wait::{Look, until_every};

/// The kubelet brings a changed ConfigMap into running pods in its own time, up to a minute and a half.
const REACHES: Duration = Duration::from_secs(120);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    // The replica comes after the writer's first commit, which it would see only ten minutes later.
    let graph = scene.small_graph(0).with(&json!({"spec": {
        "events": {"pollInterval": "10m"},
        "readiness": {"maxLagCommits": 1000, "maxLagSeconds": 3600},
    }}));
    scene.start(&graph, 0).await?;
    let space = scene.space.clone();
    space.kubectl(&["scale", "rgdb", GRAPH, "--replicas=1"]).await?;
    space.wait_ready(GRAPH, 1, START).await?;
    space.wait_services(GRAPH, true).await?;
    let before = space.pod_views(GRAPH, Role::Replica).await?;
    let readers = space.readers(GRAPH).await?;
    space.writer(GRAPH).await?.commit(&items(0..10)).await?;
    let unseen = readers.count(&Query::new(COUNT)).await?;
    expect(
        unseen == 0,
        "items of a replica that polls every 10 min",
        "none yet",
        unseen,
    )?;

    let changed = Instant::now();
    space
        .patch_graph(
            GRAPH,
            &json!({"spec": {"events": {"pollInterval": "500ms"}, "snapshots": {"schedule": "*/5 * * * *"}}}),
        )
        .await?;
    until_every(
        LOOK,
        "the items, read from the replica",
        REACHES,
        async || match readers.count(&Query::new(COUNT)).await {
            Ok(10) => Look::Found(()),
            Ok(count) => Look::NotYet(format!("{count} items")),
            Err(error) => Look::NotYet(error.to_string()),
        },
    )
    .await?;
    scene.figure(
        "changed cadence in the resource to a running pod (mostly the kubelet's)",
        seconds(changed.elapsed()),
    );
    space.wait_ready(GRAPH, 1, START).await?;
    let after = space.pod_views(GRAPH, Role::Replica).await?;
    expect_equal("replica pods", &after, &before)?;
    expect_equal("restarts", &space.restarts(GRAPH).await?, &0)?;
    scene.passed("the running replica polls every 500 ms; the same pod, no restart");
    Ok(())
}
