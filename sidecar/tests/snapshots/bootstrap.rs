//! Nodes without a graph: the newest usable snapshot, else an older one, else a rebuild; never anything but the commits.

use std::sync::Arc;

use slipstream::ids::Seq;
use slipstream::node::{LocalGraph, Role};
use slipstream::replica::Advancer;
use slipstream::snapshot::{SnapshotMeta, bootstrap, check, restore_to};

use super::scene::{Scene, Taker, limits, settings};
use crate::support::cluster::ReplicaNode;
use crate::support::dump::assert_holds;
use crate::support::waiting::{crash_points, within};

/// A scene with so many snapshots, oldest first, all of which stay, and three commits after the newest.
async fn with_snapshots(count: usize) -> (Scene, Taker, Vec<SnapshotMeta>) {
    let mut scene = Scene::new().await;
    let mut keep_all = settings(1);
    keep_all.max_age = "1000d".parse().unwrap();
    let mut taker = scene.taker("replica-1", keep_all).await;
    let mut taken = Vec::new();
    for _ in 0..count {
        scene.commits(1).await;
        taken.push(taker.take().await);
    }
    scene.commits(3).await;
    (scene, taker, taken)
}

/// The `seq` that a fresh replica has after its first pass: the snapshot's, or the head's after a rebuild. Then it follows,
/// and must hold what the model holds.
async fn joins_at(scene: &Scene, name: &str) -> Seq {
    let mut fresh: ReplicaNode = scene.graph.start_replica(name).await;
    assert!(fresh.pass().await.expect("a pass"), "it joined");
    let joined = fresh.advancer.progress.view().watermark.expect("a graph").seq;
    fresh.catch_up().await;
    assert_holds(name, &fresh.graph(), &scene.model).await;
    let head = scene.graph.log.head(Seq(0)).await.unwrap().unwrap().seq;
    assert_eq!(fresh.advancer.progress.view().watermark.unwrap().seq, head);
    fresh.stop().await;
    joined
}

