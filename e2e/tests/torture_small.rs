//! The torture in small: a few crash points of each stage, random kills, zombies, damage, consistency, soak. `./justw torture` does all of it.

use slipstream_e2e::local_process::find_binary;
use slipstream_e2e::torture::consistency::Failing;
use slipstream_e2e::torture::{
    Options, PartReport, TortureError, consistency, damage, matrix, random_kills, soak, zombies,
};
use tokio::sync::Mutex;

/// One part at a time: each measures processes that need the machine for themselves.
static TURN: Mutex<()> = Mutex::const_new(());

/// What a part needs; the directory goes with the test, unless it failed.
fn options(directory: &tempfile::TempDir) -> Options {
    let seed = rand::random_range(0..1 << 32);
    println!("seed {seed}");
    Options {
        small: true,
        seed,
        runs: None,
        minutes: None,
        binary: find_binary().expect("the workspace is built"),
        directory: directory.path().to_owned(),
    }
}

fn passed(report: Result<PartReport, TortureError>, directory: tempfile::TempDir) {
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    report.print();
    if !report.failures.is_empty() {
        panic!("see above, and the logs below {}", directory.keep().display());
    }
}

#[tokio::test]
async fn nothing_is_lost_by_a_kill_at_a_fail_point_of_each_stage() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    passed(matrix::run(&options(&directory)).await, directory);
}

#[tokio::test]
async fn nothing_is_lost_by_kills_at_random_moments() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    passed(random_kills::run(&options(&directory)).await, directory);
}

#[tokio::test]
async fn a_stopped_writer_that_goes_on_after_another_took_over_changes_nothing() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    passed(zombies::run(&options(&directory)).await, directory);
}

#[tokio::test]
async fn what_is_damaged_heals_or_is_refused_by_name() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    passed(damage::run(&options(&directory)).await, directory);
}

#[tokio::test]
async fn every_answer_beside_failures_is_one_that_the_protocol_allows() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    passed(
        consistency::run(&options(&directory), Failing::Nodes).await,
        directory,
    );
}

#[tokio::test]
async fn every_answer_beside_failing_servers_is_one_that_the_protocol_allows() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    passed(
        consistency::run(&options(&directory), Failing::Servers).await,
        directory,
    );
}

#[tokio::test]
async fn the_background_work_keeps_up_with_a_steady_load() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    passed(soak::run(&options(&directory)).await, directory);
}
