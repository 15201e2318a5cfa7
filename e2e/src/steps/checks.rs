//! Comparing a node with the model.

use serde_json::{Value, json};

use super::{StepError, expect, expect_equal};
use crate::client::{Answer, ClientError, Node, Query};
use crate::debian::{Counts, Debian, EDGES, PACKAGE, Package};

/// Every package's properties but the key, in the order of [`Package::values`].
const PACKAGE_BY_NAME: &str =
    "MATCH (p:Package {name: $name}) RETURN p.version, p.section, p.installed_size, p.description";

/// Rows per table on a node that has `min_tx`.
///
/// # Errors
/// When the node does not answer in time.
pub async fn counts(node: &Node, min_tx: &str) -> Result<Counts, ClientError> {
    let mut counts = [0; 3];
    counts[0] = node
        .count(&Query::new(&format!("MATCH (p:{PACKAGE}) RETURN count(*)")).min_tx(min_tx))
        .await?;
    for (count, table) in counts[1..].iter_mut().zip(EDGES) {
        let query = format!("MATCH (:{PACKAGE})-[r:{table}]->(:{PACKAGE}) RETURN count(*)");
        *count = node.count(&Query::new(&query).min_tx(min_tx)).await?;
    }
    Ok(counts)
}

/// Fails unless the node has as many rows as the model.
///
/// # Errors
/// [`StepError::Wrong`] with both counts.
pub async fn same_counts(node: &Node, graph: &Debian, min_tx: &str) -> Result<(), StepError> {
    let found = counts(node, min_tx).await?;
    let what = format!(
        "rows of {PACKAGE}, {} and {} on {}",
        EDGES[0], EDGES[1], node.name
    );
    expect_equal(what, &found, &graph.counts())
}

/// Fails unless the node has this package exactly, or, for `None`, does not have it.
///
/// # Errors
/// [`StepError::Wrong`] with both rows.
pub async fn same_package(
    node: &Node,
    name: &str,
    package: Option<&Package>,
    min_tx: &str,
) -> Result<(), StepError> {
    let answer = node
        .query(&Query::new(PACKAGE_BY_NAME).param("name", name).min_tx(min_tx))
        .await?;
    let expected: Vec<Vec<Value>> = package.map(Package::values).into_iter().collect();
    expect_equal(
        format!("package {name} on {}", node.name),
        &answer.rows,
        &expected,
    )
}

/// Fails unless the node has this edge with this constraint.
///
/// # Errors
/// [`StepError::Wrong`] with both.
pub async fn same_edge(
    node: &Node,
    table: &str,
    (from, to): (&str, &str),
    constraint: Option<&str>,
    min_tx: &str,
) -> Result<(), StepError> {
    let text = format!(
        "MATCH (a:{PACKAGE} {{name: $from}})-[r:{table}]->(b:{PACKAGE} {{name: $to}}) RETURN r.constraint"
    );
    let answer = node
        .query(
            &Query::new(&text)
                .param("from", from)
                .param("to", to)
                .min_tx(min_tx),
        )
        .await?;
    expect_equal(
        format!("{table} from {from} to {to} on {}", node.name),
        &answer.rows,
        &vec![vec![json!(constraint)]],
    )
}

/// Edges at a package on a node, per edge table, both ways.
///
/// # Errors
/// When the node does not answer.
pub async fn edges_of(node: &Node, name: &str, min_tx: &str) -> Result<[u64; 2], ClientError> {
    let mut found = [0; 2];
    for (found, table) in found.iter_mut().zip(EDGES) {
        let text = format!("MATCH (p:{PACKAGE} {{name: $name}})-[r:{table}]-(:{PACKAGE}) RETURN count(*)");
        *found = node
            .count(&Query::new(&text).param("name", name).min_tx(min_tx))
            .await?;
    }
    Ok(found)
}

/// The `seq` of the newest commit, read from the log itself.
///
/// # Errors
/// When the writer does not answer.
pub async fn head_of_log(writer: &Node) -> Result<u64, ClientError> {
    let known = writer.status().await?.head.seq;
    let later = writer.commits(known).await?;
    Ok(later.last().map_or(known, |commit| commit.seq))
}

/// Fails unless a request was refused with this status and kind of problem.
///
/// # Errors
/// [`StepError::Wrong`] when it went through or failed otherwise.
pub fn refused<T: std::fmt::Debug>(
    what: &str,
    outcome: Result<T, ClientError>,
    status: u16,
    slug: &str,
) -> Result<crate::client::Problem, StepError> {
    let expected = format!("a refusal with status {status}, {slug}");
    match outcome {
        Err(ClientError::Refused { problem, .. }) => {
            expect(
                problem.status == status && problem.slug() == slug,
                what,
                expected,
                &problem,
            )?;
            Ok(*problem)
        }
        Err(error) => Err(error.into()),
        Ok(answer) => Err(StepError::Wrong {
            what: what.to_owned(),
            expected,
            found: format!("{answer:?}"),
        }),
    }
}

/// The rows of an answer, sorted: for answers whose order is not fixed.
pub fn sorted_rows(answer: &Answer) -> Vec<String> {
    let mut rows: Vec<String> = answer.rows.iter().map(|row| json!(row).to_string()).collect();
    rows.sort();
    rows
}
