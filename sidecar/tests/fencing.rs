//! Two writers on one root: from the newer one's barrier on, the older one cannot commit, and harms nothing by trying.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use serde_json::json;
use slipstream::commit_log::CommitKind;
use slipstream::ids::{LanceVersion, Seq};
use slipstream::writer::{CommitError, TransactionRequest, WriteError};
use support::cluster::{TestGraph, WriterNode};
use support::dump::assert_holds;
use support::log::{assert_in_log, checked_log};
use support::model::Model;
use support::requests::{delete, transaction, upsert};
use support::waiting::{Stall, crash_points, until};

const SCHEMA: &str = "
nodes: [{name: Item, primaryKey: name, properties: [{name: name, type: string}, {name: owner, type: string}]}]
edges: [{name: NEXT, from: Item, to: Item}]
";

fn item(name: &str, owner: &str) -> TransactionRequest {
    transaction([upsert("Item", [json!({"name": name, "owner": owner})])])
}

/// The newest version of a table in Lance, committed or not.
async fn newest_version(graph: &TestGraph, table: &str) -> LanceVersion {
    let lake = graph.lake().await;
    lake.newest(table).await.expect("the table").version()
}

/// The version of a table that the newest commit names.
async fn committed_version(graph: &TestGraph, table: &str) -> LanceVersion {
    let head = graph.log.head(Seq(0)).await.expect("a log").expect("a commit");
    head.tables.get(table).expect("the table's version")
}

