//! A client that asks the read Service again and again and notes every failure. It never asks twice for one answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::small_graph::COUNT;
use crate::client::{Node, Query};
use crate::scenarios::ScenarioError;
use crate::wait::{Look, until};

/// An answer that takes longer is a failure.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// From one answer to the next question.
const PAUSE: Duration = Duration::from_millis(30);

/// One question without an answer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it was asked.
    pub asked: Instant,
    pub error: String,
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// When it was asked.
    pub asked: Instant,
    pub took: Duration,
    /// The commit it was computed at.
    pub seq: u64,
}

/// What the reader saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub answers: Vec<Answered>,
    pub failures: Vec<Failure>,
}

impl Seen {
    /// The time of the slowest answer.
    pub fn slowest(&self) -> Duration {
        self.answers
            .iter()
            .map(|answer| answer.took)
            .max()
            .unwrap_or_default()
    }
}

/// The client in its loop; ends when dropped.
#[derive(Debug)]
pub struct LoopingReader {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl LoopingReader {
    /// Counts the items of a small graph, through a Service.
    pub fn start(node: Node) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(read(node, Arc::clone(&seen)));
        Self { seen, task }
    }

    /// Up to now.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Waits until it has had `count` more answers: it works now.
    ///
    /// # Errors
    /// When they do not come in time; with the last failure.
    pub async fn wait_answers(&self, count: usize, within: Duration) -> Result<(), ScenarioError> {
        let enough = self.seen().answers.len() + count;
        let answered = until("answers of the read Service", within, async || {
            let seen = self.seen();
            if seen.answers.len() >= enough {
                return Look::Found(());
            }
            Look::NotYet(format!(
                "{} answers; last failure: {:?}",
                seen.answers.len(),
                seen.failures.last()
            ))
        });
        Ok(answered.await?)
    }

    /// Fails if any question asked from `since` on had no answer.
    ///
    /// # Errors
    /// The first such failure.
    pub fn expect_no_failure(&self, since: Instant, what: &str) -> Result<(), ScenarioError> {
        let seen = self.seen();
        let mut failures = seen.failures.iter().filter(|failure| failure.asked >= since);
        match failures.next() {
            None => Ok(()),
            Some(first) => Err(ScenarioError::wrong(
                format!("reads {what}, {} answered", seen.answers.len()),
                "no failure",
                format!(
                    "{} failures, the first {:?} after the start: {}",
                    1 + failures.count(),
                    first.asked - since,
                    first.error
                ),
            )),
        }
    }
}

impl Drop for LoopingReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(node: Node, seen: Arc<Mutex<Seen>>) {
    let query = Query::new(COUNT);
    loop {
        let asked = Instant::now();
        let outcome = match tokio::time::timeout(ANSWER_WITHIN, node.query(&query)).await {
            Ok(Ok(answer)) => Ok(answer.seq),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
        };
        {
            let mut seen = lock(&seen);
            match outcome {
                Ok(seq) => seen.answers.push(Answered {
                    asked,
                    took: asked.elapsed(),
                    seq,
                }),
                Err(error) => seen.failures.push(Failure { asked, error }),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
