//! One client of the registers: an operation at a time, each recorded with what came of it.
//!
//! Writes go to the newest writer, and now and then to an older one that may still think it is one. Half of them carry an
//! idempotency key and are sent again until their outcome is known; the others are never sent again once it is in doubt.
//! Reads go to any node with any floor.

mod draw;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::shared::Shared;
use crate::client::{Answer, ClientError, CommitAnswer, Node, Query};
use crate::torture::checker::state::{Change, State, Transaction, link_key};
use crate::torture::history::{Floor, ReadOp, WriteOp, WriteOutcome};

/// How long a client waits for one write before it gives the request up: less than a writer is paused at most.
const GIVE_UP: Duration = Duration::from_millis(1_500);
/// The same for a read.
const GIVE_UP_READ: Duration = Duration::from_secs(4);
/// How long a write with a key is sent again and again.
const RETRY_FOR: Duration = Duration::from_secs(8);
/// After a request without an answer.
const PAUSE: Duration = Duration::from_millis(60);
/// Longest wait between two operations of a session.
const THINK_MS: u64 = 30;
const READ_TIMEOUT_MS: u64 = 3_000;

const READ_ALL: &str = "MATCH (r:Register) OPTIONAL MATCH (r)-[l:LINK]->(s:Register) \
     RETURN r.name, r.value, s.name, l.value";
const READ_SOME: &str = "MATCH (r:Register) WHERE r.name IN $names OPTIONAL MATCH (r)-[l:LINK]->(s:Register) \
     RETURN r.name, r.value, s.name, l.value";

/// What one attempt to write came to.
enum Attempt {
    Committed(CommitAnswer),
    /// For good: the transaction is at fault.
    Refused(String),
    /// Nothing was changed; another attempt may do.
    NotNow(String),
    /// Nobody knows.
    Open,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    number: usize,
    random: StdRng,
    shared: Arc<Shared>,
    /// The newest commit that this session saw.
    token: Option<String>,
}

impl Session {
    pub(super) fn new(number: usize, seed: u64, shared: Arc<Shared>) -> Self {
        Self {
            number,
            random: StdRng::seed_from_u64(seed),
            shared,
            token: None,
        }
    }

    /// Reads and writes until the run is over.
    pub(super) async fn run(mut self) {
        while !self.shared.is_over() {
            if self.random.random_bool(0.5) {
                self.write().await;
            } else {
                let node = self.shared.nodes().any(&mut self.random);
                let (floor, names) = (self.floor(), self.names());
                if !self.read(&node, floor, names).await {
                    sleep(PAUSE).await;
                }
            }
            sleep(Duration::from_millis(self.random.random_range(0..THINK_MS))).await;
        }
    }

    async fn write(&mut self) {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let transaction = self.transaction();
        let has_key = self.random.random_bool(0.5);
        let mut body = json!({"notes": format!("w{id}"), "operations": operations(id, &transaction)});
        if has_key {
            body["idempotency_key"] = format!("k{id}").into();
        }
        let invoked = self.shared.recorder.now();
        let until = Instant::now() + RETRY_FOR;
        let mut is_certain = true;
        let outcome = loop {
            let node = self.shared.nodes().any_writer(&mut self.random);
            let problem = match self.attempt(&node, &body).await {
                Attempt::Committed(answer) => {
                    break WriteOutcome::Committed {
                        seq: answer.seq,
                        tx_id: answer.tx_id,
                    };
                }
                // An earlier attempt may still arrive and find the graph changed.
                Attempt::Refused(_) if !is_certain => break WriteOutcome::Unknown,
                Attempt::Refused(problem) => break WriteOutcome::Refused { problem },
                Attempt::NotNow(problem) => problem,
                Attempt::Open => {
                    is_certain = false;
                    if !has_key {
                        break WriteOutcome::Unknown;
                    }
                    String::new()
                }
            };
            if Instant::now() >= until || self.shared.is_over() {
                break match is_certain {
                    true => WriteOutcome::Refused { problem },
                    false => WriteOutcome::Unknown,
                };
            }
            self.shared.retried.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        };
        let completed = match &outcome {
            WriteOutcome::Committed { tx_id, .. } => {
                self.shared.acknowledge();
                let tx_id = tx_id.clone();
                let now = self.shared.recorder.now();
                self.saw(&tx_id);
                Some(now)
            }
            WriteOutcome::Refused { .. } => Some(self.shared.recorder.now()),
            WriteOutcome::Unknown => None,
        };
        self.shared.recorder.write(WriteOp {
            id,
            session: self.number,
            invoked,
            completed,
            transaction,
            outcome,
        });
    }

