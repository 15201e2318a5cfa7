//! Step 4: live updates and deletes, read back from every replica, and a transaction that is refused whole.

use serde_json::json;

use super::checks::{edges_of, head_of_log, refused, same_counts, same_edge, same_package};
use super::{Scene, StepError, expect, expect_equal};
use crate::debian::{EDGES, PACKAGE, Package};
use crate::report::Passed;

/// A package that Debian does not have.
pub const NEW: &str = "slipstream-demo";
/// A package that gets another version; it keeps its edges.
const CHANGED: &str = "curl";
/// A package with edges of both tables, both ways.
const DELETED: &str = "postfix";
/// What the new package depends on, and what it recommends.
const NEW_EDGES: [(usize, &str, Option<&str>); 3] = [
    (0, "libc6", Some(">= 2.36")),
    (0, CHANGED, None),
    (1, "ca-certificates", None),
];

/// Changes the graph and its model alike, and compares them after each transaction.
///
/// # Errors
/// When a replica differs from the model, or the wrong transaction is taken.
pub async fn run(scene: &mut Scene) -> Result<Passed, StepError> {
    upsert(scene).await?;
    let gone = delete(scene).await?;
    refuse(scene).await?;
    Ok(format!(
        "upserted a package with 3 edges and a new version of {CHANGED}; deleted {DELETED} with its {} DEPENDS and {} RECOMMENDS; \
         a transaction with a dangling edge changed nothing; all read back on every replica",
        gone[0], gone[1]
    )
    .into())
}

async fn upsert(scene: &mut Scene) -> Result<(), StepError> {
    let new = Package {
        version: Some("0.1.0".to_owned()),
        section: Some("database".to_owned()),
        installed_size: Some(42),
        description: Some("a package that only this demo has".to_owned()),
    };
    let Some(known) = scene.graph.packages.get(CHANGED).cloned() else {
        return Err(missing(CHANGED));
    };
    let changed = Package {
        version: Some("99.0-demo".to_owned()),
        ..known
    };
    let mut operations =
        vec![json!({"upsert": {"table": PACKAGE, "rows": [new.row(NEW), changed.row(CHANGED)]}})];
    for (table, to, constraint) in NEW_EDGES {
        let row = json!({"from": NEW, "to": to, "constraint": constraint});
        operations.push(json!({"upsert": {"table": EDGES[table], "rows": [row]}}));
    }
    let transaction = json!({"notes": "demo: a new package and a new version", "operations": operations});
    scene.newest_tx = scene.local.writer().commit(&transaction).await?.tx_id;

    scene.graph.packages.insert(NEW.to_owned(), new);
    scene.graph.packages.insert(CHANGED.to_owned(), changed);
    for (table, to, constraint) in NEW_EDGES {
        scene.graph.edges[table].insert((NEW.to_owned(), to.to_owned()), constraint.map(str::to_owned));
    }
    for node in scene.replica_nodes() {
        for name in [NEW, CHANGED] {
            same_package(&node, name, scene.graph.packages.get(name), &scene.newest_tx).await?;
            let found = edges_of(&node, name, &scene.newest_tx).await?;
            expect_equal(
                format!("edges of {name} on {}", node.name),
                &found,
                &scene.graph.edges_of(name),
            )?;
        }
        for (table, to, constraint) in NEW_EDGES {
            same_edge(&node, EDGES[table], (NEW, to), constraint, &scene.newest_tx).await?;
        }
        same_counts(&node, &scene.graph, &scene.newest_tx).await?;
    }
    Ok(())
}

/// Deletes the package alone; its edges must go with it. Gives how many there were.
async fn delete(scene: &mut Scene) -> Result<[u64; 2], StepError> {
    let expected = scene.graph.edges_of(DELETED);
    expect(
        expected.iter().all(|edges| *edges > 0),
        format!("edges of {DELETED}"),
        "some of each table",
        expected,
    )?;
    let before = edges_of(&scene.local.replica(1), DELETED, &scene.newest_tx).await?;
    expect_equal(
        format!("edges of {DELETED} before its delete"),
        &before,
        &expected,
    )?;

    let transaction = json!({"operations": [{"delete": {"table": PACKAGE, "keys": [DELETED]}}]});
    scene.newest_tx = scene.local.writer().commit(&transaction).await?.tx_id;
    scene.graph.delete(DELETED);
    for node in scene.replica_nodes() {
        same_package(&node, DELETED, None, &scene.newest_tx).await?;
        expect_equal(
            format!("edges of {DELETED} on {}", node.name),
            &edges_of(&node, DELETED, &scene.newest_tx).await?,
            &[0, 0],
        )?;
        same_counts(&node, &scene.graph, &scene.newest_tx).await?;
    }
    Ok(before)
}

async fn refuse(scene: &mut Scene) -> Result<(), StepError> {
    const NEVER: &str = "slipstream-never";
    let Some(package) = scene.graph.packages.get(NEW).cloned() else {
        return Err(missing(NEW));
    };
    let writer = scene.local.writer();
    let head = head_of_log(&writer).await?;
    let transaction = json!({"operations": [
        {"upsert": {"table": PACKAGE, "rows": [package.row(NEVER)]}},
        {"upsert": {"table": EDGES[0], "rows": [{"from": NEVER, "to": NEW}, {"from": NEVER, "to": DELETED}]}}]});
    let what = "a transaction with a dangling edge";
    let problem = refused(what, writer.commit(&transaction).await, 422, "refused")?;
    let place = (
        problem.operation,
        problem.table.as_deref(),
        problem.row,
        problem.column.as_deref(),
    );
    expect_equal(
        "place of the dangling edge",
        &place,
        &(Some(1), Some(EDGES[0]), Some(1), Some("to")),
    )?;
    expect_equal(
        "head of the log after a refusal",
        &head_of_log(&writer).await?,
        &head,
    )?;
    let mut nodes = scene.replica_nodes();
    nodes.push(writer);
    for node in nodes {
        same_package(&node, NEVER, None, &scene.newest_tx).await?;
        same_counts(&node, &scene.graph, &scene.newest_tx).await?;
    }
    Ok(())
}

fn missing(name: &str) -> StepError {
    StepError::Wrong {
        what: "the files".to_owned(),
        expected: format!("a package {name}"),
        found: "none".to_owned(),
    }
}