async fn head(scene: &Scene) -> Seq {
    scene.graph.log.head(Seq(0)).await.unwrap().unwrap().seq
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_without_a_graph_restores_the_newest_snapshot_and_follows() {
    let _scenario = crash_points();
    let (mut scene, _taker, taken) = with_snapshots(2).await;
    assert_eq!(joins_at(&scene, "replica-2").await, taken[1].seq);
    // The graph that it left is opened again, as any other.
    scene.commits(1).await;
    let mut again = scene.graph.start_replica("replica-2").await;
    again.catch_up().await;
    assert_holds("the restored graph, reopened", &again.graph(), &scene.model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_without_a_graph_restores_it_too() {
    let _scenario = crash_points();
    let (mut scene, _taker, taken) = with_snapshots(1).await;
    // What `role` does before the takeover.
    let settings = scene.graph.settings("writer-2");
    let (local, found) = LocalGraph::open(&settings.data_dir, settings.limits)
        .await
        .unwrap();
    assert_eq!(found, None);
    let advancer = Advancer {
        lake: Arc::new(scene.graph.lake().await),
        log: scene.graph.log.clone(),
        local: Arc::new(local),
        progress: slipstream::node::Progress::new(Role::Writer, scene.graph.clock.clone()),
    };
    let head = scene.graph.log.head(Seq(0)).await.unwrap().unwrap();
    let restored = bootstrap(&advancer, &scene.graph.store, &head, Seq(0), &limits())
        .await
        .unwrap();
    assert_eq!(restored.expect("restored").position.seq, taken[0].seq);
    drop(advancer);
    let writer = scene.graph.start_writer("writer-2").await;
    assert_holds("the new writer", &writer.graph(), &scene.model).await;
    scene.writer = writer;
    scene.commits(2).await;
    scene.writer.at_head().await;
    assert_holds("the new writer", &scene.writer.graph(), &scene.model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_snapshot_gives_way_to_an_older_one_and_the_last_to_a_rebuild() {
    let _scenario = crash_points();
    let (scene, _taker, taken) = with_snapshots(4).await;
    let last_part = taken[3].parts.last().unwrap().name.clone();
    scene
        .tamper(&taken[3], &last_part, |bytes| *bytes.last_mut().unwrap() ^= 0x10)
        .await;
    assert_eq!(joins_at(&scene, "flipped").await, taken[2].seq);
    scene
        .tamper(&taken[2], "part-00001.zst", |bytes| {
            bytes.truncate(bytes.len() - 1)
        })
        .await;
    assert_eq!(joins_at(&scene, "truncated").await, taken[1].seq);
    scene
        .tamper(&taken[1], "snapshot-meta.json", |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let seq = format!("\"seq\": {}", taken[1].seq);
            assert!(text.contains(&seq), "{text}");
            *bytes = text.replacen(&seq, "\"seq\": 2", 1).into_bytes();
        })
        .await;
    assert_eq!(joins_at(&scene, "meta").await, taken[0].seq);
    scene
        .tamper(&taken[0], "snapshot-meta.json", |bytes| bytes.truncate(100))
        .await;
    assert_eq!(joins_at(&scene, "none").await, head(&scene).await);
    // Each is named by what people ask.
    for (meta, object) in [(&taken[3], last_part.as_str()), (&taken[2], "part-00001.zst")] {
        let error = check(&scene.graph.store, meta, &limits())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&meta.tx_id.to_string()) && error.contains(object),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_part_gives_way_to_an_older_snapshot() {
    let _scenario = crash_points();
    let (scene, _taker, taken) = with_snapshots(2).await;
    let part = format!("kuzu-snapshots/{}/part-00001.zst", taken[1].tx_id);
    scene
        .graph
        .store
        .delete(&slipstream::store::Key::new(part).unwrap())
        .await
        .unwrap();
    assert_eq!(joins_at(&scene, "replica-2").await, taken[0].seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_of_another_engine_or_storage_version_is_not_opened() {
    let _scenario = crash_points();
    let (scene, _taker, taken) = with_snapshots(2).await;
    for (name, meta) in [("newer", &taken[1]), ("older", &taken[0])] {
        let mut other = meta.clone();
        match name {
            "newer" => other.engine.version = "99.0.0".to_owned(),
            _ => other.engine.storage_version += 1,
        }
        let bytes = other.to_bytes();
        scene
            .tamper(meta, "snapshot-meta.json", |stored| *stored = bytes)
            .await;
    }
    assert_eq!(joins_at(&scene, "replica-2").await, head(&scene).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_whose_commits_were_trimmed_is_not_used() {
    let _scenario = crash_points();
    let (scene, _taker, taken) = with_snapshots(2).await;
    let trim = async |seq: Seq| {
        let key = format!("commits/{:020}.json", seq.0);
        let key = slipstream::store::Key::new(key).unwrap();
        scene.graph.store.delete(&key).await.unwrap();
    };
    // Its own commit is gone: the older one's too, as a log is trimmed from its beginning.
    trim(taken[0].seq).await;
    assert_eq!(joins_at(&scene, "one-left").await, taken[1].seq);
    trim(taken[1].seq).await;
    assert_eq!(joins_at(&scene, "none-left").await, head(&scene).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_whose_commit_was_trimmed_joins_at_a_newer_snapshot() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut sleeper = scene.graph.start_replica("sleeper").await;
    sleeper.catch_up().await;
    let slept_at = sleeper.advancer.progress.view().watermark.unwrap().seq;
    let mut taker = scene.taker("replica-1", settings(1)).await;
    scene.commits(2).await;
    let taken = taker.take().await;
    scene.commits(2).await;
    for seq in 3..taken.seq.0 {
        let key = format!("commits/{seq:020}.json");
        scene
            .graph
            .store
            .delete(&slipstream::store::Key::new(key).unwrap())
            .await
            .unwrap();
    }
    assert!(slept_at < taken.seq);
    assert!(sleeper.pass().await.unwrap());
    assert_eq!(sleeper.advancer.progress.view().watermark.unwrap().seq, taken.seq);
    sleeper.catch_up().await;
    assert_holds("the sleeper", &sleeper.graph(), &scene.model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_of_an_older_schema_is_not_used() {
    let _scenario = crash_points();
    let (mut scene, _taker, _) = with_snapshots(1).await;
    let mut schema = scene.graph.schema.clone();
    let wider = crate::support::cluster::parse_schema(
        "nodes: [{name: Other, primaryKey: name, properties: [{name: name, type: string}]}]",
    );
    schema.nodes.extend(wider.nodes);
    let started = scene
        .graph
        .try_start_writer(scene.graph.settings("writer-2"), &schema)
        .await;
    scene.writer = started.unwrap_or_else(|error| panic!("{error}"));
    let mut fresh = scene.graph.start_replica("replica-2").await;
    fresh.pass().await.unwrap();
    assert_eq!(
        fresh.advancer.progress.view().watermark.unwrap().seq,
        head(&scene).await
    );
    assert!(fresh.graph().schema().table("Other").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_restores_to_a_database_of_its_own() {
    let _scenario = crash_points();
    let (scene, _taker, taken) = with_snapshots(1).await;
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("restored");
    within(
        "a restore",
        restore_to(&scene.graph.store, &taken[0], &target, &limits()),
    )
    .await
    .unwrap();
    let settings = scene.graph.settings("reader");
    let opened = slipstream::graph::Graph::open(&target, settings.limits).unwrap();
    let (_, watermark) = opened.expect("a finished graph");
    assert_eq!(watermark.position, taken[0].position());
    assert_eq!(watermark.tables, taken[0].tables);
    // Nothing is overwritten.
    let again = restore_to(&scene.graph.store, &taken[0], &target, &limits()).await;
    assert!(again.unwrap_err().to_string().contains("graph.kuzu"));
}
