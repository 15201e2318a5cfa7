//! How large the graph's rows are by themselves: read from a replica, loaded into a graph of their own.
//!
//! This is the live data that the bucket's size is compared with: the same rows in the same format, without a history. And a replica's
//! first build of them, which the nodes' data directories are compared with.

use serde_json::{Value, json};

use super::load::ndjson;
use super::sample::Place;
use super::{Harness, READY_WITHIN, SCHEMA, TortureError, quiet_config};
use crate::client::{NDJSON, Node, Query};
use crate::torture::Options;

/// Rows of one request.
const CHUNK: usize = 20_000;
const LIMIT: u64 = 10_000_000;
const ITEMS: &str = "MATCH (i:Item) RETURN i.name, i.text, i.value ORDER BY i.name";
const EDGES: &str = "MATCH (i:Item)-[n:NEAR]->(j:Item) RETURN i.name, j.name, n.value";

/// The rows' number, the bytes of their tables, and those of a graph built of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copied {
    pub(super) rows: usize,
    pub(super) tables: Place,
    pub(super) graph: Place,
}

/// Copies what `node` shows.
pub(super) async fn of(node: &Node, options: &Options) -> Result<Copied, TortureError> {
    let directory = options.directory.join("soak-copy");
    let mut config = quiet_config(&directory.join("store"))?;
    config.schema = serde_yaml::from_str(SCHEMA)?;
    let harness = Harness::with(&directory, &options.binary, config, Vec::new())?;
    let mut writer = harness.start_writer("writer")?;
    writer.wait_ready(READY_WITHIN).await?;
    let mut copied = 0;
    for (table, query, columns) in [
        ("Item", ITEMS, ["name", "text", "value"]),
        ("NEAR", EDGES, ["from", "to", "value"]),
    ] {
        let answer = node.query(&Query::new(query).limit(LIMIT)).await?;
        copied += answer.rows.len();
        for rows in answer.rows.chunks(CHUNK) {
            let body = ndjson(rows.iter().map(|row| named(&columns, row)));
            writer.node().load(table, NDJSON, body).await?;
        }
    }
    let tables = super::sample::walk(&harness.store().join("lance")).await;
    let mut replica = harness.start_replica("replica")?;
    replica.wait_ready(READY_WITHIN).await?;
    let graph = super::sample::walk(&replica.spec.data_dir).await;
    Ok(Copied {
        rows: copied,
        tables,
        graph,
    })
}

fn named(columns: &[&str; 3], row: &[Value]) -> Value {
    columns
        .iter()
        .zip(row)
        .map(|(column, value)| ((*column).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