/// The writer, a replica and a fresh rebuild hold what the model holds.
async fn assert_all_hold(graph: &TestGraph, writer: &WriterNode, model: &Model) {
    assert_holds("the newer writer", &writer.graph(), model).await;
    let fresh = graph.fresh_rebuild().await;
    assert_holds("a fresh rebuild", &fresh.graph(), model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_older_of_two_writers_is_fenced_and_no_commit_of_the_newer_is_lost() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let older = graph.start_writer("older").await;
    let mut answers = Vec::new();
    for request in [item("a", "older"), item("b", "older")] {
        answers.push(older.commit(&request).await);
        model.apply(&request.operations).expect("valid");
    }
    let mut replica = graph.start_replica("replica").await;
    replica.catch_up().await;
    let newer = graph.start_writer("newer").await;
    let before = newer.commit(&item("a", "newer")).await;
    model.apply(&item("a", "newer").operations).expect("valid");

    // It has not noticed yet. The newer one has not touched this table, so the write succeeds, as a version of no commit.
    let fenced = older
        .submit(&transaction([upsert("NEXT", [json!({"from": "a", "to": "b"})])]))
        .await;
    assert!(
        matches!(fenced, Err(WriteError::Fenced { .. })),
        "the older writer answered {fenced:?}"
    );
    let (newest, committed) = (
        newest_version(&graph, "NEXT").await,
        committed_version(&graph, "NEXT").await,
    );
    assert!(newest > committed, "the older writer left no stray version");
    let ended = older.ended().await;
    assert!(
        matches!(ended, Err(CommitError::Fenced(_))),
        "the older writer ended with {ended:?}"
    );

    // The newer one finds the stray version in its way, restores and goes on.
    let request = transaction([
        upsert("Item", [json!({"name": "c", "owner": "newer"})]),
        upsert("NEXT", [json!({"from": "a", "to": "c"})]),
        delete("Item", [json!("b")]),
    ]);
    answers.extend([before, newer.commit(&request).await]);
    model.apply(&request.operations).expect("valid");
    assert_all_hold(&graph, &newer, &model).await;
    replica.catch_up().await;
    assert_holds("the replica that saw both", &replica.graph(), &model).await;
    let records = checked_log(&graph.log).await;
    answers.iter().for_each(|answer| assert_in_log(&records, answer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_older_writer_that_meets_a_newer_ones_version_restores_nothing() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let older = graph.start_writer("older").await;
    // By its first commit it is past its first heartbeat.
    older.commit(&item("a", "older")).await;
    let newer = graph.start_writer("newer").await;
    newer.commit(&item("a", "newer")).await;
    model.apply(&item("a", "newer").operations).expect("valid");
    let fenced = older.submit(&item("a", "older")).await;
    assert!(
        matches!(fenced, Err(WriteError::Fenced { .. })),
        "the older writer answered {fenced:?}"
    );
    let ended = older.ended().await;
    assert!(
        matches!(ended, Err(CommitError::Fenced(_))),
        "the older writer ended with {ended:?}"
    );
    newer.commit(&item("b", "newer")).await;
    model.apply(&item("b", "newer").operations).expect("valid");
    assert_all_hold(&graph, &newer, &model).await;
    let restored = newest_version(&graph, "Item").await;
    assert_eq!(
        restored,
        committed_version(&graph, "Item").await,
        "something was restored over a commit"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_older_writer_that_stalled_before_its_commit_point_cannot_commit_and_restores_nothing() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let older = graph.start_writer("older").await;
    older.commit(&item("a", "older")).await;
    model.apply(&item("a", "older").operations).expect("valid");

    let stall = Stall::at("writer::before_record");
    let stalled = item("a", "stalled");
    let (answer, newer) = tokio::join!(older.submit(&stalled), async {
        stall.reached().await;
        let newer = graph.start_writer("newer").await;
        for owner in ["newer", "newest"] {
            newer.commit(&item("a", owner)).await;
            model.apply(&item("a", owner).operations).expect("valid");
        }
        let committed = committed_version(&graph, "Item").await;
        assert_eq!(
            newest_version(&graph, "Item").await,
            committed,
            "the newer writer's version is the newest"
        );
        stall.resume();
        newer
    });
    assert!(
        matches!(answer, Err(WriteError::Fenced { .. })),
        "the stalled writer answered {answer:?}"
    );
    assert!(matches!(older.ended().await, Err(CommitError::Fenced(_))));
    assert_eq!(
        newest_version(&graph, "Item").await,
        committed_version(&graph, "Item").await,
        "the fenced writer wrote to a table"
    );

    newer.commit(&item("b", "newer")).await;
    model.apply(&item("b", "newer").operations).expect("valid");
    assert_all_hold(&graph, &newer, &model).await;
    checked_log(&graph.log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn versions_that_a_crashed_writer_left_behind_are_in_no_commit_and_the_next_writer_goes_on() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let mut writer = graph.start_writer("writer").await;
    for (round, point) in ["writer::after_lance", "writer::before_record"]
        .into_iter()
        .enumerate()
    {
        let name = format!("item-{round}");
        writer.commit(&item(&name, "first")).await;
        model.apply(&item(&name, "first").operations).expect("valid");

        fail::cfg(point, "1*return").expect("crash points are compiled in");
        let crashed = writer.submit(&item(&name, "stray")).await;
        assert!(
            matches!(crashed, Err(WriteError::Unknown)),
            "the writer answered {crashed:?} at {point}"
        );
        assert!(matches!(writer.ended().await, Err(CommitError::Crashed(_))));
        let (newest, committed) = (
            newest_version(&graph, "Item").await,
            committed_version(&graph, "Item").await,
        );
        assert!(
            newest > committed,
            "no stray version at {point}: {newest} and {committed}"
        );

        writer = graph.start_writer("writer").await;
        let records = checked_log(&graph.log).await;
        assert!(
            records
                .iter()
                .all(|record| record.tables.get("Item") != Some(newest)),
            "the stray version is in a commit"
        );
        assert_holds("the next writer", &writer.graph(), &model).await;
    }
    let request = transaction([delete("Item", [json!("item-0")])]);
    writer.commit(&request).await;
    model.apply(&request.operations).expect("valid");
    assert_all_hold(&graph, &writer, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_files_may_not_survive_a_power_cut_is_none_and_the_next_one_is_made_of_other_files() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let writer = graph.start_writer("writer").await;
    let commits = async || checked_log(&graph.log).await.len();
    for name in ["a", "b"] {
        writer.commit(&item(name, "first")).await;
        model.apply(&item(name, "first").operations).expect("valid");
        let before = commits().await;

        // Two tables, of which one cannot be synced.
        fail::cfg("writer::before_sync", "1*return").expect("crash points are compiled in");
        let change = transaction([
            upsert("Item", [json!({"name": "stray", "owner": "stray"})]),
            delete("Item", [json!(name)]),
        ]);
        let refused = writer.submit(&change).await;
        assert!(
            matches!(refused, Err(WriteError::NotCommitted { .. })),
            "the writer answered {refused:?}"
        );
        assert_eq!(commits().await, before);
        // One version that was not synced, and one that restores what was committed.
        let (newest, committed) = (
            newest_version(&graph, "Item").await,
            committed_version(&graph, "Item").await,
        );
        assert_eq!(newest.0, committed.0 + 2);
        assert_all_hold(&graph, &writer, &model).await;
    }
    writer.commit(&item("a", "second")).await;
    model.apply(&item("a", "second").operations).expect("valid");
    assert_all_hold(&graph, &writer, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_idle_older_writer_learns_from_its_heartbeat_that_it_is_fenced() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut settings = graph.settings("older");
    settings.heartbeat = std::time::Duration::from_millis(5);
    let older = graph
        .try_start_writer(settings, &graph.schema)
        .await
        .expect("the first writer");
    let newer = graph.start_writer("newer").await;
    assert!(matches!(older.ended().await, Err(CommitError::Fenced(_))));
    newer.commit(&item("a", "newer")).await;
    let barriers = checked_log(&graph.log).await;
    let barriers = barriers
        .iter()
        .filter(|record| record.kind == CommitKind::Barrier)
        .count();
    assert_eq!(barriers, 2, "each writer begins with its barrier");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_given_during_a_takeover_is_true() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let older = graph.start_writer("older").await;
    let committed = std::sync::atomic::AtomicUsize::new(0);
    let count = || committed.load(std::sync::atomic::Ordering::SeqCst);
    let busy = async {
        let mut outcomes = Vec::new();
        for number in 0.. {
            let name = format!("old-{number}");
            let outcome = older.submit(&item(&name, "older")).await;
            let fenced = outcome.is_err();
            outcomes.push((name, outcome));
            committed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if fenced {
                break;
            }
        }
        outcomes
    };
    let takeover = async {
        until("the older writer to be busy", || count() >= 5).await;
        let newer = graph.start_writer("newer").await;
        newer.commit(&item("new", "newer")).await;
        newer
    };
    let (outcomes, newer) = tokio::join!(busy, takeover);
    assert!(matches!(older.ended().await, Err(CommitError::Fenced(_))));

    let records = checked_log(&graph.log).await;
    let mut model = Model::new(&graph.schema);
    model.apply(&item("new", "newer").operations).expect("valid");
    for (name, outcome) in outcomes {
        match outcome {
            Ok(answer) => {
                assert_in_log(&records, &answer);
                model.apply(&item(&name, "older").operations).expect("valid");
            }
            Err(WriteError::Fenced { .. }) => {}
            Err(other) => panic!("{name}: {other}"),
        }
    }
    // What was answered is there, what was refused as fenced is not.
    assert_all_hold(&graph, &newer, &model).await;
}
