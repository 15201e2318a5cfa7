//! One comparison of the local graph with Lance at one commit.
//!
//! The graph comes first, in one transaction whose watermark says which commit it is; then Lance at that commit's versions, one
//! table at a time. Nothing keeps those versions from being cleaned meanwhile, for the lease follows the watermark: a version
//! that is gone, like every other trouble of the store, makes the comparison begin again and never counts as a difference.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::TableDigest;
use crate::commit_log::{LogError, Position};
use crate::graph::{DigestError, Graph, GraphDigest, GraphError, GraphTableDigest};
use crate::lake::{LakeError, ManifestDigests};
use crate::replica::Advancer;
use crate::schema::Schema;

/// How often a comparison is begun before it counts as failed. The last time, checkpoints wait for it.
const TRIES: u32 = 4;
/// Between two of them.
const WAIT: Duration = Duration::from_millis(200);

/// Why there is no verdict. Says nothing about the graph.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    #[error("this node has no graph to compare")]
    NoGraph,
    #[error("the graph was replaced while it was compared")]
    Replaced,
    #[error(transparent)]
    Digest(DigestError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Log(#[from] LogError),
    /// The node ends.
    #[error("the comparison was stopped")]
    Stopped,
    /// A crash point of a test.
    #[error("stopped at crash point {0}")]
    Crashed(&'static str),
}

impl ScrubError {
    /// Whether another try may end better.
    fn may_pass(&self) -> bool {
        match self {
            Self::Replaced | Self::Digest(DigestError::GaveWay) => true,
            Self::Lake(error) => matches!(
                error,
                LakeError::VersionMissing { .. } | LakeError::Storage { .. } | LakeError::Connection { .. }
            ),
            Self::Log(error) => matches!(error, LogError::Store(_)),
            Self::NoGraph | Self::Digest(_) | Self::Stopped | Self::Crashed(_) => false,
        }
    }
}

/// One table in Lance and in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableComparison {
    pub table: String,
    pub lance_rows: u64,
    pub graph_rows: u64,
    /// Whether every row is the same in both.
    pub equal: bool,
    /// What differs, where something does.
    pub detail: Option<String>,
}

/// The whole graph at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub position: Position,
    pub tables: Vec<TableComparison>,
    pub elapsed: Duration,
}

