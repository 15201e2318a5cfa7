//! A client that commits one item after another through the writer's Service and remembers what was acknowledged.
//! What failed is sent again with the same idempotency key, as a careful client does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use super::small_graph::items;
use crate::client::Node;
use crate::scenarios::ScenarioError;
use crate::wait::{Look, until};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// From one commit to the next, and from a failure to its repetition.
const PAUSE: Duration = Duration::from_millis(50);

/// An acknowledged commit.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The item it made.
    pub id: i64,
    pub seq: u64,
    pub tx_id: String,
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Written {
    acknowledged: Vec<Acknowledged>,
    failures: Vec<String>,
}

/// The client in its loop; ends when dropped.
#[derive(Debug)]
pub struct LoopingWriter {
    written: Arc<Mutex<Written>>,
    task: JoinHandle<()>,
}

impl LoopingWriter {
    /// Commits items with ids from `first` on.
    pub fn start(node: Node, first: i64) -> Self {
        let written = Arc::new(Mutex::new(Written::default()));
        let task = tokio::spawn(write(node, first, Arc::clone(&written)));
        Self { written, task }
    }

    /// What was acknowledged up to now, in order.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        lock(&self.written).acknowledged.clone()
    }

    /// Answers that did not come, or said no.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.written).failures.clone()
    }

    /// Waits for `count` more acknowledged commits and gives the first of them.
    ///
    /// # Errors
    /// When they do not come in time; with the last failure.
    pub async fn wait_more(&self, count: usize, within: Duration) -> Result<Acknowledged, ScenarioError> {
        let before = self.acknowledged().len();
        let more = until("acknowledged commits", within, async || {
            let acknowledged = self.acknowledged();
            match acknowledged.get(before) {
                Some(first) if acknowledged.len() >= before + count => Look::Found(first.clone()),
                _ => Look::NotYet(format!(
                    "{} more; last failure: {:?}",
                    acknowledged.len() - before,
                    self.failures().last()
                )),
            }
        });
        Ok(more.await?)
    }
}

impl Drop for LoopingWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(node: Node, first: i64, written: Arc<Mutex<Written>>) {
    let mut id = first;
    loop {
        let mut transaction = items([id]);
        transaction["idempotency_key"] = json!(format!("looping-writer-{id}"));
        let outcome = match tokio::time::timeout(ANSWER_WITHIN, node.commit(&transaction)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
        };
        {
            let mut written = lock(&written);
            match outcome {
                Ok(answer) => {
                    written.acknowledged.push(Acknowledged {
                        id,
                        seq: answer.seq,
                        tx_id: answer.tx_id,
                        at: Instant::now(),
                    });
                    id += 1;
                }
                Err(error) => written.failures.push(error),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn lock(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}
