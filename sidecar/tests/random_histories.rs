//! The property: whatever clients, crashes and notifications do, the writer, every replica and a fresh rebuild hold exactly
//! what a plain in-memory model holds, and every answer a client got stays true.
//!
//! `SEED=<number>` repeats one history, `SLIPSTREAM_HISTORIES=<count>` runs more of them.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

#[path = "random_histories/clients.rs"]
mod clients;
#[path = "random_histories/nodes.rs"]
mod nodes;
mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slipstream::writer::{CommitAnswer, TransactionRequest};
use support::cluster::{ReplicaNode, TestGraph, WriterNode};
use support::dump::{assert_holds, dump, lake_dump};
use support::log::{assert_in_log, checked_log, commits_of_key};
use support::model::{Model, first_difference};
use support::waiting::crash_points;

const HISTORIES: usize = 6;
const STEPS: usize = 40;
const REPLICAS: usize = 2;

const SCHEMA: &str = "
nodes:
  - name: Person
    primaryKey: name
    properties:
      - {name: name, type: string}
      - {name: age, type: int64}
      - {name: score, type: double, required: true}
      - {name: active, type: bool}
      - {name: born, type: date}
      - {name: seen, type: timestamp}
      - {name: photo, type: bytes}
      - {name: tags, type: list, items: string}
      - {name: embedding, type: vector, dimension: 3}
  - name: City
    primaryKey: id
    properties:
      - {name: title, type: string}
      - {name: id, type: int64}
      - {name: visits, type: list, items: timestamp}
edges:
  - {name: KNOWS, from: Person, to: Person, properties: [{name: since, type: date}, {name: weight, type: double}]}
  - {name: VISITED, from: Person, to: City, key: trip, properties: [{name: note, type: string}, {name: trip, type: int64}]}
  - {name: TWINNED, from: City, to: City, key: kind, properties: [{name: kind, type: string}, {name: of, type: list, items: int64}]}
  - {name: BORN_IN, from: City, to: Person}
";

/// One graph, what happened to it so far, and what it must hold.
struct History {
    rng: StdRng,
    graph: TestGraph,
    model: Model,
    /// Always there between steps.
    writer: Option<WriterNode>,
    replicas: Vec<ReplicaNode>,
    answered: Vec<(TransactionRequest, CommitAnswer)>,
    requests: usize,
    refused: usize,
    crashes: usize,
    /// Bulk commits whose answer came before the writer's graph had them.
    ran_ahead: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_any_history_every_node_holds_exactly_what_the_model_holds() {
    let _scenario = crash_points();
    let parse = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let seeds: Vec<u64> = match parse("SEED") {
        Some(seed) => vec![seed],
        None => (0..parse("SLIPSTREAM_HISTORIES").unwrap_or(HISTORIES as u64))
            .map(|_| rand::random())
            .collect(),
    };
    for seed in seeds {
        println!("SEED={seed}");
        let mut history = History::begin(seed).await;
        for _ in 0..STEPS {
            history.step().await;
        }
        history.end().await;
    }
}

impl History {
    async fn begin(seed: u64) -> Self {
        let graph = TestGraph::new(SCHEMA);
        let model = Model::new(&graph.schema);
        let mut history = Self {
            rng: StdRng::seed_from_u64(seed),
            graph,
            model,
            writer: None,
            replicas: Vec::new(),
            answered: Vec::new(),
            requests: 0,
            refused: 0,
            crashes: 0,
            ran_ahead: 0,
        };
        history.start_writer().await;
        for index in 0..REPLICAS {
            let replica = history.open_replica(&format!("replica-{index}")).await;
            history.replicas.push(replica);
        }
        history
    }

    async fn step(&mut self) {
        self.revive().await;
        match self.rng.random_range(0..100) {
            0..56 => self.transactions().await,
            56..71 => self.bulks().await,
            71..78 => self.client_retry().await,
            78..84 => {
                self.writer().stop().await;
                self.start_writer().await;
            }
            84..96 => {
                let index = self.rng.random_range(0..REPLICAS);
                let wiped = self.rng.random_bool(0.4);
                self.restart_replica(index, wiped).await;
            }
            _ => {
                let back = self.rng.random_range(1..3_600_000);
                self.graph.clock.shift_millis(-back);
            }
        }
        // A commit rings none, one or many times, and nobody says when.
        for index in 0..REPLICAS {
            for _ in 0..self.rng.random_range(0..3) {
                self.pass(index).await;
            }
        }
    }

    async fn end(mut self) {
        self.transactions().await;
        self.revive().await;
        let writer = self.writer();
        writer.at_head().await;
        let records = checked_log(&self.graph.log).await;
        for (request, answer) in &self.answered {
            assert_in_log(&records, answer);
            let key = request.idempotency_key.as_deref().expect("a key");
            let commits = commits_of_key(&records, key);
            assert_eq!(commits.len(), 1, "key {key} is in {} commits", commits.len());
        }
        let groups = records
            .iter()
            .filter(|record| record.idempotency.len() > 1)
            .count();
        let (answers, refused, crashes) = (self.answered.len(), self.refused, self.crashes);
        println!(
            "{answers} transactions, {refused} refused, {} commits, {groups} of several transactions, {} ran ahead of the writer's graph, {crashes} crashes",
            records.len(),
            self.ran_ahead
        );
        assert!(
            answers > 20 && refused > 0 && groups > 0 && crashes > 0,
            "too quiet to mean anything"
        );
        let head = records.last().expect("a commit");
        let lance = lake_dump(&self.graph.lake().await, &self.model.schema, &head.tables).await;
        if let Some(difference) = first_difference(&self.model.content, &lance.content) {
            panic!("Lance differs from the model: {difference}");
        }
        for replica in &mut self.replicas {
            replica.catch_up().await;
        }
        let fresh = self.graph.fresh_rebuild().await;
        let mut nodes = vec![("the writer", writer.graph()), ("a fresh rebuild", fresh.graph())];
        nodes.extend(
            self.replicas
                .iter()
                .map(|replica| (replica.name.as_str(), replica.graph())),
        );
        for (who, graph) in &nodes {
            assert_holds(who, graph, &self.model).await;
            assert_eq!(
                dump(graph).await.row_ids,
                lance.row_ids,
                "{who} has other row ids than Lance"
            );
            let watermark = graph
                .watermark()
                .expect("a readable watermark")
                .expect("a watermark");
            assert_eq!(watermark.position, head.position(), "{who} is not at the head");
        }
    }
}
