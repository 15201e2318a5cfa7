//! One client of the registers: an operation at a time, each recorded with what came of it.
//!
//! Writes go to the newest writer, and now and then to an older one that may still think it is one. Half of them carry an
//! idempotency key and are sent again until their outcome is known; the others are never sent again once it is in doubt.
//! Reads go to any node with any floor.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::cast::Nodes;
use crate::client::{Answer, ClientError, CommitAnswer, Node, Query};
use crate::torture::checker::state::{Change, State, Transaction, link_key};
use crate::torture::history::{Floor, ReadOp, Recorder, WriteOp, WriteOutcome};

/// Registers; few, so that transactions meet.
const REGISTERS: usize = 12;
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
/// Demanded staleness, at most.
const STALENESS_MS: u64 = 2_000;
const READ_TIMEOUT_MS: u64 = 3_000;

const READ_ALL: &str = "MATCH (r:Register) OPTIONAL MATCH (r)-[l:LINK]->(s:Register) \
     RETURN r.name, r.value, s.name, l.value";
const READ_SOME: &str = "MATCH (r:Register) WHERE r.name IN $names OPTIONAL MATCH (r)-[l:LINK]->(s:Register) \
     RETURN r.name, r.value, s.name, l.value";

/// What all sessions of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) recorder: Recorder,
    nodes: Mutex<Nodes>,
    until: Instant,
    is_over: AtomicBool,
    next_id: AtomicI64,
    /// The newest commit that anybody saw.
    newest_tx: Mutex<Option<String>>,
    /// When the last write was acknowledged, and the longest time without.
    acknowledged: Mutex<(Instant, Duration)>,
    /// Answers that the protocol does not promise for what was asked.
    surprises: Mutex<Vec<String>>,
    pub(super) retried: AtomicU64,
}

impl Shared {
    pub(super) fn new(nodes: Nodes, lasts: Duration) -> Self {
        Self {
            recorder: Recorder::default(),
            nodes: Mutex::new(nodes),
            until: Instant::now() + lasts,
            is_over: AtomicBool::new(false),
            next_id: AtomicI64::new(1),
            newest_tx: Mutex::new(None),
            acknowledged: Mutex::new((Instant::now(), Duration::ZERO)),
            surprises: Mutex::default(),
            retried: AtomicU64::new(0),
        }
    }

    /// Where clients find the graph from now on.
    pub(super) fn set_nodes(&self, nodes: Nodes) {
        *lock(&self.nodes) = nodes;
    }

    pub(super) fn nodes(&self) -> Nodes {
        lock(&self.nodes).clone()
    }

    /// Whether no new operation is begun.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// Ends all sessions after the operation at hand.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// The longest time in which no write was acknowledged.
    pub(super) fn longest_silence(&self) -> Duration {
        lock(&self.acknowledged).1
    }

    pub(super) fn surprises(&self) -> Vec<String> {
        lock(&self.surprises).clone()
    }

    fn saw(&self, tx_id: &str) {
        let mut newest = lock(&self.newest_tx);
        if newest.as_deref().is_none_or(|newest| newest < tx_id) {
            *newest = Some(tx_id.to_owned());
        }
    }

    fn acknowledge(&self) {
        let mut acknowledged = lock(&self.acknowledged);
        acknowledged.1 = acknowledged.1.max(acknowledged.0.elapsed());
        acknowledged.0 = Instant::now();
    }

    fn surprise(&self, what: String) {
        lock(&self.surprises).push(what);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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

    fn floor(&mut self) -> Floor {
        let min_tx = |tx_id: Option<String>, own| match tx_id {
            Some(tx_id) => Floor::MinTx { tx_id, own },
            None => Floor::Nothing,
        };
        match self.random.random_range(0..20) {
            0..4 => Floor::Nothing,
            4..9 => min_tx(self.token.clone(), true),
            9..12 => min_tx(lock(&self.shared.newest_tx).clone(), false),
            12..15 => Floor::MaxStaleness {
                ms: self.random.random_range(1..STALENESS_MS),
            },
            _ => Floor::Strong,
        }
    }

    fn names(&mut self) -> Option<Vec<String>> {
        let some = self.random.random_bool(0.3);
        let count = self.random.random_range(1..4);
        some.then(|| self.pick(count))
    }

    fn pick(&mut self, count: usize) -> Vec<String> {
        let all: Vec<String> = (0..REGISTERS).map(|number| format!("r{number:02}")).collect();
        all.choose_multiple(&mut self.random, count).cloned().collect()
    }

    /// One to four registers set or dropped, and links between some of them and others; no row twice.
    fn transaction(&mut self) -> Transaction {
        let count = self.random.random_range(1..5);
        let names = self.pick(count);
        let dropped = self.random.random_bool(0.2).then(|| names[0].clone());
        let mut changes: Vec<Change> = names
            .iter()
            .map(|name| match Some(name) == dropped.as_ref() {
                true => Change::Drop(name.clone()),
                false => Change::Set(name.clone()),
            })
            .collect();
        let mut linked = Vec::new();
        for _ in 0..self.random.random_range(0..4) {
            // An end that this transaction does not set may not exist: such a transaction is refused.
            let from = names.choose(&mut self.random).cloned().unwrap_or_default();
            let to = match self.random.random_bool(0.8) {
                true => names.choose(&mut self.random).cloned().unwrap_or_default(),
                false => self.pick(1).remove(0),
            };
            let key = link_key(&from, &to);
            let is_dropped = [&from, &to].into_iter().any(|end| Some(end) == dropped.as_ref());
            if linked.contains(&key) {
                continue;
            }
            linked.push(key);
            changes.push(match !is_dropped && self.random.random_bool(0.7) {
                true => Change::Link(from, to),
                false => Change::Unlink(from, to),
            });
        }
        Transaction { changes }
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
