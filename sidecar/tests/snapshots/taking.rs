//! When snapshots are taken, by whom, and which stay.

use std::time::Duration;

use slipstream::snapshot::{SnapshotLimits, SnapshotRefusal, check, pins};

use super::scene::{Scene, limits, settings};
use crate::support::waiting::{Stall, crash_points, until, within};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_is_taken_every_so_many_commits_and_describes_itself() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut taker = scene.taker("replica-1", settings(10)).await;
    let head = taker.node.advancer.progress.view().head.seq;
    assert!(head.0 < 10, "{head}");
    assert_eq!(taker.look().await.unwrap(), None, "nothing is due yet");
    scene.commits(10 - head.0).await;
    let meta = taker.take().await;
    let watermark = taker.node.advancer.progress.view().watermark.unwrap();
    assert_eq!((meta.seq, meta.tx_id), (watermark.seq, watermark.tx_id));
    assert_eq!(meta.taken_by, "replica-1");
    assert!(meta.parts.len() > 2, "{meta:?}");
    assert!(meta.stored_bytes() < meta.file.size, "{meta:?}");
    check(&scene.graph.store, &meta, &limits())
        .await
        .expect("every hash is right");
    assert_eq!(
        scene.objects().await.len(),
        meta.parts.len() + 1,
        "nothing else is left"
    );
    // The reports say so, and what it needs is pinned.
    let report = taker.node.advancer.progress.reports().view().snapshots;
    assert_eq!(report.last.as_ref().map(|last| last.seq), Some(meta.seq));
    assert_eq!((report.retained, report.running, report.error), (1, false, None));
    assert!(report.next_due.is_some());
    let pinned = pins(&*scene.graph.store).await.unwrap();
    assert_eq!(pinned, [meta.pin()]);
    // Nothing new: nothing due, also at the next scheduled time.
    assert_eq!(taker.look().await.unwrap(), None);
    scene.pass(2 * HOUR);
    assert_eq!(taker.look().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_schedule_that_was_missed_many_times_is_made_up_for_once() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut taker = scene.taker("replica-1", settings(0)).await;
    scene.pass(5 * HOUR);
    let first = taker.take().await;
    assert_eq!(taker.look().await.unwrap(), None);
    scene.commits(3).await;
    taker.node.catch_up().await;
    assert_eq!(taker.look().await.unwrap(), None, "not before the next hour");
    scene.pass(HOUR);
    let second = taker.take().await;
    assert!(second.seq > first.seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn settings_that_change_take_effect_at_the_next_look() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut off = settings(1);
    off.enabled = false;
    let mut taker = scene.taker("replica-1", off).await;
    scene.pass(5 * HOUR);
    assert_eq!(taker.look().await.unwrap(), None, "switched off");
    taker.settings.send_replace(settings(1000));
    taker.take().await;
    scene.commits(2).await;
    taker.node.catch_up().await;
    assert_eq!(taker.look().await.unwrap(), None);
    taker.settings.send_replace(settings(2));
    taker.take().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_three_replicas_one_takes_the_snapshot_that_is_due() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    scene.commits(10).await;
    let mut takers = Vec::new();
    for number in 1..=3 {
        takers.push(scene.taker(&format!("replica-{number}"), settings(5)).await);
    }
    let [first, second, third] = &mut takers[..] else {
        panic!("three")
    };
    let (first, second, third) = tokio::join!(first.look(), second.look(), third.look());
    let taken = [first, second, third].map(|looked| looked.expect("no error"));
    assert_eq!(taken.iter().flatten().count(), 1, "{taken:?}");
    for taker in &mut takers {
        assert_eq!(taker.look().await.unwrap(), None, "it is done");
    }
    assert_eq!(scene.retained().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_newest_stay_and_older_ones_go_when_they_are_too_old() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut taker = scene.taker("replica-1", settings(1)).await;
    let mut taken = Vec::new();
    for _ in 0..4 {
        scene.commits(1).await;
        taken.push(taker.take().await.seq);
        scene.pass(Duration::from_secs(10));
    }
    let kept: Vec<_> = scene.retained().await.iter().map(|meta| meta.seq).collect();
    assert_eq!(kept, [taken[3], taken[2]], "the two newest of {taken:?}");
    // Young ones stay, however many there are.
    let mut patient = settings(1);
    patient.max_age = "1h".parse().unwrap();
    taker.settings.send_replace(patient);
    scene.commits(1).await;
    taker.take().await;
    assert_eq!(scene.retained().await.len(), 3);
    // Switched off, the rules hold all the same.
    let mut off = settings(1);
    off.enabled = false;
    taker.settings.send_replace(off);
    scene.pass(2 * HOUR);
    assert_eq!(taker.look().await.unwrap(), None);
    assert_eq!(scene.retained().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_newest_good_one_is_never_removed_for_newer_ones_that_are_damaged() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut taker = scene.taker("replica-1", settings(1)).await;
    let mut keep_all = settings(1);
    keep_all.max_age = "1000d".parse().unwrap();
    taker.settings.send_replace(keep_all);
    let mut taken = Vec::new();
    for _ in 0..3 {
        scene.commits(1).await;
        taken.push(taker.take().await);
    }
    for meta in &taken[1..] {
        scene.tamper(meta, "part-00001.zst", |bytes| bytes[20] ^= 1).await;
    }
    // Another process, which has verified none of them.
    let mut off = settings(1);
    off.enabled = false;
    let mut other = scene.taker("replica-2", off).await;
    scene.pass(HOUR);
    assert_eq!(other.look().await.unwrap(), None);
    let kept: Vec<_> = scene.retained().await.iter().map(|meta| meta.seq).collect();
    assert_eq!(kept, [taken[0].seq]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_that_is_asked_for_is_taken_found_or_refused() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut off = settings(0);
    off.enabled = false;
    let mut taker = scene.taker("replica-1", off.clone()).await;
    let (asked, looked) = tokio::join!(taker.requests.ask(), taker.node.replica.take_due_snapshot());
    let answer = asked.expect("a snapshot");
    assert_eq!(looked.unwrap().map(|meta| meta.tx_id), Some(answer.meta.tx_id));
    assert!(!answer.existed);
    // Nothing was committed since: the one that is there is good.
    let (again, _) = tokio::join!(taker.requests.ask(), taker.node.replica.take_due_snapshot());
    let again = again.expect("a snapshot");
    assert_eq!((again.existed, again.meta.tx_id), (true, answer.meta.tx_id));
    // Damaged: it is taken anew.
    scene
        .tamper(&answer.meta, "part-00000.zst", |bytes| bytes.truncate(9))
        .await;
    scene
        .tamper(&answer.meta, "part-00001.zst", |bytes| bytes[9] ^= 1)
        .await;
    let (anew, _) = tokio::join!(taker.requests.ask(), taker.node.replica.take_due_snapshot());
    let anew = anew.expect("a snapshot");
    assert!(!anew.existed);
    check(&scene.graph.store, &anew.meta, &limits())
        .await
        .expect("good again");
    // Another has the duty.
    scene.commits(1).await;
    let mut other = scene.taker("replica-2", off).await;
    let stalled = Stall::at("snapshot::before_meta");
    let busy = async {
        stalled.reached().await;
        taker.node.catch_up().await;
        let (refused, _) = tokio::join!(taker.requests.ask(), taker.node.replica.take_due_snapshot());
        stalled.resume();
        refused
    };
    let (asked, looked, refused) =
        tokio::join!(other.requests.ask(), other.node.replica.take_due_snapshot(), busy);
    asked.expect("a snapshot");
    looked.expect("a snapshot");
    let held = SnapshotRefusal::Busy {
        holder: "replica-2".to_owned(),
    };
    assert_eq!(refused.unwrap_err(), held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_holder_that_lost_the_duty_harms_nobody() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    scene.commits(1).await;
    let mut slow = scene.taker("replica-1", settings(1)).await;
    let mut quick = scene.taker("replica-2", settings(1)).await;
    let stalled = Stall::at("snapshot::before_meta");
    let meanwhile = async {
        stalled.reached().await;
        // Its duty expires; another takes the same commit's snapshot.
        scene.graph.clock.shift_millis(61_000);
        stalled.resume();
        quick.look().await
    };
    let (lost, taken) = tokio::join!(slow.look(), meanwhile);
    // Whoever was quicker: one good snapshot is there, and nothing besides.
    assert!(lost.is_ok() || taken.is_ok(), "{lost:?} {taken:?}");
    let kept = scene.retained().await;
    assert_eq!(kept.len(), 1, "{lost:?} {taken:?}");
    check(&scene.graph.store, &kept[0], &limits())
        .await
        .expect("good");
    assert_eq!(scene.objects().await.len(), kept[0].parts.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_follows_takes_its_snapshots_by_itself_and_leaves_when_told() {
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let look = SnapshotLimits {
        look: Duration::from_secs(3600),
        ..limits()
    };
    let taker = scene.taker_with("replica-1", settings(5), look).await;
    let (shutdown, progress) = (
        tokio_util::sync::CancellationToken::new(),
        taker.node.advancer.progress.clone(),
    );
    let (_interval, poll) = tokio::sync::watch::channel(Duration::from_millis(20));
    let doorbells: Vec<Box<dyn slipstream::replica::Doorbell>> =
        vec![Box::new(slipstream::replica::PollInterval(poll))];
    let following = tokio::spawn(taker.node.replica.run(doorbells, shutdown.clone()));
    for round in 1..=3 {
        let before = progress.reports().view().snapshots.last.map(|last| last.seq);
        scene.commits(6).await;
        until(&format!("snapshot {round}"), || {
            let report = progress.reports().view().snapshots;
            report.last.map(|last| last.seq) > before && !report.running
        })
        .await;
    }
    shutdown.cancel();
    within("the replica to leave", following).await.expect("no panic");
    assert!(scene.retained().await.len() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_engine_keeps_its_lock_on_the_file_that_was_copied() {
    use std::os::unix::fs::MetadataExt as _;
    let _scenario = crash_points();
    let mut scene = Scene::new().await;
    let mut taker = scene.taker("replica-1", settings(1)).await;
    let file = taker.node.graph().directory().join("graph.kuzu");
    let inode = std::fs::metadata(file).unwrap().ino();
    // `1: POSIX  ADVISORY  WRITE 1234 fe:00:131090 0 EOF`
    let is_locked = || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks
            .lines()
            .any(|lock| lock.contains(&format!(":{inode} ")) && lock.contains("WRITE"))
    };
    assert!(is_locked(), "the engine locks its file");
    scene.commits(1).await;
    taker.take().await;
    assert!(is_locked(), "another process could open the graph");
    // A restored one is locked as well.
    let mut fresh = scene.graph.start_replica("replica-2").await;
    fresh.pass().await.unwrap();
    let file = fresh.graph().directory().join("graph.kuzu");
    let inode = std::fs::metadata(file).unwrap().ino();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    assert!(locks.contains(&format!(":{inode} ")), "{locks}");
}
