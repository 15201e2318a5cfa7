//! A process that dies at any durable step of taking, keeping or restoring snapshots.

use std::time::Duration;

use slipstream::replica::AdvanceError;
use slipstream::snapshot::{SnapshotError, check};

use super::scene::{Scene, limits, settings};
use crate::support::dump::assert_holds;
use crate::support::waiting::crash_points;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wherever_a_replica_dies_the_next_snapshot_is_good_and_nothing_is_left_over() {
    let _scenario = crash_points();
    for point in [
        "snapshot::after_checkpoint",
        "snapshot::after_copy",
        "snapshot::before_parts",
        "snapshot::between_parts",
        "snapshot::before_meta",
        "snapshot::after_meta",
        "snapshot::before_retention",
        "snapshot::between_deletes",
    ] {
        let mut scene = Scene::new().await;
        let mut taker = scene.taker("replica-1", settings(1)).await;
        // Two that stay and one that has to go, so that retention has something to do.
        for _ in 0..3 {
            scene.commits(1).await;
            taker.take().await;
            scene.pass(Duration::from_secs(10));
        }
        scene.commits(1).await;
        taker.node.catch_up().await;
        let good_before = scene.retained().await[0].clone();
        fail::cfg(point, "1*return").expect("crash points are compiled in");
        let crashed = taker.look().await;
        fail::remove(point);
        assert!(
            matches!(crashed, Err(SnapshotError::Crashed(found)) if found == point),
            "{point}: {crashed:?}"
        );
        // One good snapshot was there at every moment.
        let newest = scene.retained().await[0].clone();
        assert!(newest.seq >= good_before.seq, "{point}");
        check(&scene.graph.store, &newest, &limits())
            .await
            .unwrap_or_else(|error| panic!("{point}: {error}"));
        // It starts again, an hour and more later.
        taker.node.stop().await;
        scene.pass(Duration::from_secs(3700));
        scene.commits(1).await;
        let mut taker = scene.taker("replica-1", settings(1)).await;
        let taken = taker.take().await;
        scene.pass(Duration::from_secs(10));
        taker.look().await.expect("retention");
        let kept = scene.retained().await;
        assert_eq!((kept.len(), kept[0].seq), (2, taken.seq), "{point}");
        let expected: usize = kept.iter().map(|meta| meta.parts.len() + 1).sum();
        let objects = scene.objects().await;
        assert_eq!(objects.len(), expected, "{point}: {objects:#?}");
        // On local disk nothing is left either.
        let graphs = std::fs::read_dir(scene.graph.data_dir("replica-1")).unwrap();
        let graphs = graphs
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("graph-"));
        assert_eq!(graphs.count(), 1, "{point}");
        let mut fresh = scene.graph.start_replica("fresh").await;
        fresh.catch_up().await;
        assert_holds(point, &fresh.graph(), &scene.model).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wherever_a_node_dies_while_it_restores_the_next_start_has_the_graph() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut taker = scene.taker("replica-1", settings(1)).await;
    scene.commits(1).await;
    let taken = taker.take().await;
    scene.commits(1).await;
    for point in [
        "restore::before_download",
        "restore::between_parts",
        "restore::before_open",
        "restore::before_install",
    ] {
        let name = point.replace("::", "-");
        let mut node = scene.graph.start_replica(&name).await;
        fail::cfg(point, "1*return").expect("crash points are compiled in");
        let crashed = node.pass().await;
        fail::remove(point);
        assert!(
            matches!(crashed, Err(AdvanceError::Crashed(found)) if found == point),
            "{point}: {crashed:?}"
        );
        node.stop().await;
        let mut node = scene.graph.start_replica(&name).await;
        node.pass().await.unwrap();
        assert_eq!(
            node.advancer.progress.view().watermark.unwrap().seq,
            taken.seq,
            "{point}"
        );
        node.catch_up().await;
        assert_holds(point, &node.graph(), &scene.model).await;
        let graphs = std::fs::read_dir(scene.graph.data_dir(&name)).unwrap();
        let graphs = graphs
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("graph-"));
        assert_eq!(graphs.count(), 1, "{point}");
    }
}
