//! Readers that look for half a commit, all the time, on every node; and for nodes that do not show what they promised.
//!
//! Owns: what one read must show. Does not own: comparing whole graphs (`model_check`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::model::Batch;
use super::model_check::Faults;
use super::workload::History;
use crate::client::{Answer, ClientError, Node, Query};

/// Accounts and Mirrors with equal numbers and equal sums of stamps, in one statement over two tables.
const TWINS: &str = "MATCH (a:Account) WHERE a.batch IS NULL WITH count(a) AS accounts, sum(a.stamp) AS left \
                     MATCH (m:Mirror) RETURN accounts, left, count(m), sum(m.stamp)";
/// Pairs of twins with different stamps.
const PAIRS: &str =
    "MATCH (a:Account), (m:Mirror) WHERE a.id = m.id AND a.stamp <> m.stamp RETURN a.id, a.stamp, m.stamp";
/// Batches: the rows of one have one stamp and are there together.
const BATCHES: &str = "MATCH (a:Account) WHERE a.batch IS NOT NULL \
                       RETURN a.batch, a.stamp, count(a)";
const NO_ANSWER: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(15);

/// A reader at work; dropping it ends it.
#[derive(Debug)]
pub struct Reader {
    stopping: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Reads from `nodes`, in random order; nodes that do not answer are asked again later.
    pub fn start(nodes: Vec<Node>, history: &Arc<History>, seed: u64) -> Self {
        let (stopping, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (history, stop, count) = (history.clone(), stopping.clone(), reads.clone());
        let task = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            while !stop.load(Ordering::SeqCst) {
                if let Some(node) = nodes.choose(&mut random)
                    && let Ok(Ok(faults)) = timeout(NO_ANSWER, read(node, &history, &mut random)).await
                {
                    count.fetch_add(1, Ordering::SeqCst);
                    history.fault(faults);
                }
                sleep(PAUSE).await;
            }
        });
        Self {
            stopping,
            reads,
            task,
        }
    }

    /// Ends it; how many reads were answered.
    pub async fn stop(mut self) -> usize {
        self.stopping.store(true, Ordering::SeqCst);
        // It can only have panicked, and then its reads are too few.
        let _ = (&mut self.task).await;
        self.reads.load(Ordering::SeqCst)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(node: &Node, history: &History, random: &mut StdRng) -> Result<Faults, ClientError> {
    match random.random_range(0..4) {
        0 => Ok(twins(&node.name, &node.query(&Query::new(TWINS)).await?)),
        1 => Ok(pairs(&node.name, &node.query(&Query::new(PAIRS)).await?)),
        2 => Ok(batches(&node.name, &node.query(&Query::new(BATCHES)).await?)),
        _ => {
            let Some(newest) = history.newest() else {
                return Ok(Faults::default());
            };
            let answer = node.query(&Query::new(TWINS).min_tx(&newest.tx_id)).await?;
            let mut faults = twins(&node.name, &answer);
            if answer.seq < newest.seq {
                let text = format!(
                    "{} answered at commit {} although at least {} was asked for",
                    node.name, answer.seq, newest.seq
                );
                faults.lost.push(text);
            }
            Ok(faults)
        }
    }
}

fn torn(texts: Vec<String>) -> Faults {
    Faults {
        torn: texts,
        ..Faults::default()
    }
}

fn twins(name: &str, answer: &Answer) -> Faults {
    let odd = answer
        .rows
        .iter()
        .filter(|row| row[0] != row[2] || row[1] != row[3]);
    torn(
        odd.map(|row| format!("{name} at commit {}: Accounts and Mirrors {row:?}", answer.seq))
            .collect(),
    )
}

fn pairs(name: &str, answer: &Answer) -> Faults {
    let odd = answer.rows.iter();
    torn(
        odd.map(|row| format!("{name} at commit {}: twins with two stamps {row:?}", answer.seq))
            .collect(),
    )
}

fn batches(name: &str, answer: &Answer) -> Faults {
    let odd = answer
        .rows
        .iter()
        .filter(|row| row[0].as_i64().map(Batch::rows_of) != row[2].as_i64());
    torn(
        odd.map(|row| format!("{name} at commit {}: a batch in part {row:?}", answer.seq))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(rows: Value) -> Answer {
        serde_json::from_value(
            json!({"columns": [], "rows": rows, "tx_id": "t", "seq": 4, "truncated": false}),
        )
        .unwrap()
    }

    #[test]
    fn half_a_commit_is_found_by_each_read() {
        assert!(twins("n", &answer(json!([[2, 9, 2, 9]]))).is_empty());
        assert_eq!(twins("n", &answer(json!([[2, 9, 1, 9]]))).torn.len(), 1);
        assert_eq!(twins("n", &answer(json!([[2, 9, 2, 8]]))).torn.len(), 1);
        assert_eq!(pairs("n", &answer(json!([[1, 5, 6]]))).torn.len(), 1);
        assert!(batches("n", &answer(json!([[3007, 5, 7]]))).is_empty());
        assert_eq!(batches("n", &answer(json!([[3007, 5, 6]]))).torn.len(), 1);
    }
}
