//! The soak's clients: writes at a fixed rate, whether or not the ones before were answered, and readers that never stop.
//!
//! A transaction replaces two items and an edge; each fifth also deletes an item with its edge and creates one that was deleted
//! before, so that the graph keeps its size.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::seq::index::sample;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::client::{ClientError, NDJSON, Node, Query};
use crate::report::Latencies;
use crate::torture::TortureError;

/// Transactions per second.
pub(super) const RATE: u64 = 50;
/// Requests under way; beyond them a turn is missed, and counted.
const UNDER_WAY: usize = 64;
/// Rows of one request of the first load.
const CHUNK: usize = 20_000;
/// Items that are deleted at any time.
const DELETED: usize = 50;
const WORDS_PER_TEXT: usize = 40;
/// After a read.
const THINK: Duration = Duration::from_millis(50);
/// After a read that was not answered.
const PAUSE: Duration = Duration::from_millis(500);

const WORDS: [&str; 16] = [
    "library",
    "runtime",
    "shared",
    "files",
    "headers",
    "development",
    "common",
    "architecture",
    "independent",
    "documentation",
    "server",
    "client",
    "protocol",
    "package",
    "transitional",
    "debugging",
];

/// Everything the clients share.
#[derive(Debug)]
pub(super) struct Load {
    writer: Node,
    replicas: Vec<Node>,
    items: usize,
    seed: u64,
    is_over: AtomicBool,
    under_way: AtomicUsize,
    pub(super) acknowledged: AtomicU64,
    /// Not answered, or refused: with nothing failing there must be none.
    pub(super) failed: AtomicU64,
    pub(super) missed_turns: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) failed_reads: AtomicU64,
    /// The newest commit, for readers that want to read it.
    newest: Mutex<Option<String>>,
    writes_taken: Mutex<Latencies>,
    reads_taken: Mutex<Latencies>,
    /// What went wrong first.
    first_problem: Mutex<Option<String>>,
}

impl Load {
    pub(super) fn new(writer: Node, replicas: Vec<Node>, items: usize, seed: u64) -> Self {
        Self {
            writer,
            replicas,
            items,
            seed,
            is_over: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            missed_turns: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            failed_reads: AtomicU64::new(0),
            newest: Mutex::default(),
            writes_taken: Mutex::default(),
            reads_taken: Mutex::default(),
            first_problem: Mutex::default(),
        }
    }

    /// The graph before the first transaction: every item, and from each an edge to another.
    ///
    /// In each of `aging` rounds a tenth of the rows is replaced, picked at random. After forty, row ids lie as far apart as they will in
    /// the run; a graph that was just loaded needs an hour of the run's load for that, and its manifests grow meanwhile.
    pub(super) async fn fill(&self, aging: usize) -> Result<(), TortureError> {
        let mut random = StdRng::seed_from_u64(self.seed);
        for first in (0..self.items).step_by(CHUNK) {
            let rows = first..(first + CHUNK).min(self.items);
            let body = ndjson(rows.map(|number| item(number, 0, &mut random)));
            self.writer.load("Item", NDJSON, body).await?;
        }
        for first in (0..self.items).step_by(CHUNK) {
            let rows = first..(first + CHUNK).min(self.items);
            let body = ndjson(rows.map(|number| self.edge(number, 0)));
            self.writer.load("NEAR", NDJSON, body).await?;
        }
        for _ in 0..aging {
            let picked = sample(&mut random, self.items, self.items / 10).into_vec();
            let items = ndjson(picked.iter().map(|number| item(*number, 0, &mut random)));
            self.writer.load("Item", NDJSON, items).await?;
            let edges = ndjson(picked.iter().map(|number| self.edge(*number, 0)));
            self.writer.load("NEAR", NDJSON, edges).await?;
        }
        Ok(())
    }

