//! The S3 server, and then the NATS server, is gone for a minute: reads go on, the status says what is wrong, and nobody
//! has to do anything afterwards. Both servers are this scenario's own, so that others play meanwhile: it mostly waits.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

use super::{GRAPH, ScenarioError, Scene};
use crate::client::Query;
use crate::objects::pods::container_id;
use crate::objects::processes::{Frozen, Processes};
use crate::objects::reader::LoopingReader;
use crate::objects::ready::{LOOK, START, condition};
use crate::objects::small_graph::{COUNT, items};
use crate::objects::{SmallGraph, Space};
use crate::report::{cut, seconds};
use crate::steps::{expect, expect_equal};
use crate::wait::{Look, until_every};

/// How long each is gone.
const OUTAGE: Duration = Duration::from_secs(60);
/// How long the S3 server hangs.
const HANGS: Duration = Duration::from_secs(30);
/// Any of these words in Degraded means the store.
const STORE: &[&str] = &["s3", "store"];
/// Or events.
const EVENTS: &[&str] = &["nats", "jetstream", "event"];
/// For the status to say so.
const SAID_WITHIN: Duration = Duration::from_secs(45);
const RECOVERS: Duration = Duration::from_secs(90);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let (backends, servers) = scene.own_backends().await?;
    let space = scene.space.clone();
    let graph = SmallGraph::new(&backends, &space.namespace, GRAPH, 2).with_nats(&backends);
    scene.start(&graph, 2).await?;
    let reader = LoopingReader::start(space.readers(GRAPH).await?);
    reader.wait_answers(5, START).await?;
    space.writer(GRAPH).await?.commit(&items(0..10)).await?;

    gone(scene, &servers, &reader, "s3", STORE).await?;
    commit_and_follow(scene, 10..20).await?;
    scene.passed("S3 is back: commits and replicas go on");

    hangs(scene, &servers, &reader).await?;
    commit_and_follow(scene, 20..30).await?;
    scene.passed("S3 answers again: commits and replicas go on");

    gone(scene, &servers, &reader, "nats", EVENTS).await?;
    commit_and_follow(scene, 30..40).await?;
    scene.passed("NATS is back: commits and replicas go on");
    expect_equal("restarts", &space.restarts(GRAPH).await?, &0)?;
    scene.passed(format!(
        "no pod was restarted; {} reads answered",
        reader.seen().answers.len()
    ));
    Ok(())
}

/// The S3 server takes connections and answers nothing: worse than being gone, because every request waits.
async fn hangs(scene: &mut Scene<'_>, servers: &Space, reader: &LoopingReader) -> Result<(), ScenarioError> {
    let selector = ListParams::default().labels("app=s3");
    let pods = servers.api::<Pod>().list(&selector).await?.items;
    let running = pods.iter().find(|pod| container_id(pod, "s3").is_some());
    let pod =
        running.ok_or_else(|| ScenarioError::wrong("pods of the S3 server", "one that runs", "none"))?;
    let began = Instant::now();
    let frozen = Frozen::now(Processes::of(pod, "s3")?)?;
    wait_said(scene, "s3", STORE).await?;
    scene.figure("s3 hangs to Degraded", seconds(began.elapsed()));
    tokio::time::sleep_until((began + HANGS).into()).await;
    drop(frozen);
    reader.expect_no_failure(began, "while S3 hung")?;
    scene.passed(format!("S3 hung for {} s: every read answered", HANGS.as_secs()));
    recovered(scene, "s3 answers again").await
}

/// Takes a backend away for its time, and brings it back whatever happened meanwhile.
async fn gone(
    scene: &mut Scene<'_>,
    servers: &Space,
    reader: &LoopingReader,
    backend: &str,
    words: &[&str],
) -> Result<(), ScenarioError> {
    let began = Instant::now();
    servers
        .kubectl(&["scale", "deployment", backend, "--replicas=0"])
        .await?;
    let outcome = meanwhile(scene, reader, backend, words, began).await;
    servers
        .kubectl(&["scale", "deployment", backend, "--replicas=1"])
        .await?;
    servers
        .kubectl(&["rollout", "status", "deployment", backend, "--timeout=60s"])
        .await?;
    outcome?;
    recovered(scene, &format!("{backend} back")).await
}

async fn recovered(scene: &mut Scene<'_>, what: &str) -> Result<(), ScenarioError> {
    let back = Instant::now();
    scene.space.wait_ready(GRAPH, 2, RECOVERS).await?;
    scene
        .space
        .wait_condition(GRAPH, ("Degraded", "False"), RECOVERS)
        .await?;
    scene.figure(
        format!("{what} to Ready and not Degraded"),
        seconds(back.elapsed()),
    );
    Ok(())
}

/// Waits until the status says what is wrong.
async fn wait_said(scene: &Scene<'_>, backend: &str, words: &[&str]) -> Result<(), ScenarioError> {
    let what = format!("Degraded says that {backend} is gone");
    let graph = scene
        .space
        .wait_graph(GRAPH, &what, SAID_WITHIN, |graph| {
            let (status, reason, message) = condition(graph, "Degraded");
            let said = format!("{reason} {message}").to_lowercase();
            status == "True" && words.iter().any(|word| said.contains(word))
        })
        .await?;
    let (_, reason, message) = condition(&graph, "Degraded");
    scene.passed(format!("{reason}: {}", cut(&message, 160)));
    Ok(())
}

async fn meanwhile(
    scene: &mut Scene<'_>,
    reader: &LoopingReader,
    backend: &str,
    words: &[&str],
    began: Instant,
) -> Result<(), ScenarioError> {
    wait_said(scene, backend, words).await?;
    scene.figure(format!("{backend} gone to Degraded"), seconds(began.elapsed()));
    // Nothing is waited for but the end of the outage.
    tokio::time::sleep_until((began + OUTAGE).into()).await;
    reader.expect_no_failure(began, &format!("while {backend} was gone"))?;
    let during = reader
        .seen()
        .answers
        .iter()
        .filter(|answer| answer.asked >= began)
        .count();
    expect(
        during > 100,
        format!("reads while {backend} was gone"),
        "more than 100",
        during,
    )?;
    scene.passed(format!(
        "{backend} gone for {} s: {during} reads, all answered",
        OUTAGE.as_secs()
    ));
    Ok(())
}

/// A commit goes through, and every replica has it.
async fn commit_and_follow(scene: &Scene<'_>, ids: std::ops::Range<i64>) -> Result<(), ScenarioError> {
    let space = &scene.space;
    let expected = ids.end.unsigned_abs();
    space.writer(GRAPH).await?.commit(&items(ids)).await?;
    for pod in space.ready_replicas(GRAPH).await? {
        let node = pod.node()?;
        let what = format!("{expected} items on {}", pod.name);
        until_every(LOOK, &what, RECOVERS, async || {
            match node.count(&Query::new(COUNT)).await {
                Ok(count) if count == expected => Look::Found(()),
                Ok(count) => Look::NotYet(format!("{count} items")),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await?;
    }
    Ok(())
}
