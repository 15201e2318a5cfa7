//! A run that is cut off at any durable step, by a crash or by another writer.

use std::time::Duration;

use slipstream::writer::CommitError;

use crate::graph::{Optimized, everything_held};
use crate::support::log::checked_log;
use crate::support::waiting::{Stall, crash_points, until};

/// The points at which a run of the optimizer can be stopped that every run with clients beside comes to.
const POINTS: [&str; 8] = [
    "optimizer::after_rewrite",
    "optimizer::before_commit_tables",
    "optimizer::before_record",
    "optimizer::after_record",
    "optimizer::before_cleaning",
    "optimizer::between_cleanings",
    "optimizer::before_trim",
    "optimizer::between_trims",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fenced_writers_optimizer_changes_nothing() {
    let _scenario = crash_points();
    for point in ["optimizer::before_commit_tables", "optimizer::before_cleaning"] {
        let mut test = Optimized::new();
        let old = test.start_writer("old", Duration::from_secs(3600)).await;
        test.write_rounds(&old, 4).await;
        test.graph.clock.shift_millis(20_000);
        test.write_rounds(&old, 1).await;
        let stall = Stall::at(point);
        test.every(Duration::from_millis(5));
        stall.reached().await;
        test.every(Duration::from_secs(3600));
        let new = test.start_writer("new", Duration::from_secs(3600)).await;
        test.write_rounds(&new, 2).await;
        let lake = test.graph.lake().await;
        let versions = |lake: slipstream::lake::Lake| async move {
            let table = lake.newest("Person").await.expect("a table");
            table.versions().await.expect("a listing")
        };
        let before = versions(test.graph.lake().await).await;
        stall.resume();
        let ended = old.ended().await.expect_err("it is fenced");
        assert!(matches!(ended, CommitError::Fenced(_)), "{point}: {ended}");
        let after = versions(lake).await;
        // The version that the stalled step was about to write may be there, named by no commit; none is gone.
        assert!(
            before.iter().all(|version| after.contains(version)),
            "{point}: {before:?} {after:?}"
        );
        checked_log(&test.graph.log).await;
        test.write_rounds(&new, 2).await;
        everything_held(&[("the new writer", new.graph())], &test.model).await;
        new.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_moment_a_run_is_cut_off_nothing_is_lost() {
    let _scenario = crash_points();
    for point in POINTS {
        let mut test = Optimized::new();
        let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
        for _ in 0..6 {
            test.write_rounds(&writer, 2).await;
        }
        test.graph.clock.shift_millis(20_000);
        test.write_rounds(&writer, 1).await;
        if point.contains("trim") {
            // The first cleaning learns where the log may begin; only then is there something to trim.
            test.graph.clock.shift_millis(200_000);
        }
        fail::cfg(point, "1*return").expect("a crash point");
        test.every(Duration::from_millis(5));
        until(&format!("the writer to stop at {point}"), || writer.has_ended()).await;
        let ended = writer.ended().await.expect_err("it crashed");
        assert!(matches!(ended, CommitError::Crashed(_)), "{point}: {ended}");
        fail::remove(point);
        test.every(Duration::from_secs(3600));
        let writer = test.start_writer("writer", Duration::from_secs(3600)).await;
        test.write_rounds(&writer, 2).await;
        test.clean(&writer).await;
        test.write_rounds(&writer, 1).await;
        let fresh = test.graph.fresh_rebuild().await;
        everything_held(
            &[("the writer", writer.graph()), ("fresh", fresh.graph())],
            &test.model,
        )
        .await;
        writer.stop().await;
    }
}