    async fn attempt(&self, node: &Node, body: &Value) -> Attempt {
        let error = match timeout(GIVE_UP, node.commit(body)).await {
            Err(_) => return Attempt::Open,
            Ok(Ok(answer)) => return Attempt::Committed(answer),
            Ok(Err(error)) => error,
        };
        let text = error.to_string();
        match &error {
            // It never left this machine.
            ClientError::Exchange { detail, .. } if detail.contains("Connection refused") => {
                Attempt::NotNow(text)
            }
            ClientError::Exchange { .. } => Attempt::Open,
            ClientError::Refused { problem, .. } => match problem.slug() {
                "refused" => Attempt::Refused(text),
                "not-committed" | "fenced" | "overloaded" => Attempt::NotNow(text),
                "outcome-unknown" => Attempt::Open,
                _ => {
                    self.shared.surprise(text);
                    Attempt::Open
                }
            },
            ClientError::Unexpected { .. } => {
                self.shared.surprise(text);
                Attempt::Open
            }
        }
    }

    /// One read, recorded; `false` if it was not answered.
    pub(super) async fn read(&mut self, node: &Node, floor: Floor, names: Option<Vec<String>>) -> bool {
        let mut query = match &names {
            None => Query::new(READ_ALL),
            Some(names) => Query::new(READ_SOME).param("names", names.clone()),
        };
        query = query.timeout_ms(READ_TIMEOUT_MS);
        query = match &floor {
            Floor::Nothing => query,
            Floor::MinTx { tx_id, .. } => query.min_tx(tx_id),
            Floor::MaxStaleness { ms } => query.max_staleness_ms(*ms),
            Floor::Strong => query.strong(),
        };
        let invoked = self.shared.recorder.now();
        let outcome = timeout(GIVE_UP_READ, node.query(&query)).await;
        let completed = self.shared.recorder.now();
        let answer = match outcome {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                self.unanswered(&error);
                return false;
            }
            Err(_) => {
                self.shared.recorder.unanswered();
                return false;
            }
        };
        let Some(seen) = state(&answer) else {
            let shown = format!(
                "{}: an answer of another form: {:?}",
                node.name,
                answer.rows.first()
            );
            self.shared.surprise(shown);
            return false;
        };
        self.saw(&answer.tx_id);
        self.shared.recorder.read(ReadOp {
            session: self.number,
            node: node.name.clone(),
            invoked,
            completed,
            floor,
            names,
            seq: answer.seq,
            tx_id: answer.tx_id,
            seen,
        });
        true
    }

    fn unanswered(&self, error: &ClientError) {
        self.shared.recorder.unanswered();
        let known = match error {
            ClientError::Exchange { .. } => true,
            ClientError::Refused { problem, .. } => {
                let expected = [
                    "floor-not-reached",
                    "no-graph",
                    "busy",
                    "log-unavailable",
                    "query-timeout",
                ];
                expected.contains(&problem.slug())
            }
            ClientError::Unexpected { .. } => false,
        };
        if !known {
            self.shared.surprise(error.to_string());
        }
    }

    fn saw(&mut self, tx_id: &str) {
        self.shared.saw(tx_id);
        if self.token.as_deref().is_none_or(|token| token < tx_id) {
            self.token = Some(tx_id.to_owned());
        }
    }
}

/// The transaction in the API's words.
fn operations(id: i64, transaction: &Transaction) -> Vec<Value> {
    let operation = |change: &Change| match change {
        Change::Set(name) => {
            json!({"upsert": {"table": "Register", "rows": [{"name": name, "value": id}]}})
        }
        Change::Drop(name) => json!({"delete": {"table": "Register", "keys": [name]}}),
        Change::Link(from, to) => {
            json!({"upsert": {"table": "LINK", "rows": [{"from": from, "to": to, "value": id}]}})
        }
        Change::Unlink(from, to) => json!({"delete": {"table": "LINK", "keys": [{"from": from, "to": to}]}}),
    };
    transaction.changes.iter().map(operation).collect()
}

/// The rows of an answer as a state; `None` if they have another form.
fn state(answer: &Answer) -> Option<State> {
    let mut state = State::default();
    for row in &answer.rows {
        let [name, value, to, link] = row.as_slice() else {
            return None;
        };
        let name = name.as_str()?;
        state.registers.insert(name.to_owned(), value.as_i64()?);
        if !to.is_null() {
            state.links.insert(link_key(name, to.as_str()?), link.as_i64()?);
        }
    }
    (!answer.truncated).then_some(state)
}
