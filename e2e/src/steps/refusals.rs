//! Step 9: a replica takes no change, and no query reaches outside the graph.

use serde_json::{Value, json};

use super::checks::{head_of_log, refused, same_counts};
use super::{Scene, StepError, expect_equal};
use crate::client::{NDJSON, Query};
use crate::debian::PACKAGE;
use crate::report::Passed;

/// Queries that no node runs.
pub const FORBIDDEN: [&str; 4] = [
    "CREATE (:Package {name: 'intruder'})",
    "MATCH (p:Package) DETACH DELETE p",
    "LOAD FROM '/etc/passwd' (file_format='csv', delim=':') RETURN *",
    "COPY (MATCH (p:Package) RETURN p.name) TO '/tmp/packages.csv'",
];

/// Asks for what must be refused.
///
/// # Errors
/// When something of it is not.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    let (replica, writer) = (scene.local.replica(1), scene.local.writer());
    let head = head_of_log(&writer).await?;
    let row = json!({"name": "intruder"});
    let transaction = json!({"operations": [{"upsert": {"table": PACKAGE, "rows": [row]}}]});
    let what = "a transaction on a replica";
    refused(
        what,
        replica.commit(&transaction).await,
        403,
        "replica-refuses-writes",
    )?;
    let loaded = replica.load(PACKAGE, NDJSON, row.to_string().into_bytes()).await;
    refused("a load on a replica", loaded, 403, "replica-refuses-writes")?;
    for text in FORBIDDEN {
        for node in [&replica, &writer] {
            refused(
                &format!("`{text}` on {}", node.name),
                node.query(&Query::new(text)).await,
                403,
                "forbidden-statement",
            )?;
        }
    }
    // Words in a text are no statement.
    let harmless = replica
        .query(&Query::new("RETURN 'CREATE, DELETE, LOAD FROM'"))
        .await?;
    expect_equal(
        "answer to a text with such words",
        &harmless.rows,
        &vec![vec![Value::from("CREATE, DELETE, LOAD FROM")]],
    )?;
    expect_equal(
        "head of the log after refusals",
        &head_of_log(&writer).await?,
        &head,
    )?;
    for node in scene.replica_nodes() {
        same_counts(&node, &scene.graph, &scene.newest_tx).await?;
    }
    let queries = FORBIDDEN.len();
    Ok(format!("a replica refused a transaction, a load and {queries} queries that write or read files (the writer those as well)").into())
}
