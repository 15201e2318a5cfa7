//! A graph whose writer optimizes, with what the tests do to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use slipstream::commit_log::CommitKind;
use slipstream::graph::Graph;
use slipstream::ids::Seq;
use slipstream::settings::OptimizerSettings;
use slipstream::writer::CommitAnswer;
use tokio::sync::watch;

use crate::support::cluster::{TestGraph, WriterNode};
use crate::support::dump::assert_holds;
use crate::support::model::Model;
use crate::support::requests::{delete, keyed, upsert};
use crate::support::waiting::{until, within};

const SCHEMA: &str = "
nodes:
  - name: Person
    primaryKey: name
    properties:
      - {name: name, type: string}
      - {name: score, type: double, required: true}
      - {name: note, type: string}
      - {name: embedding, type: vector, dimension: 8}
edges:
  - {name: KNOWS, from: Person, to: Person, properties: [{name: weight, type: double}]}
";

pub(crate) struct Optimized {
    pub(crate) graph: TestGraph,
    pub(crate) model: Model,
    config: watch::Sender<crds::Optimizer>,
    round: usize,
    rng: StdRng,
}

impl Optimized {
    pub(crate) fn new() -> Self {
        Self::of(SCHEMA)
    }

    pub(crate) fn with_indexes() -> Self {
        let schema = SCHEMA
            .replace(
                "{name: name, type: string}",
                "{name: name, type: string, index: fullText}",
            )
            .replace(
                "type: double, required: true}",
                "type: double, required: true, index: scalar}",
            );
        Self::of(&schema)
    }

    fn of(schema: &str) -> Self {
        let graph = TestGraph::new(schema);
        let model = Model::new(&graph.schema);
        let config = crds::Optimizer {
            time_travel_window: crds::Duration::from_secs(1),
            indices: crds::Indices {
                min_unindexed_rows: 1,
                ..crds::Indices::default()
            },
            ..crds::Optimizer::default()
        };
        Self {
            graph,
            model,
            config: watch::channel(config).0,
            round: 0,
            rng: StdRng::seed_from_u64(7),
        }
    }

    pub(crate) fn drop_declared_indexes(&mut self) {
        for table in &mut self.graph.schema.nodes {
            table
                .properties
                .iter_mut()
                .for_each(|property| property.index = None);
        }
    }

    /// Starts a writer that optimizes every so often.
    pub(crate) async fn start_writer(&self, name: &str, interval: Duration) -> WriterNode {
        self.every(interval);
        let mut settings = self.graph.settings(name);
        settings.idempotency_commits = 5;
        settings.optimizer = OptimizerSettings {
            cleaning_min_age: Duration::from_secs(5),
            auto_look: Duration::from_millis(5),
            vector_min_rows: 300,
        };
        let config = self.config.subscribe();
        let started = self
            .graph
            .try_start_optimizing_writer(settings, &self.graph.schema, Some(config));
        started.await.expect("a writer")
    }

    /// Changes the cadence, as an edit of the resource does.
    pub(crate) fn every(&self, interval: Duration) {
        self.config
            .send_modify(|config| config.interval = crds::Duration::from(interval).into());
    }

    /// Commits that upsert and delete nodes and edges; gives the last answer.
    pub(crate) async fn write_rounds(&mut self, writer: &WriterNode, rounds: usize) -> CommitAnswer {
        let mut last = None;
        for _ in 0..rounds {
            self.round += 1;
            let round = self.round;
            let person = |id: usize| json!({"name": format!("p{id}"), "score": round as f64, "note": "n"});
            let (a, b, gone) = (
                round % 7,
                self.rng.random_range(0..20),
                self.rng.random_range(0..20),
            );
            let people: Vec<_> = [a, 20 + a, b]
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect();
            let edge = json!({"from": format!("p{a}"), "to": format!("p{}", 20 + a), "weight": round as f64});
            let first = keyed(
                &format!("round-{round}"),
                [
                    upsert("Person", people.into_iter().map(person)),
                    upsert("KNOWS", [edge]),
                ],
            );
            let second = keyed(
                &format!("gone-{round}"),
                [delete("Person", [json!(format!("p{gone}"))])],
            );
            for request in [first, second] {
                last = Some(writer.commit(&request).await);
                self.model
                    .apply(&request.operations)
                    .expect("the model applies it");
            }
        }
        last.expect("a round")
    }

    /// Waits for an optimize commit after `after`.
    pub(crate) async fn wait_for_optimize_commit(&self, after: Seq) -> Seq {
        within("an optimize commit", async {
            loop {
                let seqs = self
                    .graph
                    .log
                    .listed_after(after, 10_000)
                    .await
                    .expect("a listing");
                for seq in seqs.into_iter().rev() {
                    if let Ok(Some(record)) = self.graph.log.read(seq).await
                        && record.kind == CommitKind::Optimize
                    {
                        return seq;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }

    /// Waits until a run has ended that was not over yet.
    pub(crate) async fn run_ends(&self, writer: &WriterNode) {
        self.runs_exceed(writer, self.runs(writer)).await;
    }

    /// Runs that ended.
    pub(crate) fn runs(&self, writer: &WriterNode) -> u64 {
        writer.advancer.progress.reports().view().optimizer.runs
    }

    pub(crate) async fn runs_exceed(&self, writer: &WriterNode, before: u64) {
        until("a run to end", || self.runs(writer) > before).await;
    }

    /// A whole run, cleaning included; gives the bytes that it freed.
    pub(crate) async fn clean(&self, writer: &WriterNode) -> u64 {
        let freed = || writer.advancer.progress.reports().view().optimizer.freed_bytes;
        let before = freed();
        self.every(Duration::from_millis(1));
        // The one that was under way may have begun too early.
        self.run_ends(writer).await;
        self.run_ends(writer).await;
        self.every(Duration::from_secs(3600));
        let report = writer.advancer.progress.reports().view().optimizer;
        assert_eq!(report.error, None);
        freed() - before
    }

    /// Waits until the indexes on the nodes are exactly these and hold every row.
    pub(crate) async fn indexes_become(&self, writer: &WriterNode, names: &[&str]) {
        within("the indexes", async {
            loop {
                assert!(!writer.has_ended(), "the writer ended");
                let head = self.graph.log.head(Seq(0)).await.expect("a log").expect("a head");
                let version = head.tables.get("Person").expect("a version");
                let lake = self.graph.lake().await;
                let found = match lake.at("Person", version).await {
                    Ok(table) => table.indexes().await.unwrap_or_default(),
                    Err(_) => Vec::new(),
                };
                let found_names: Vec<&str> = found.iter().map(|index| index.name.as_str()).collect();
                if found_names == names && found.iter().all(|index| index.unindexed == 0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Bytes of all tables in the store.
    pub(crate) fn table_bytes(&self) -> u64 {
        bytes_below(&self.graph.data_dir("root").join("lance"))
    }
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let meta = entry.metadata().expect("metadata");
        if meta.is_dir() {
            bytes_below(&entry.path())
        } else {
            meta.len()
        }
    });
    sizes.sum()
}

/// Each graph holds exactly what the model holds.
pub(crate) async fn everything_held(graphs: &[(&str, Arc<Graph>)], model: &Model) {
    for (who, graph) in graphs {
        assert_holds(who, graph, model).await;
    }
}
