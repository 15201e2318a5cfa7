//! A client that retries with its idempotency key gets the first answer and never writes twice, whatever became of the writer.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use serde_json::json;
use slipstream::commit_log::CommitKind;
use slipstream::writer::{CommitAnswer, CommitError, TransactionRequest, WriteError};
use support::cluster::TestGraph;
use support::dump::assert_holds;
use support::log::{assert_in_log, checked_log, commits_of_key};
use support::model::Model;
use support::requests::{delete, keyed, upsert};
use support::waiting::crash_points;

const SCHEMA: &str = "
nodes: [{name: Counter, primaryKey: id, properties: [{name: id, type: int64}, {name: value, type: int64}]}]
";

fn set(key: &str, value: i64) -> TransactionRequest {
    keyed(key, [upsert("Counter", [json!({"id": 1, "value": value})])])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_retry_gets_the_first_answer_also_from_the_next_writer() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let writer = graph.start_writer("writer").await;
    let first = writer.commit(&set("first", 1)).await;
    assert_eq!(
        writer.commit(&set("first", 1)).await,
        first,
        "a retry at the same writer"
    );
    let second = writer.commit(&set("second", 2)).await;
    writer.stop().await;

    // The same directory, and one that never saw the commits.
    for name in ["writer", "another writer"] {
        let writer = graph.start_writer(name).await;
        assert_eq!(
            writer.commit(&set("first", 1)).await,
            first,
            "a retry at the next writer"
        );
        assert_eq!(
            writer.commit(&set("second", 2)).await,
            second,
            "a retry at the next writer"
        );
        model.apply(&set("second", 2).operations).expect("valid");
        assert_holds(
            "the writer after old requests were retried",
            &writer.graph(),
            &model,
        )
        .await;
        writer.stop().await;
    }
    let records = checked_log(&graph.log).await;
    let data = records
        .iter()
        .filter(|record| record.kind == CommitKind::Data)
        .count();
    assert_eq!(data, 2, "a retry made a commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_stood_for_another_request_is_a_conflict_also_at_the_next_writer() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let mut writer = graph.start_writer("writer").await;
    let first = writer.commit(&set("key", 1)).await;
    model.apply(&set("key", 1).operations).expect("valid");
    for _ in 0..2 {
        for other in [set("key", 2), keyed("key", [delete("Counter", [json!(1)])])] {
            match writer.submit(&other).await {
                Err(WriteError::IdempotencyConflict { key, seq }) => {
                    assert_eq!(
                        (key.as_str(), seq),
                        ("key", first.seq.0),
                        "the conflict names the first use"
                    );
                }
                answer => panic!("another request with a used key got {answer:?}"),
            }
        }
        assert_holds("the writer after a conflict", &writer.graph(), &model).await;
        writer.stop().await;
        writer = graph.start_writer("writer").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_that_a_crash_left_unanswered_is_committed_once_and_its_retry_gets_that_answer() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let mut model = Model::new(&graph.schema);
    let mut writer = graph.start_writer("writer").await;
    let points = [
        ("writer::after_lance", false),
        ("writer::before_record", false),
        ("writer::after_record", true),
        ("writer::before_answer", true),
    ];
    for (value, (point, committed)) in (1..).zip(points) {
        fail::cfg(point, "1*return").expect("crash points are compiled in");
        let lost = writer.submit(&set(point, value)).await;
        assert!(
            matches!(lost, Err(WriteError::Unknown)),
            "the writer answered {lost:?} at {point}"
        );
        assert!(matches!(writer.ended().await, Err(CommitError::Crashed(_))));
        let records = checked_log(&graph.log).await;
        let commits = commits_of_key(&records, point);
        assert_eq!(
            commits.len(),
            usize::from(committed),
            "commits made before the crash at {point}"
        );
        let first: Option<CommitAnswer> = commits.first().map(|record| CommitAnswer::from(*record));

        writer = graph.start_writer("writer").await;
        let answer = writer.commit(&set(point, value)).await;
        if let Some(first) = first {
            assert_eq!(answer, first, "the retry after {point} has another answer");
        }
        let records = checked_log(&graph.log).await;
        assert_in_log(&records, &answer);
        assert_eq!(
            commits_of_key(&records, point).len(),
            1,
            "the request of {point} was committed once"
        );
        model.apply(&set(point, value).operations).expect("valid");
        assert_holds("the writer after a retry", &writer.graph(), &model).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_request_sent_by_many_at_once_is_one_commit() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = graph.start_writer("writer").await;
    let request = set("at once", 7);
    let answers = futures::future::join_all((0..8).map(|_| writer.commit(&request))).await;
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "different answers: {answers:?}"
    );
    let records = checked_log(&graph.log).await;
    assert_eq!(commits_of_key(&records, "at once").len(), 1);
}
