//! What clients do: transactions at the same time, bulk requests, retries; and how they learn what became of a request when
//! the writer dies under it.

use std::time::Duration;

use futures::future::join_all;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::Value;
use slipstream::writer::{CommitAnswer, CommitError, OperationRequest, TransactionRequest, WriteError};

use super::History;
use super::nodes::disarm;
use crate::support::cluster::WriterNode;
use crate::support::generator;
use crate::support::requests::keyed;

/// Before and after each durable step of a commit.
const COMMIT_POINTS: [&str; 6] = [
    "writer::before_lance",
    "writer::after_lance",
    "writer::before_record",
    "writer::after_record",
    "writer::before_publish",
    "writer::before_answer",
];

/// Before, within and after the catch-up of the writer's graph.
const CATCH_UP_POINTS: [&str; 4] = [
    "writer::before_catch_up",
    "replica::before_graph_commit",
    "replica::after_graph_commit",
    "writer::after_catch_up",
];

impl History {
    /// Several clients at once; perhaps the writer dies meanwhile.
    pub(crate) async fn transactions(&mut self) {
        let mut requests = Vec::new();
        let mut planned = self.model.clone();
        for _ in 0..self.rng.random_range(1..=6) {
            let operations = generator::operations(&mut self.rng, &planned);
            let _ = planned.apply(&operations);
            requests.push(self.keyed(operations));
        }
        let before = self.graph.current_graph("writer");
        let answers = self.submit(&requests).await;
        self.assert_in_place("writer", before);
        for (request, answer) in requests.into_iter().zip(answers) {
            self.record(request, answer);
        }
    }

    /// Submits in this order. Who gets no answer retries with the same key at the next writer, until there is one.
    async fn submit(&mut self, requests: &[TransactionRequest]) -> Vec<Result<CommitAnswer, WriteError>> {
        self.arm(&COMMIT_POINTS, 0.35);
        let killed_after_ms = self.rng.random_bool(0.1).then(|| self.rng.random_range(0..40));
        let mut answers: Vec<Option<Result<CommitAnswer, WriteError>>> =
            requests.iter().map(|_| None).collect();
        loop {
            let open: Vec<usize> = (0..requests.len())
                .filter(|index| answers[*index].is_none())
                .collect();
            if open.is_empty() {
                break;
            }
            let writer = self.writer.as_ref().expect("a writer runs");
            let switch = writer.kill_switch();
            let kill = async move {
                if let Some(millis) = killed_after_ms {
                    // A moment to die at, not a condition to wait for.
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    switch.abort();
                }
            };
            let (outcomes, ()) = tokio::join!(
                join_all(open.iter().map(|index| writer.submit(&requests[*index]))),
                kill
            );
            let mut dead = killed_after_ms.is_some();
            for (index, outcome) in open.into_iter().zip(outcomes) {
                match outcome {
                    Err(WriteError::Unknown | WriteError::NotCommitted { .. }) => dead = true,
                    known => answers[index] = Some(known),
                }
            }
            if dead {
                let writer = self.writer();
                if killed_after_ms.is_some() {
                    writer.killed().await;
                    self.crashes += 1;
                    self.start_writer().await;
                    return self.with_retries(requests, answers).await;
                }
                self.crashed(writer).await;
            }
        }
        disarm(&COMMIT_POINTS);
        answers.into_iter().flatten().collect()
    }

    /// The rest of [`History::submit`] after a kill: in order, at a writer that nobody kills.
    async fn with_retries(
        &mut self,
        requests: &[TransactionRequest],
        answers: Vec<Option<Result<CommitAnswer, WriteError>>>,
    ) -> Vec<Result<CommitAnswer, WriteError>> {
        disarm(&COMMIT_POINTS);
        let mut known = Vec::new();
        for (request, answer) in requests.iter().zip(answers) {
            known.push(match answer {
                Some(answer) => answer,
                None => self.writer.as_ref().expect("a writer runs").submit(request).await,
            });
        }
        known
    }

