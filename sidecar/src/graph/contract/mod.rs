//! What we rely on in the graph engine, pinned: when an upgrade changes one of these, it shows here at once.
//!
//! Each test talks to the engine directly; the rules they pin are listed in docs/decisions/0001-graph-engine.md.

mod crash;
mod load_from;
mod sums;
mod transactions;

use std::path::Path;

use kuzu::{Connection, Database, SystemConfig, Value};

pub(super) fn open(directory: &Path) -> Database {
    let config = SystemConfig::default()
        .buffer_pool_size(256 << 20)
        .max_num_threads(2)
        .max_db_size(1 << 34)
        .auto_checkpoint(false);
    Database::new(directory.join("graph.kuzu"), config).unwrap()
}

/// Runs one statement; gives its rows as text.
pub(super) fn run(connection: &Connection<'_>, text: &str) -> Vec<Vec<String>> {
    let result = connection
        .query(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    result
        .map(|row| row.iter().map(ToString::to_string).collect())
        .collect()
}

pub(super) fn fails(connection: &Connection<'_>, text: &str) -> String {
    match connection.query(text) {
        Ok(_) => panic!("expected to fail: {text}"),
        Err(error) => error.to_string(),
    }
}

pub(super) fn count(connection: &Connection<'_>, text: &str) -> i64 {
    match connection.query(text).unwrap().next().unwrap().as_slice() {
        [Value::Int64(count)] => *count,
        other => panic!("{text}: {other:?}"),
    }
}

pub(super) const NODES: &str = "MATCH (n:N) RETURN count(*)";
pub(super) const RELS: &str = "MATCH ()-[r:R]->() RETURN count(*)";

/// Nodes `0..nodes` of table N, and one relationship from each to the next.
pub(super) fn chain(connection: &Connection<'_>, nodes: i64) {
    run(
        connection,
        "CREATE NODE TABLE N (id INT64, v INT64, PRIMARY KEY (id))",
    );
    run(connection, "CREATE REL TABLE R (FROM N TO N, w INT64)");
    run(
        connection,
        &format!("UNWIND range(0, {}) AS i CREATE (:N {{id: i, v: 0}})", nodes - 1),
    );
    run(
        connection,
        &format!(
            "UNWIND range(0, {}) AS i MATCH (a:N {{id: i}}), (b:N {{id: i + 1}}) CREATE (a)-[:R {{w: i}}]->(b)",
            nodes - 2
        ),
    );
}
