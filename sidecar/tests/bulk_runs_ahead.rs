//! Bulk commits stand before the writer's own graph holds them: whoever is checked after them is checked as if it did, a crash
//! in between loses nothing, and what is refused leaves nothing behind.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream::settings::Deferral;
use slipstream::writer::{CommitAnswer, CommitError, WriteError};
use support::cluster::{TestGraph, WriterNode};
use support::dump::assert_holds;
use support::log::{checked_log, commits_of_key};
use support::model::Model;
use support::requests::{delete, transaction, upsert};
use support::waiting::{crash_points, until};

const SCHEMA: &str = "
nodes:
  - {name: Item, primaryKey: id, properties: [{name: id, type: int64}, {name: note, type: string}]}
  - {name: Tag, primaryKey: name, properties: [{name: name, type: string}]}
edges:
  - {name: TAGGED, from: Item, to: Tag, properties: [{name: weight, type: double}]}
";
/// The graph follows only when somebody needs it.
const WHEN_NEEDED: Deferral = Deferral {
    min_rows: 1,
    share: 5,
    quiet: Duration::from_secs(3600),
    at_most: Duration::from_secs(3600),
};

struct Loaded {
    graph: TestGraph,
    model: Model,
    writer: WriterNode,
}

impl Loaded {
    async fn begin(deferral: Deferral) -> Self {
        let graph = TestGraph::new(SCHEMA);
        let model = Model::new(&graph.schema);
        let writer = start(&graph, deferral).await;
        Self { graph, model, writer }
    }

    /// Loads rows that must be taken.
    async fn load(&mut self, table: &str, rows: Vec<Value>) -> CommitAnswer {
        let loaded = self.writer.load(table, &rows, 7, None).await;
        let answer = loaded.unwrap_or_else(|error| panic!("{table} was not loaded: {error}"));
        self.model
            .apply(&[upsert(table, rows)])
            .expect("valid for the model");
        answer
    }

    async fn refusal(&self, table: &str, rows: Vec<Value>) -> String {
        match self.writer.load(table, &rows, 7, None).await {
            Err(WriteError::Refused(refusal)) => refusal.to_string(),
            answer => panic!("expected a refusal, found {answer:?}"),
        }
    }

    /// A transaction, which needs the graph of the head.
    async fn touch(&mut self) {
        let operations = [
            upsert("Tag", [json!({"name": "touched"})]),
            delete("Item", [json!(3)]),
        ];
        self.writer.commit(&transaction(operations.clone())).await;
        self.model.apply(&operations).expect("valid for the model");
    }

    async fn assert_holds(&self) {
        let seq = checked_log(&self.graph.log).await.last().expect("a commit").seq;
        assert_eq!(self.writer.graph_seq(), seq, "the writer's graph is at the head");
        assert_holds("the writer", &self.writer.graph(), &self.model).await;
        let fresh = self.graph.fresh_rebuild().await;
        assert_holds("a fresh rebuild", &fresh.graph(), &self.model).await;
    }
}

async fn start(graph: &TestGraph, deferral: Deferral) -> WriterNode {
    let mut settings = graph.settings("writer");
    settings.deferral = deferral;
    let started = graph.try_start_writer(settings, &graph.schema).await;
    started.unwrap_or_else(|error| panic!("the writer could not take over: {error}"))
}

fn items(ids: std::ops::Range<i64>, note: &str) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "note": note})).collect()
}

fn tags(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"name": name})).collect()
}

