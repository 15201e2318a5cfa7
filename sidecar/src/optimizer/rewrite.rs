//! The background half that writes: merged files and trained indexes, on pinned versions, named by nothing yet.
//!
//! One job at a time, so that clients keep their share of the cores. Between two jobs it is cancelled; what was written until
//! then is removed.

use std::collections::BTreeMap;

use crds::Optimizer;
use tokio_util::sync::CancellationToken;

use super::{OptimizeError, Shape, TableShape, TableTask, Task, decide};
use crate::ids::{RowId, TxId};
use crate::lake::{BuiltIndex, CompactionLimits, IndexWish, Rewrite, TableAt};
use crate::schema::TOMBSTONES;

/// Tombstones that are removed in one run, at most: what fits into a commit that nobody notices.
const TOMBSTONES_AT_ONCE: usize = 20_000;

/// What the background half works with.
#[derive(Debug, Clone)]
pub struct Rewriting {
    /// At the writer's bases; nothing cleans them, as the same task does that, later.
    pub tables: Vec<TableAt>,
    pub config: Optimizer,
    /// Indexes that the resource wants, by table.
    pub wishes: Vec<(String, IndexWish)>,
    /// Below so many rows a table gets no vector index.
    pub vector_min_rows: u64,
    pub commits_since_cleaning: u64,
    /// Tombstones of commits before this one are needed by nobody.
    pub tombstones_before: Option<TxId>,
}

/// Results for one table, for the writer to name.
#[derive(Debug, Default)]
pub struct PreparedTable {
    pub rewrites: Vec<Rewrite>,
    pub indexes: Vec<BuiltIndex>,
    pub drops: Vec<String>,
    /// Rows that go without a tombstone: tombstones themselves.
    pub delete: Vec<RowId>,
}

/// By table, and why.
#[derive(Debug, Default)]
pub struct Prepared {
    pub tables: BTreeMap<String, PreparedTable>,
    pub why: Vec<String>,
}

impl Rewriting {
    /// What is worth doing at these versions; `None`: nothing, not even cleaning.
    async fn decide(&self) -> Result<Option<Vec<Task>>, OptimizeError> {
        let mut shape = Shape {
            tables: Vec::new(),
            commits_since_cleaning: self.commits_since_cleaning,
        };
        for table in &self.tables {
            let wishes = self.wishes.iter().filter(|(name, _)| name == table.name());
            shape.tables.push(TableShape {
                table: table.name().to_owned(),
                fragments: table.fragments(),
                indexes: table.indexes().await?,
                wishes: wishes.map(|(_, wish)| wish.clone()).collect(),
            });
        }
        let config = &self.config;
        Ok(decide(
            config.interval,
            &config.compaction,
            &config.indices,
            self.vector_min_rows,
            &shape,
        ))
    }
}

impl PreparedTable {
    /// Whether there is nothing to name.
    pub fn is_empty(&self) -> bool {
        self.rewrites.is_empty() && self.indexes.is_empty() && self.drops.is_empty() && self.delete.is_empty()
    }
}

/// Looks at the tables, merges fragments, and finds tombstones that are not needed any more. `None`: no run is worth it.
///
/// # Errors
/// [`OptimizeError::Cancelled`] within moments of `cancel`; the files of finished jobs are removed then.
pub async fn rewrite(work: Rewriting, cancel: CancellationToken) -> Result<Option<Prepared>, OptimizeError> {
    let Some(tasks) = work.decide().await? else {
        return Ok(None);
    };
    let mut prepared = Prepared {
        why: tasks
            .iter()
            .map(|task| format!("{}: {}", task.table, task.why))
            .collect(),
        ..Prepared::default()
    };
    for table in &work.tables {
        let compact = tasks.iter().find_map(|task| match &task.task {
            TableTask::Compact { excluded } if task.table == table.name() => Some(excluded.clone()),
            _ => None,
        });
        let Some(excluded) = compact else { continue };
        let compaction = &work.config.compaction;
        let limits = CompactionLimits {
            target_rows: compaction.target_rows_per_fragment,
            deleted_share: compaction.materialize_deletions_percent as f32 / 100.0,
            excluded,
        };
        for job in stoppable(&cancel, table.plan_compaction(&limits)).await? {
            let rewritten = stoppable(&cancel, job.run()).await?;
            prepared
                .tables
                .entry(table.name().to_owned())
                .or_default()
                .rewrites
                .push(rewritten);
            fail::fail_point!("optimizer::after_rewrite", |_| Err(OptimizeError::Crashed(
                "optimizer::after_rewrite"
            )));
        }
    }
    if let (Some(before), Some(table)) = (
        work.tombstones_before,
        work.tables.iter().find(|table| table.name() == TOMBSTONES),
    ) {
        // UUIDv7 as text sorts as it does as a number.
        let old = format!("tx_id < '{before}'");
        let delete = table.row_ids_where("tx_id", &old, TOMBSTONES_AT_ONCE);
        let delete = stoppable(&cancel, delete).await?;
        if !delete.is_empty() {
            prepared.tables.entry(TOMBSTONES.to_owned()).or_default().delete = delete;
        }
    }
    Ok(Some(prepared))
}

/// Trains and updates indexes, after a fresh look: a compaction may have taken rows out of one.
///
/// # Errors
/// As [`rewrite`].
pub async fn index(work: Rewriting, cancel: CancellationToken) -> Result<Prepared, OptimizeError> {
    let mut prepared = Prepared::default();
    let tasks = work.decide().await?.unwrap_or_default();
    for table in &work.tables {
        let mut entry = PreparedTable::default();
        for task in tasks.iter().filter(|task| task.table == table.name()) {
            match &task.task {
                TableTask::Compact { .. } => continue,
                TableTask::Build(wish) => {
                    entry
                        .indexes
                        .push(stoppable(&cancel, table.build_index(wish)).await?);
                }
                TableTask::Update { index } => {
                    entry
                        .indexes
                        .extend(stoppable(&cancel, table.update_index(index)).await?);
                }
                TableTask::Drop { index } => entry.drops.push(index.clone()),
            }
            prepared.why.push(format!("{}: {}", task.table, task.why));
            fail::fail_point!("optimizer::after_index", |_| Err(OptimizeError::Crashed(
                "optimizer::after_index"
            )));
        }
        if !entry.is_empty() {
            prepared.tables.insert(table.name().to_owned(), entry);
        }
    }
    Ok(prepared)
}

async fn stoppable<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, crate::lake::LakeError>>,
) -> Result<T, OptimizeError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(OptimizeError::Cancelled),
        done = work => Ok(done?),
    }
}
