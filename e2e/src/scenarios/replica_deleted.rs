//! A replica's pod is deleted while a client writes: its successor is sent no reader before it has caught up.

use std::time::Instant;

use super::{GRAPH, ScenarioError, Scene};
use crate::objects::Role;
use crate::objects::reader::LoopingReader;
use crate::objects::ready::START;
use crate::objects::small_graph::items;
use crate::objects::writer::LoopingWriter;
use crate::report::seconds;
use crate::steps::expect;

/// `readiness.maxLagCommits` of this graph; the client makes about as many commits a second.
const MAX_LAG: u64 = 20;
/// Before the deletion: several times what a replica may lag.
const COMMITS: usize = 80;

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let graph = scene
        .small_graph(1)
        .with_nats(&scene.stage.backends)
        .with(&serde_json::json!({"spec": {"readiness": {"maxLagCommits": MAX_LAG}}}));
    scene.start(&graph, 1).await?;
    let space = scene.space.clone();
    let writer = space.writer(GRAPH).await?;
    // Enough that catching up is no matter of a moment.
    writer.commit(&items(-20_000..0)).await?;
    let client = LoopingWriter::start(writer, 1);
    client.wait_more(COMMITS, START).await?;
    let reader = LoopingReader::start(space.readers(GRAPH).await?);
    reader.wait_answers(5, START).await?;

    let old = space.ready_replicas(GRAPH).await?;
    let committed = client
        .acknowledged()
        .last()
        .map(|commit| commit.seq)
        .unwrap_or_default();
    let deleted = Instant::now();
    for pod in &old {
        space
            .kubectl(&["delete", "pod", &pod.name, "--wait=false"])
            .await?;
    }
    let is_old = |uid: &str| old.iter().any(|pod| pod.uid == uid);
    let what = "a new one, ready";
    let pods = space
        .wait_pods(GRAPH, Role::Replica, what, START, |pods| {
            pods.iter().any(|pod| pod.ready && !is_old(&pod.uid))
        })
        .await?;
    let ready = Instant::now();
    for pod in pods.iter().filter(|pod| !is_old(&pod.uid)) {
        let status = pod.node()?.status().await?;
        let seq = status.seq.unwrap_or_default();
        expect(
            status.ready,
            format!("/v1/status of {}, whose pod is ready", pod.name),
            "ready",
            &status,
        )?;
        expect(
            seq + MAX_LAG >= committed,
            format!("the watermark of {} when its pod became ready", pod.name),
            format!("{committed} or at most {MAX_LAG} less"),
            seq,
        )?;
    }
    scene.figure(
        "replica pod deleted, successor ready (20,000 items, client writing)",
        seconds(ready - deleted),
    );

    reader.wait_answers(20, START).await?;
    let seen = reader.seen();
    let stale = seen
        .answers
        .iter()
        .find(|answer| answer.asked > deleted && answer.seq + MAX_LAG < committed);
    expect(
        stale.is_none(),
        "reads after the deletion",
        format!("commit {committed}, or at most {MAX_LAG} before it, or newer"),
        stale,
    )?;
    scene.passed(format!(
        "no read was answered from before commit {committed} − {MAX_LAG}"
    ));
    space.wait_ready(GRAPH, 1, START).await?;
    scene.passed("ready again");
    Ok(())
}
