//! Fills a fresh database from pinned Lance versions with `COPY`. Nobody reads it before it is complete.
//!
//! Flow per table, nodes before edges: Lance scan -> Parquet spill of bounded size -> `COPY`, the next spill being written
//! while the engine copies; then counts compared with Lance, the watermark, a checkpoint.
//!
//! Crash behaviour: the watermark is written last, so a half-built database counts as none and is removed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use tokio::sync::mpsc;

use super::apply::joined;
use super::lookup::count_rows;
use super::spill::{Spill, SpillWriter, spill_batch};
use super::statement::Statements;
use super::{EngineLimits, Graph, GraphError, Watermark, watermark};
use crate::lake::{Lake, TableAt};
use crate::schema::kuzu_types::{create_table, quote, string_literal};
use crate::schema::{Schema, TableSchema};

/// Rows of a node table per `COPY`: one node group of the engine. It holds a `COPY`'s rows in memory until a group is full, and
/// the rows of a group that a `COPY` left partly filled until the next checkpoint; so whole groups one by one need the least
/// memory, and as much for a long table as for a short one. An edge table goes in one `COPY`, which spills to disk by itself:
/// a second one merges into what the first left in memory, needs more of it, and the engine crashed when it rolled such a one
/// back.
const NODE_COPY_ROWS: u64 = 1 << 17;
/// Copied rows after which the engine writes out what it holds: a graph of any length then needs about as much memory, and a
/// smaller pool, than with one checkpoint at the end.
const CHECKPOINT_ROWS: u64 = 4 * NODE_COPY_ROWS;

/// What a build did.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildReport {
    pub rows: u64,
    pub elapsed: Duration,
}

/// Builds the graph of one commit in `directory`, which must be empty or missing.
///
/// `at_work` is held for as long as the engine works in `directory`, also after this future was dropped.
///
/// Memory: one scan batch and the engine's buffer pool; disk: spills of 131,072 nodes or one edge table next to the database.
pub async fn build(
    lake: &Lake,
    target: &Watermark,
    directory: &Path,
    limits: EngineLimits,
    at_work: Arc<()>,
) -> Result<(Graph, BuildReport), GraphError> {
    let started = Instant::now();
    let schema = Arc::new(target.schema()?);
    let (sources, receiver) = mpsc::channel::<Source>(1);
    let worker = {
        let (directory, schema, target) = (directory.to_owned(), schema.clone(), target.clone());
        tokio::task::spawn_blocking(move || {
            let filled = fill(&directory, schema, &target, limits, receiver);
            drop(at_work);
            filled
        })
    };
    let mut rows = 0;
    let mut read = Ok(());
    for table in schema.tables() {
        read = async {
            let version = target
                .tables
                .get(&table.name)
                .ok_or_else(|| GraphError::Diverged {
                    table: table.name.clone(),
                    detail: "the commit's version map does not name it".to_owned(),
                })?;
            let source = lake.at(&table.name, version).await?;
            source.verify_manifest(&target.manifests)?;
            rows += spill_table(table, &source, directory, &sources).await?;
            Ok(())
        }
        .await;
        if read.is_err() {
            break;
        }
    }
    drop(sources);
    // Where the worker failed, the reader saw only that nobody listens any more.
    let graph = match (joined(worker.await), read) {
        (Ok(graph), Ok(())) => graph,
        (Err(error), Ok(()) | Err(GraphError::Abandoned)) | (_, Err(error)) => return Err(error),
    };
    Ok((
        graph,
        BuildReport {
            rows,
            elapsed: started.elapsed(),
        },
    ))
}

/// What the reader of Lance hands to the engine.
enum Source {
    Copy { table: Arc<TableSchema>, spill: Spill },
    Complete { table: Arc<TableSchema>, rows: u64 },
}