impl Comparison {
    /// Rows that Lance holds.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.lance_rows).sum()
    }

    /// What differs, by table; `None` when nothing does.
    pub fn difference(&self) -> Option<String> {
        let differences: Vec<String> = self
            .tables
            .iter()
            .filter(|table| !table.equal)
            .map(|table| {
                format!(
                    "table {}: {}",
                    table.table,
                    table.detail.as_deref().unwrap_or_default()
                )
            })
            .collect();
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

/// Compares the graph that readers get now. Gives that graph along, so that a verdict is not carried out on its successor.
///
/// # Errors
/// When there is no verdict, after some tries.
pub async fn compare(
    advancer: &Advancer,
    stop: &CancellationToken,
) -> Result<(Arc<Graph>, Comparison), ScrubError> {
    for left in (0..TRIES).rev() {
        match compare_once(advancer, left == 0, stop).await {
            Err(error) if left > 0 && error.may_pass() => {
                tracing::debug!(%error, "the comparison begins again");
                tokio::select! {
                    () = tokio::time::sleep(WAIT) => {}
                    () = stop.cancelled() => return Err(ScrubError::Stopped),
                }
            }
            decided => return decided,
        }
    }
    Err(ScrubError::Replaced)
}

async fn compare_once(
    advancer: &Advancer,
    patient: bool,
    stop: &CancellationToken,
) -> Result<(Arc<Graph>, Comparison), ScrubError> {
    let started = Instant::now();
    fail::fail_point!("scrub::before_compare", |_| Err(ScrubError::Crashed(
        "scrub::before_compare"
    )));
    // A graph in doubt is being replaced. One without position was not checked to be of this log yet.
    let graph = advancer.local.writable().ok_or(ScrubError::NoGraph)?;
    let known = advancer.progress.view().watermark.ok_or(ScrubError::NoGraph)?;
    let compared = match read_graph(&graph, patient, stop).await {
        Ok(digest) => tokio::select! {
            compared = with_lance(advancer, graph.schema(), &digest) => compared?,
            () = stop.cancelled() => return Err(ScrubError::Stopped),
        },
        Err(DigestError::Unreadable { table, detail }) => (known, vec![unreadable(table, detail)]),
        Err(DigestError::Graph(error)) => (known, vec![unreadable("(all)".to_owned(), error.to_string())]),
        Err(DigestError::Stopped) => return Err(ScrubError::Stopped),
        Err(error) => return Err(ScrubError::Digest(error)),
    };
    let (position, tables) = compared;
    let comparison = Comparison {
        position,
        tables,
        elapsed: started.elapsed(),
    };
    let still_served = advancer
        .local
        .current()
        .is_some_and(|current| Arc::ptr_eq(&current, &graph));
    if comparison.difference().is_some() && !still_served {
        return Err(ScrubError::Replaced);
    }
    Ok((graph, comparison))
}

async fn read_graph(
    graph: &Arc<Graph>,
    patient: bool,
    stop: &CancellationToken,
) -> Result<GraphDigest, DigestError> {
    let (graph, stop) = (graph.clone(), stop.clone());
    let read = tokio::task::spawn_blocking(move || graph.digest(patient, &|| stop.is_cancelled())).await;
    // The engine's glue panics at text that is none: that graph cannot be read either.
    read.unwrap_or_else(|error| {
        Err(DigestError::Graph(GraphError::Engine {
            doing: "read the graph".to_owned(),
            detail: error.to_string(),
        }))
    })
}

async fn with_lance(
    advancer: &Advancer,
    schema: &Schema,
    graph: &GraphDigest,
) -> Result<(Position, Vec<TableComparison>), ScrubError> {
    let watermark = &graph.watermark;
    let mut manifests = ManifestDigests::default();
    // Trimmed, where it is not there.
    if let Some(record) = advancer.log.read(watermark.position.seq).await? {
        if record.tx_id != watermark.position.tx_id || record.tables != watermark.tables {
            let detail = format!("the watermark is not commit {} of the log", record.seq);
            let tables = vec![unreadable("Watermark".to_owned(), detail)];
            return Ok((watermark.position, tables));
        }
        manifests = record.manifests;
    }
    let mut tables = Vec::new();
    for found in &graph.tables {
        let (Some(table), Some(version)) = (schema.table(&found.table), watermark.tables.get(&found.table))
        else {
            tables.push(unreadable(found.table.clone(), "no commit names it".to_owned()));
            continue;
        };
        let source = advancer.lake.at(&found.table, version).await?;
        source.verify_manifest(&manifests)?;
        tables.push(table_comparison(found, source.digest(table).await?));
    }
    Ok((watermark.position, tables))
}

fn unreadable(table: String, detail: String) -> TableComparison {
    TableComparison {
        table,
        lance_rows: 0,
        graph_rows: 0,
        equal: false,
        detail: Some(detail),
    }
}

fn table_comparison(graph: &GraphTableDigest, lance: TableDigest) -> TableComparison {
    let seen = [
        ("", Some(graph.forward)),
        (" from its edges' ends", graph.backward),
    ];
    let differences: Vec<String> = seen
        .into_iter()
        .filter_map(|(from, digest)| Some((from, digest?)))
        .filter(|(_, digest)| *digest != lance)
        .map(|(from, digest)| format!("Lance holds {lance}, the graph{from} {digest}"))
        .collect();
    // Of two counts the wrong one says more.
    let graph_rows = match graph.backward {
        Some(backward) if graph.forward.rows == lance.rows => backward.rows,
        _ => graph.forward.rows,
    };
    TableComparison {
        table: graph.table.clone(),
        lance_rows: lance.rows,
        graph_rows,
        equal: differences.is_empty(),
        detail: (!differences.is_empty()).then(|| differences.join("; ")),
    }
}