fn tagged(ids: std::ops::Range<i64>, tag: &str) -> Vec<Value> {
    ids.map(|id| json!({"from": id, "to": tag, "weight": 0.5}))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_after_a_load_are_checked_as_if_the_graph_held_it_already() {
    let _scenario = crash_points();
    let mut loaded = Loaded::begin(WHEN_NEEDED).await;
    let before = loaded.writer.graph_seq();
    loaded.load("Item", items(0..50, "first")).await;
    loaded.load("Tag", tags(&["a", "b"])).await;
    loaded.load("TAGGED", tagged(0..50, "a")).await;
    // New keys of a table that was loaded already do not need the graph either.
    loaded.load("Item", items(50..60, "second")).await;
    loaded.load("TAGGED", tagged(50..60, "b")).await;
    assert_eq!(
        loaded.writer.graph_seq(),
        before,
        "all of it ran ahead of the graph"
    );

    let error = loaded.refusal("TAGGED", tagged(55..65, "a")).await;
    assert_eq!(
        error,
        "table TAGGED, row 5, column from: expected the key of a Item that exists, found 60"
    );
    let error = loaded.refusal("TAGGED", tagged(0..3, "c")).await;
    assert_eq!(
        error,
        "table TAGGED, row 0, column to: expected the key of a Tag that exists, found \"c\""
    );
    assert_eq!(loaded.writer.graph_seq(), before, "a refusal needs no graph");

    // Rows that a commit ahead wrote are replaced: only the graph knows where they are.
    loaded.load("Item", items(40..70, "third")).await;
    assert!(loaded.writer.graph_seq() > before);
    loaded.load("TAGGED", tagged(40..70, "b")).await;
    loaded.touch().await;
    loaded.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_graph_follows_on_its_own_once_it_is_quiet() {
    let _scenario = crash_points();
    let quickly = Deferral {
        quiet: Duration::from_millis(5),
        ..WHEN_NEEDED
    };
    let mut loaded = Loaded::begin(quickly).await;
    loaded.load("Item", items(0..50, "first")).await;
    loaded.writer.at_head().await;
    loaded.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_that_a_crash_left_outside_of_the_graph_is_there_after_a_restart_and_its_retry_makes_no_commit()
 {
    let _scenario = crash_points();
    let points = [
        "writer::after_record",
        "writer::before_answer",
        "writer::before_catch_up",
        "replica::before_graph_commit",
    ];
    for point in points {
        let mut loaded = Loaded::begin(WHEN_NEEDED).await;
        let rows = items(0..50, "once");
        fail::cfg(point, "1*return").expect("crash points are compiled in");
        let first = loaded.writer.load("Item", &rows, 20, Some("key")).await;
        loaded
            .model
            .apply(&[upsert("Item", rows.clone())])
            .expect("valid for the model");
        if first.is_ok() {
            let next = transaction([upsert("Tag", [json!({"name": "lost"})])]);
            assert!(
                matches!(loaded.writer.submit(&next).await, Err(WriteError::Unknown)),
                "the writer reached the head in spite of {point}"
            );
        }
        let Loaded { graph, model, writer } = loaded;
        let ended = writer.ended().await;
        assert!(matches!(ended, Err(CommitError::Crashed(_))), "{ended:?}");
        let writer = start(&graph, WHEN_NEEDED).await;
        let again = writer.load("Item", &rows, 20, Some("key")).await;
        let again = again.unwrap_or_else(|error| panic!("the retry after {point} got {error}"));
        if let Ok(first) = first {
            assert_eq!(first, again, "the retry after {point} has another answer");
        }
        let records = checked_log(&graph.log).await;
        assert_eq!(
            commits_of_key(&records, "key").len(),
            1,
            "the request of {point} was committed once"
        );
        Loaded { graph, model, writer }.assert_holds().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_load_leaves_no_file_and_no_version() {
    let _scenario = crash_points();
    let mut loaded = Loaded::begin(WHEN_NEEDED).await;
    loaded.load("Item", items(0..5, "first")).await;
    loaded.load("Tag", tags(&["a"])).await;
    let lance = loaded.graph.data_dir("root").join("lance");
    let (edges, nodes) = (lance.join("TAGGED.lance"), lance.join("Item.lance"));
    let before = (files(&edges), files(&nodes));
    loaded.refusal("TAGGED", tagged(0..20, "a")).await;
    // The same key twice with different values.
    let twice = items(5..20, "x").into_iter().chain(items(19..25, "y")).collect();
    let error = loaded.refusal("Item", twice).await;
    assert!(error.contains("key 19 comes twice"), "{error}");
    until("the files of the refused loads to go", || {
        (files(&edges), files(&nodes)) == before
    })
    .await;
    // An exact repetition is no other row; the rows are written once more without it.
    let data = nodes.join("data");
    let mut repeated = items(5..20, "x");
    repeated.extend(items(10..20, "x"));
    let before = files(&data).len();
    loaded.load("Item", repeated).await;
    until("only the rows that count to stay", || {
        files(&data).len() == before + 1
    })
    .await;
    loaded.touch().await;
    loaded.assert_holds().await;
}

/// Names of the files of a table, in all of its directories.
fn files(table: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![table.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}