async fn spill_table(
    table: &Arc<TableSchema>,
    source: &TableAt,
    directory: &Path,
    sources: &mpsc::Sender<Source>,
) -> Result<u64, GraphError> {
    let columns: Vec<&str> = super::spill::spill_columns(table)
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    let mut batches = source.scan(&columns).await?;
    let mut open: Option<SpillWriter> = None;
    let mut total = 0;
    while let Some(batch) = batches.try_next().await? {
        total += batch.num_rows() as u64;
        let mut rest = batch;
        while rest.num_rows() > 0 {
            let room = match &open {
                _ if !table.is_node() => u64::MAX,
                Some(writer) => NODE_COPY_ROWS - writer.rows,
                None => NODE_COPY_ROWS,
            };
            let fitting = usize::try_from(room).map_or(rest.num_rows(), |room| room.min(rest.num_rows()));
            let part = rest.slice(0, fitting);
            rest = rest.slice(fitting, rest.num_rows() - fitting);
            let (schema, directory, writer) = (table.clone(), directory.to_owned(), open.take());
            let written = tokio::task::spawn_blocking(move || {
                let part = spill_batch(&schema, &part)?;
                let mut writer = match writer {
                    Some(writer) => writer,
                    None => SpillWriter::create(&directory, &schema.name, &part)?,
                };
                writer.write(&part)?;
                Ok(if !schema.is_node() || writer.rows < NODE_COPY_ROWS {
                    (Some(writer), None)
                } else {
                    (None, Some(writer.finish()?))
                })
            });
            let (unfinished, spill) = joined(written.await)?;
            open = unfinished;
            if let Some(spill) = spill {
                hand_over_spill(table, spill, sources).await?;
            }
        }
    }
    if let Some(writer) = open {
        let spill = joined(tokio::task::spawn_blocking(move || writer.finish()).await)?;
        hand_over_spill(table, spill, sources).await?;
    }
    let expected = source.count_rows().await?;
    if total != expected {
        return Err(GraphError::Diverged {
            table: table.name.clone(),
            detail: format!("the scan gave {total} rows, Lance counts {expected}"),
        });
    }
    hand_over(
        Source::Complete {
            table: table.clone(),
            rows: total,
        },
        sources,
    )
    .await?;
    Ok(total)
}

async fn hand_over_spill(
    table: &Arc<TableSchema>,
    spill: Spill,
    sources: &mpsc::Sender<Source>,
) -> Result<(), GraphError> {
    let table = table.clone();
    hand_over(Source::Copy { table, spill }, sources).await
}

async fn hand_over(source: Source, sources: &mpsc::Sender<Source>) -> Result<(), GraphError> {
    sources.send(source).await.map_err(|_| GraphError::Abandoned)
}

/// The blocking half: creates the database and copies what arrives.
fn fill(
    directory: &Path,
    schema: Arc<Schema>,
    target: &Watermark,
    limits: EngineLimits,
    mut sources: mpsc::Receiver<Source>,
) -> Result<Graph, GraphError> {
    let graph = Graph::open_database(directory, schema.clone(), limits)?;
    {
        let connection = graph.connect()?;
        let mut statements = Statements::new(&connection);
        let tables: Vec<String> = schema.tables().iter().map(|table| create_table(table)).collect();
        for ddl in watermark::DDL
            .into_iter()
            .chain(tables.iter().map(String::as_str))
        {
            statements.execute(ddl)?;
        }
        let (mut complete, mut since_checkpoint) = (0, 0);
        while let Some(source) = sources.blocking_recv() {
            match source {
                Source::Copy { table, spill } => {
                    let path = string_literal(&spill.path.to_string_lossy());
                    statements.execute(&format!("COPY {} FROM {path}", quote(&table.name)))?;
                    since_checkpoint += spill.rows;
                    if since_checkpoint >= CHECKPOINT_ROWS {
                        statements.execute("CHECKPOINT")?;
                        since_checkpoint = 0;
                    }
                }
                Source::Complete { table, rows } => {
                    let found = count_rows(&mut statements, &table)?;
                    if found != rows {
                        return Err(GraphError::Diverged {
                            table: table.name.clone(),
                            detail: format!("copied {rows} rows, found {found}"),
                        });
                    }
                    complete += 1;
                    fail::fail_point!("replica::between_tables");
                }
            }
        }
        if complete != schema.tables().len() {
            return Err(GraphError::Abandoned);
        }
        statements.execute("BEGIN TRANSACTION")?;
        watermark::create(&mut statements, target)?;
        statements.execute("COMMIT")?;
    }
    graph.checkpoint(true)?;
    Ok(graph)
}