    /// The writer met a crash point; another takes over.
    async fn crashed(&mut self, writer: WriterNode) {
        let ended = writer.ended().await;
        assert!(
            matches!(ended, Err(CommitError::Crashed(_))),
            "the writer ended with {ended:?}"
        );
        self.crashes += 1;
        self.start_writer().await;
    }

    /// Some bulk requests, one after the other, and perhaps the death of the writer before its graph holds them.
    pub(crate) async fn bulks(&mut self) {
        for _ in 0..self.rng.random_range(1..=3) {
            self.revive().await;
            self.bulk().await;
        }
        if self.rng.random_bool(0.4) {
            self.crash_while_catching_up().await;
        }
    }

    /// One bulk request; a client that got no answer sends it again with the same key.
    async fn bulk(&mut self) {
        let count = if self.rng.random_bool(0.15) {
            self.rng.random_range(1_000..2_500)
        } else {
            self.rng.random_range(1..60)
        };
        let operation = generator::bulk(&mut self.rng, &self.model, count);
        let OperationRequest::Upsert { table, rows } = &operation else {
            unreachable!("a bulk is an upsert")
        };
        let rows: Vec<Value> = rows.iter().map(|row| row.value().clone()).collect();
        let request = self.keyed([operation.clone()]);
        let key = request.idempotency_key.clone().expect("a key");
        let batch_rows = self.rng.random_range(1..=rows.len());
        let before = self.graph.current_graph("writer");
        self.arm(&COMMIT_POINTS, 0.35);
        let answer = loop {
            let writer = self.writer.as_ref().expect("a writer runs");
            let answer = writer.load(table, &rows, batch_rows, Some(&key)).await;
            let unknown = matches!(answer, Err(WriteError::Unknown | WriteError::NotCommitted { .. }));
            if !unknown {
                if let Ok(answer) = &answer
                    && writer.graph_seq() < answer.seq
                {
                    self.ran_ahead += 1;
                }
                break answer;
            }
            let writer = self.writer();
            self.crashed(writer).await;
        };
        self.assert_in_place("writer", before);
        disarm(&COMMIT_POINTS);
        match (&answer, self.model.apply(&request.operations)) {
            (Ok(_), Ok(())) | (Err(WriteError::Refused(_)), Err(_)) => {}
            (answer, expected) => {
                panic!("the model says {expected:?}, the writer {answer:?} to the bulk {request:?}")
            }
        }
    }

    /// Commits that stand may be missing in the writer's graph: perhaps the writer dies before they get there.
    async fn crash_while_catching_up(&mut self) {
        self.arm(&CATCH_UP_POINTS, 1.0);
        // Only the graph of the head can tell what these touch.
        self.transactions().await;
        disarm(&CATCH_UP_POINTS);
        self.revive().await;
    }

    /// Another writer takes over from one that met a crash point on its own.
    pub(crate) async fn revive(&mut self) {
        if self.writer.as_ref().is_some_and(WriterNode::has_ended) {
            let writer = self.writer();
            self.crashed(writer).await;
        }
    }

    /// A client that had its answer asks again: nothing is written, and the answer is the first one.
    pub(crate) async fn client_retry(&mut self) {
        let Some((request, first)) = self.answered.choose(&mut self.rng) else {
            return;
        };
        let again = self.writer.as_ref().expect("a writer runs").submit(request).await;
        assert_eq!(again.expect("a first answer"), *first);
    }

    fn record(&mut self, request: TransactionRequest, answer: Result<CommitAnswer, WriteError>) {
        match (answer, self.model.apply(&request.operations)) {
            (Ok(answer), Ok(())) => self.answered.push((request, answer)),
            (Err(WriteError::Refused(_)), Err(_)) => self.refused += 1,
            (answer, expected) => panic!("the model says {expected:?}, the writer {answer:?} to {request:?}"),
        }
    }

    fn keyed(&mut self, operations: impl IntoIterator<Item = OperationRequest>) -> TransactionRequest {
        self.requests += 1;
        keyed(&format!("request-{}", self.requests), operations)
    }
}