    /// Starts the clients: one that writes, two readers per replica.
    pub(super) fn start(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(self).write());
        for (number, replica) in (1..).zip(self.replicas.iter().flat_map(|replica| [replica, replica])) {
            tasks.spawn(Arc::clone(self).read(replica.clone(), self.seed + number));
        }
        tasks
    }

    /// Ends all clients after the request at hand.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Times of the writes and of the reads since the last call.
    pub(super) fn latencies(&self) -> (Latencies, Latencies) {
        let take = |latencies: &Mutex<Latencies>| std::mem::take(&mut *lock(latencies));
        (take(&self.writes_taken), take(&self.reads_taken))
    }

    pub(super) fn first_problem(&self) -> Option<String> {
        lock(&self.first_problem).clone()
    }

    async fn write(self: Arc<Self>) {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut turns = interval(Duration::from_millis(1000 / RATE));
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut requests = JoinSet::new();
        let mut number = 1;
        while !self.is_over.load(Ordering::Relaxed) {
            turns.tick().await;
            while requests.try_join_next().is_some() {}
            if self.under_way.load(Ordering::Relaxed) >= UNDER_WAY {
                self.missed_turns.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let body = self.transaction(number, &mut random);
            number += 1;
            self.under_way.fetch_add(1, Ordering::Relaxed);
            requests.spawn(Arc::clone(&self).commit(body));
        }
        requests.join_all().await;
    }

    async fn commit(self: Arc<Self>, body: Value) {
        let began = Instant::now();
        match self.writer.commit(&body).await {
            Ok(answer) => {
                lock(&self.writes_taken).add(began.elapsed());
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                let mut newest = lock(&self.newest);
                if newest.as_deref().is_none_or(|newest| *newest < *answer.tx_id) {
                    *newest = Some(answer.tx_id);
                }
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.problem(&error);
            }
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Looks at items and their neighbours; each fourth read wants the newest commit.
    async fn read(self: Arc<Self>, node: Node, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.is_over.load(Ordering::Relaxed) {
            let mut query = Query::new(
                "MATCH (i:Item {name: $name})-[n:NEAR]->(j:Item) RETURN i.value, n.value, j.name, j.value LIMIT 20",
            );
            query = query.param("name", name(random.random_range(0..self.items)));
            if random.random_bool(0.25)
                && let Some(tx_id) = lock(&self.newest).clone()
            {
                query = query.min_tx(&tx_id);
            }
            let began = Instant::now();
            match node.query(&query).await {
                Ok(_) => {
                    lock(&self.reads_taken).add(began.elapsed());
                    self.reads.fetch_add(1, Ordering::Relaxed);
                    sleep(THINK).await;
                }
                Err(error) => {
                    self.failed_reads.fetch_add(1, Ordering::Relaxed);
                    self.problem(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn problem(&self, error: &ClientError) {
        lock(&self.first_problem).get_or_insert_with(|| error.to_string());
    }

    /// The last [`DELETED`] items come and go in turns; the others stay.
    fn transaction(&self, number: usize, random: &mut StdRng) -> Value {
        let stays = self.items - DELETED;
        let first = random.random_range(0..stays);
        let second = (first + 1 + random.random_range(0..stays - 1)) % stays;
        let mut items = vec![item(first, number, random), item(second, number, random)];
        let mut edges = vec![self.edge(first, number)];
        let mut operations = Vec::new();
        if number.is_multiple_of(5) {
            let turn = number / 5;
            let (deleted, created) = (turn % DELETED, (turn + DELETED / 2) % DELETED);
            operations.push(json!({"delete": {"table": "Item", "keys": [name(stays + deleted)]}}));
            items.push(item(stays + created, number, random));
            edges.push(self.edge(stays + created, number));
        }
        operations.push(json!({"upsert": {"table": "Item", "rows": items}}));
        operations.push(json!({"upsert": {"table": "NEAR", "rows": edges}}));
        json!({ "operations": operations })
    }

    /// The only edge that starts at an item; it ends at one that stays.
    fn edge(&self, number: usize, value: usize) -> Value {
        let to = number * 7919 % (self.items - DELETED);
        json!({"from": name(number), "to": name(to), "value": value})
    }
}

fn name(number: usize) -> String {
    format!("item-{number:06}")
}

fn item(number: usize, value: usize, random: &mut StdRng) -> Value {
    let words: Vec<&str> = (0..WORDS_PER_TEXT)
        .filter_map(|_| WORDS.choose(random).copied())
        .collect();
    json!({"name": name(number), "text": words.join(" "), "value": value})
}

pub(super) fn ndjson(rows: impl Iterator<Item = Value>) -> Vec<u8> {
    let mut body = Vec::new();
    for row in rows {
        body.extend_from_slice(row.to_string().as_bytes());
        body.push(b'\n');
    }
    body
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
