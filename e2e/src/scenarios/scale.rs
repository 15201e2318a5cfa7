//! `kubectl scale` up, down, to nothing and back, under the eyes of a reader.

use std::time::{Duration, Instant};

use super::{GRAPH, ScenarioError, Scene};
use crate::objects::Space;
use crate::objects::bucket::Bucket;
use crate::objects::reader::LoopingReader;
use crate::objects::ready::{LOOK, START};
use crate::objects::small_graph::items;
use crate::report::{millis, seconds};
use crate::steps::expect_equal;
use crate::wait::{Look, until_every};

/// For replicas that left to be gone from the store.
const RELEASED: Duration = Duration::from_secs(30);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let graph = scene.small_graph(2).with_nats(&scene.stage.backends);
    scene.start(&graph, 2).await?;
    let space = scene.space.clone();
    let bucket = scene.bucket().await?;
    let selector = space
        .kubectl(&["get", "rgdb", GRAPH, "-o", "jsonpath={.status.selector}"])
        .await?;
    let expected = format!("slipstream.dev/graph={GRAPH},slipstream.dev/role=replica");
    expect_equal("status.selector", &selector, &expected)?;
    space.writer(GRAPH).await?.commit(&items(0..100)).await?;

    let reader = LoopingReader::start(space.readers(GRAPH).await?);
    reader.wait_answers(5, START).await?;
    let started = Instant::now();
    for replicas in [4, 1] {
        let took = scale(&space, &bucket, replicas).await?;
        reader.expect_no_failure(started, &format!("while scaling to {replicas}"))?;
        scene.passed(format!(
            "{replicas} replicas, leases as pods, every read answered"
        ));
        scene.figure(
            format!("kubectl scale to {replicas}, all ready, leases released"),
            seconds(took),
        );
    }
    let seen = reader.seen();
    let reads = seen.answers.len();
    scene.figure("slowest read while scaling", millis(seen.slowest()));
    drop(reader);

    let took = scale(&space, &bucket, 0).await?;
    scene.passed("no replica and no lease; the graph says it is ready");
    scene.figure("kubectl scale to 0, leases released", seconds(took));

    let asked = Instant::now();
    let reader = LoopingReader::start(space.readers(GRAPH).await?);
    space
        .kubectl(&["scale", &format!("rgdb/{GRAPH}"), "--replicas=2"])
        .await?;
    reader.wait_answers(1, START).await?;
    let first = Instant::now();
    scene.figure("from 0 replicas to the first answer", seconds(first - asked));
    space.wait_ready(GRAPH, 2, START).await?;
    reader.wait_answers(20, START).await?;
    reader.expect_no_failure(first, "after the first answer, while the second replica joined")?;
    scene.passed(format!(
        "2 replicas again; {} reads in all",
        reads + reader.seen().answers.len()
    ));
    Ok(())
}

/// Scales as a person does, and waits for pods, status and leases to agree.
async fn scale(space: &Space, bucket: &Bucket, replicas: u32) -> Result<Duration, ScenarioError> {
    let began = Instant::now();
    space
        .kubectl(&[
            "scale",
            &format!("rgdb/{GRAPH}"),
            &format!("--replicas={replicas}"),
        ])
        .await?;
    let pods = space.wait_replicas(GRAPH, replicas as usize, START).await?;
    space.wait_ready(GRAPH, replicas, START).await?;
    let mut names: Vec<String> = pods.into_iter().map(|pod| pod.name).collect();
    names.sort();
    until_every(
        LOOK,
        "leases of exactly the replicas that run",
        RELEASED,
        async || match bucket.leases().await {
            Ok(leases) if leases == names => Look::Found(()),
            Ok(leases) => Look::NotYet(format!("leases {leases:?}, pods {names:?}")),
            Err(error) => Look::NotYet(error.to_string()),
        },
    )
    .await?;
    Ok(began.elapsed())
}
