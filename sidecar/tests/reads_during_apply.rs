//! Readers in a loop never see half a commit, neither while commits are applied nor while the graph is rebuilt and swapped.
//!
//! The invariant spans three tables. Every transfer moves money between two accounts, adds a `TRANSFER` edge and counts it in
//! a node, and is one commit: so the sum of balances never changes, the number of edges is the counter's value, and both
//! follow from the `seq` that the answer names.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use slipstream::node::LocalGraph;
use slipstream::writer::TransactionRequest;
use support::cluster::TestGraph;
use support::dump::query;
use support::requests::{transaction, upsert};
use support::waiting::{until, within};

const SCHEMA: &str = "
nodes:
  - {name: Account, primaryKey: id, properties: [{name: id, type: int64}, {name: balance, type: int64}]}
  - {name: Counter, primaryKey: name, properties: [{name: name, type: string}, {name: transfers, type: int64}]}
edges:
  - {name: TRANSFER, from: Account, to: Account, key: id, properties: [{name: id, type: int64}, {name: amount, type: int64}]}
";
const ACCOUNTS: usize = 10;
const OPENING_BALANCE: i64 = 1000;
const TRANSFERS: u64 = 60;
const READERS: usize = 3;
const INVARIANT: &str = "MATCH (a:Account) WITH sum(a.balance) AS total, count(a) AS accounts \
    MATCH (:Account)-[t:TRANSFER]->(:Account) WITH total, accounts, count(t) AS edges \
    MATCH (c:Counter) RETURN total, accounts, edges, c.transfers";

/// What one reader has seen so far.
#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    /// `seq` of the newest answer.
    newest: AtomicU64,
    /// How often an answer was of a later commit than the one before.
    moves: AtomicU64,
}

/// Accounts as the client knows them, and the commit that made the first transfer.
struct Bank {
    rng: StdRng,
    balances: [i64; ACCOUNTS],
    transfers: i64,
}

impl Bank {
    fn transfer(&mut self) -> TransactionRequest {
        let from = self.rng.random_range(0..ACCOUNTS);
        let to = (from + self.rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let amount = self.rng.random_range(1..50);
        self.balances[from] -= amount;
        self.balances[to] += amount;
        self.transfers += 1;
        let account = |id: usize| json!({"id": id, "balance": self.balances[id]});
        transaction([
            upsert("Account", [account(from), account(to)]),
            upsert(
                "TRANSFER",
                [json!({"from": from, "to": to, "id": self.transfers, "amount": amount})],
            ),
            upsert("Counter", [json!({"name": "all", "transfers": self.transfers})]),
        ])
    }
}

/// Reads until told to stop; `first` is the `seq` of the first transfer.
async fn read_in_a_loop(local: Arc<LocalGraph>, first: u64, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    while !stop.load(Ordering::SeqCst) {
        let graph = local.current().expect("a graph is served all the time");
        let answer = query(&graph, INVARIANT)
            .await
            .expect("a query that works on every commit");
        let seq = answer.watermark.position.seq.0;
        let transfers = seq + 1 - first;
        let expected: Vec<Value> = vec![
            json!(ACCOUNTS as i64 * OPENING_BALANCE),
            json!(ACCOUNTS),
            json!(transfers),
            json!(transfers),
        ];
        assert_eq!(
            answer.rows,
            vec![expected],
            "the answer at seq {seq} is not of that commit"
        );
        let before = seen.newest.swap(seq, Ordering::SeqCst);
        assert!(seq >= before, "a reader went back from seq {before} to {seq}");
        seen.moves.fetch_add(u64::from(seq > before), Ordering::SeqCst);
        seen.answers.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_half_a_commit_while_a_node_applies_and_while_it_rebuilds() {
    let seed = rand::random();
    println!("SEED={seed}");
    let graph = TestGraph::new(SCHEMA);
    let writer = graph.start_writer("writer").await;
    let mut bank = Bank {
        rng: StdRng::seed_from_u64(seed),
        balances: [OPENING_BALANCE; ACCOUNTS],
        transfers: 0,
    };
    let accounts = (0..ACCOUNTS).map(|id| json!({"id": id, "balance": OPENING_BALANCE}));
    writer.commit(&transaction([upsert("Account", accounts)])).await;
    let first = writer.commit(&bank.transfer()).await.seq.0;
    // A checkpoint every two commits, beside the readers.
    let mut replica = graph.start_replica_with("replica", 4, 2).await;
    replica.catch_up().await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for local in std::iter::repeat_n(&replica.advancer.local, READERS).chain([&writer.advancer.local]) {
        let seen = Arc::new(Seen::default());
        readers.push((
            seen.clone(),
            tokio::spawn(read_in_a_loop(local.clone(), first, stop.clone(), seen)),
        ));
    }
    // A reader that failed is reported by its own words below.
    let going_on = |answers: &[u64]| {
        let more = |((seen, task), before): (&(Arc<Seen>, tokio::task::JoinHandle<()>), &u64)| {
            task.is_finished() || seen.answers.load(Ordering::SeqCst) > *before
        };
        readers.iter().zip(answers).all(more)
    };
    for transfer in 2..=TRANSFERS {
        let request = bank.transfer();
        let before: Vec<u64> = readers
            .iter()
            .map(|(seen, _)| seen.answers.load(Ordering::SeqCst))
            .collect();
        writer.commit(&request).await;
        // Ranges of one to four commits.
        if transfer % 4 == 0 || bank.rng.random_bool(0.4) {
            replica.catch_up().await;
        }
        if transfer % 15 == 0 {
            let watermark = replica
                .graph()
                .watermark()
                .expect("readable")
                .expect("a watermark");
            within("a rebuild", replica.advancer.rebuild(&watermark))
                .await
                .expect("a rebuild");
        }
        until("every reader to read on", || going_on(&before)).await;
    }
    replica.catch_up().await;
    let last = first + TRANSFERS - 1;
    until("every reader to see the last commit", || {
        readers
            .iter()
            .all(|(seen, task)| task.is_finished() || seen.newest.load(Ordering::SeqCst) == last)
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    for (seen, task) in readers {
        within("a reader to stop", task)
            .await
            .expect("a reader saw what must not be");
        let (answers, moves) = (
            seen.answers.load(Ordering::SeqCst),
            seen.moves.load(Ordering::SeqCst),
        );
        assert!(
            answers >= TRANSFERS && moves >= 10,
            "too few answers ({answers}) or commits ({moves}) to mean anything"
        );
    }
}
