//! Queries that take for ever, and clients that do, beside checkpoints.

use super::*;
use crate::graph::Urgency;
use crate::graph::fixture::graph_at_commit_1;
use crate::ids::Seq;

fn request(text: &str) -> QueryRequest {
    QueryRequest {
        text: text.to_owned(),
        parameters: serde_json::Map::new(),
        timeout: Duration::from_secs(60),
        limit: u64::MAX,
    }
}

#[test]
fn a_query_that_never_ends_is_ended_for_a_checkpoint_that_cannot_wait_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let graph = graph_at_commit_1(&directory.path().join("graph"));
    let endless = "UNWIND range(1, 10000) AS a UNWIND range(1, 10000) AS b UNWIND range(1, 10000) AS c \
         WITH a, b, c WHERE a + b + c < 0 RETURN count(*)";
    std::thread::scope(|scope| {
        let query = scope.spawn(|| {
            let (events, _receiver) = mpsc::channel(1);
            graph.query(&request(endless), &events)
        });
        // Until it runs, checkpoints find nobody.
        while graph.checkpoint_as(Urgency::Due).unwrap() {
            std::thread::yield_now();
        }
        assert!(!query.is_finished());
        assert!(graph.checkpoint_as(Urgency::Vital).unwrap());
        let ended = query.join().unwrap();
        assert!(matches!(ended, Err(GraphError::GaveWay)), "{ended:?}");
    });
    let (events, mut answer) = mpsc::channel(8);
    graph.query(&request("RETURN 1"), &events).unwrap();
    assert!(matches!(answer.blocking_recv(), Some(QueryEvent::Head(_))));
}

#[test]
fn an_answer_that_nobody_fetches_keeps_no_checkpoint_waiting() {
    const ROWS: usize = 10 * BATCH_ROWS;
    let directory = tempfile::tempdir().unwrap();
    let graph = graph_at_commit_1(&directory.path().join("graph"));
    let (events, answer) = mpsc::channel(1);
    std::thread::scope(|scope| {
        // Inside, so that a test that fails lets the query go.
        let mut answer = answer;
        let query = scope.spawn(|| {
            let text =
                format!("UNWIND range(1, {ROWS}) AS a RETURN a, 'a text of some length, ' + string(a)");
            let outcome = graph.query(&request(&text), &events);
            drop(events);
            outcome
        });
        let Some(QueryEvent::Head(head)) = answer.blocking_recv() else {
            panic!("an answer begins with its head");
        };
        assert_eq!(head.watermark.position.seq, Seq(1));
        assert!(!query.is_finished());
        assert!(graph.checkpoint_as(Urgency::Due).unwrap());
        let mut rows = Vec::new();
        while let Some(event) = answer.blocking_recv() {
            if let QueryEvent::Rows(more) = event {
                rows.extend(more);
            }
        }
        query.join().unwrap().unwrap();
        assert_eq!(rows.len(), ROWS);
        let last: [Cell; 2] = [ROWS.into(), format!("a text of some length, {ROWS}").into()];
        assert_eq!(rows[ROWS - 1], last);
    });
}
