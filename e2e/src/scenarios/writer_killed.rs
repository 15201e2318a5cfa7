//! The writer's pod is deleted with force while a client writes, and later its process is killed. A deleted one may live
//! on for a moment beside the new one: the epoch must keep it from doing harm.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::{GRAPH, ScenarioError, Scene};
use crate::client::{Node, Query};
use crate::objects::pods::SIDECAR;
use crate::objects::processes::Processes;
use crate::objects::ready::START;
use crate::objects::writer::{Acknowledged, LoopingWriter};
use crate::report::seconds;
use crate::steps::{expect, expect_equal};
use crate::wait::{Look, until};

/// For a writer to take over after its predecessor was killed.
const TAKEOVER: Duration = Duration::from_secs(90);
const COMMITS: usize = 20;

/// How the writer ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Its pod is deleted with force; the StatefulSet makes another one at once.
    PodDeleted,
    /// Its process gets SIGKILL; the kubelet starts the container again.
    ProcessKilled,
}

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    scene.start(&scene.small_graph(1), 1).await?;
    let space = scene.space.clone();
    let node = space.writer(GRAPH).await?;
    let client = LoopingWriter::start(node.clone(), 1);
    client.wait_more(COMMITS, START).await?;
    for end in [End::PodDeleted, End::ProcessKilled] {
        let before = epoch(&node).await?;
        let ended = Instant::now();
        make_end(scene, end).await?;
        until("a writer with another epoch", TAKEOVER, async || {
            match epoch(&node).await {
                Ok(now) if now != before => Look::Found(()),
                Ok(now) => Look::NotYet(format!("epoch {now}")),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await?;
        client.wait_more(COMMITS, TAKEOVER).await?;
        let after = epoch(&node).await?;
        expect_equal(format!("the epoch after {end:?}"), &after, &(before + 1))?;
        let first = first_of_epoch(&node, &client.acknowledged(), after).await?;
        scene.passed(format!("{end:?}: epoch {before} → {after}"));
        scene.figure(
            format!("recovery of the writer, small graph: {end:?} to next acknowledged commit"),
            seconds(first - ended),
        );
    }
    let (acknowledged, failures) = (client.acknowledged(), client.failures().len());
    drop(client);
    verify(&node, &acknowledged, "the writer").await?;
    verify(&space.readers(GRAPH).await?, &acknowledged, "a replica").await?;
    space.wait_ready(GRAPH, 1, START).await?;
    scene.passed(format!(
        "all {} acknowledged commits are there, on writer and replica; {failures} failed attempts were repeated",
        acknowledged.len()
    ));
    Ok(())
}

async fn make_end(scene: &Scene<'_>, end: End) -> Result<(), ScenarioError> {
    let pod = format!("{GRAPH}-writer-0");
    match end {
        End::PodDeleted => {
            let args = ["delete", "pod", &pod, "--force", "--grace-period=0"];
            scene.space.kubectl(&args).await?;
            Ok(())
        }
        End::ProcessKilled => {
            let pod = scene.space.api::<Pod>().get(&pod).await?;
            Processes::of(&pod, SIDECAR)?.kill()
        }
    }
}

async fn epoch(node: &Node) -> Result<u64, ScenarioError> {
    let status = node.status().await?;
    let epoch = status.other.get("epoch");
    epoch
        .and_then(Value::as_u64)
        .ok_or_else(|| ScenarioError::wrong("the writer's status", "an epoch", epoch))
}

/// When the first commit of that epoch was acknowledged; also proves that the log is dense and has every one of them.
async fn first_of_epoch(
    node: &Node,
    acknowledged: &[Acknowledged],
    epoch: u64,
) -> Result<Instant, ScenarioError> {
    let log = node.all_commits().await?;
    let dense = log.iter().zip(1..).all(|(commit, seq)| commit.seq == seq);
    expect(
        dense,
        "the log",
        "commits 1, 2, 3 …",
        log.iter().map(|commit| commit.seq).collect::<Vec<_>>(),
    )?;
    let mut first = None;
    for commit in acknowledged {
        let record = usize::try_from(commit.seq - 1)
            .ok()
            .and_then(|index| log.get(index));
        let tx_id = record.map(|record| record.tx_id.as_str());
        expect_equal(
            format!("commit {} of the log", commit.seq),
            &tx_id,
            &Some(commit.tx_id.as_str()),
        )?;
        if first.is_none() && record.is_some_and(|record| record.epoch == epoch) {
            first = Some(commit.at);
        }
    }
    first.ok_or_else(|| ScenarioError::wrong("acknowledged commits", format!("one of epoch {epoch}"), "none"))
}

async fn verify(node: &Node, acknowledged: &[Acknowledged], who: &str) -> Result<(), ScenarioError> {
    let newest = acknowledged
        .last()
        .map(|commit| commit.tx_id.as_str())
        .unwrap_or_default();
    let answer = node
        .query(&Query::new("MATCH (i:Item) RETURN i.id").min_tx(newest))
        .await?;
    let ids: BTreeSet<i64> = answer
        .rows
        .iter()
        .filter_map(|row| row.first()?.as_i64())
        .collect();
    let lost: Vec<i64> = acknowledged
        .iter()
        .map(|commit| commit.id)
        .filter(|id| !ids.contains(id))
        .collect();
    expect(
        lost.is_empty(),
        format!("acknowledged items that {who} does not have"),
        "none",
        lost,
    )?;
    Ok(())
}
