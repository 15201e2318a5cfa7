//! Brings a graph from one commit to a later one, in one engine transaction. The writer and every replica use this code.
//!
//! Flow: an async producer sends [`ApplyStep`]s; a blocking thread runs them in an open transaction:
//! edge deletes, node deletes, node upserts, edge upserts, per table a check against Lance, the watermark. Then the caller
//! decides: commit or roll back.
//!
//! Guarantees: nothing is visible before `commit` returned; whatever goes wrong before, the transaction is rolled back.
//! After an error the caller discards the graph (rules of the engine). Deletes first, then the end state: correct for any
//! coalesced range of commits, and safe to repeat.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use kuzu::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::apply_cypher::{Rows, create_statement, load_and_create, load_and_set, set_statement};
use super::lookup::{find_rows, parameters, pattern};
use super::spill::{SpillWriter, spill_batch};
use super::statement::Statements;
use super::{Graph, GraphError, Watermark, watermark};
use crate::ids::RowId;
use crate::lake::IdDigest;
use crate::rows::{RowKey, row_keys};
use crate::schema::TableSchema;
use crate::schema::kuzu_types::string_literal;

/// Steps buffered between the reader of Lance and the engine: bounds memory to a few batches.
const STEPS_AHEAD: usize = 2;
/// New rows per batch from which a Parquet spill and `LOAD FROM` beat prepared statements.
const BULK_ROWS: usize = 1_000;

/// One thing to do inside the transaction. Deletes of all tables come before upserts, edges' deletes before nodes',
/// nodes' upserts before edges'.
#[derive(Debug)]
pub enum ApplyStep {
    /// Rows that tombstones name. Those that the graph does not hold were created and deleted within the range.
    Delete { table: String, keys: Vec<RowKey> },
    /// The end state of rows, with [`LANCE_ROW_ID`](crate::lake::LANCE_ROW_ID).
    Upsert {
        table: String,
        rows: RecordBatch,
        /// `false`: Lance says that no row of the table is gone, so none of these replaces one.
        replaces: bool,
    },
    /// The rows of a table that are gone according to Lance: must be exactly those that the steps before deleted or replaced.
    Check { table: String, gone: IdDigest },
    /// The commit that the graph holds then.
    Watermark {
        from: Box<Watermark>,
        to: Box<Watermark>,
    },
}

/// An open apply. Dropping it rolls back.
pub struct ApplySession {
    steps: mpsc::Sender<ApplyStep>,
    prepared: oneshot::Receiver<()>,
    decision: oneshot::Sender<bool>,
    worker: JoinHandle<Result<(), GraphError>>,
}

/// A transaction that holds every change and waits for the decision. Dropping it rolls back.
pub struct PreparedApply {
    decision: oneshot::Sender<bool>,
    worker: JoinHandle<Result<(), GraphError>>,
}

impl Graph {
    /// Opens a write transaction on a blocking thread.
    pub fn begin_apply(self: &Arc<Self>) -> ApplySession {
        let (steps, receiver) = mpsc::channel(STEPS_AHEAD);
        let (prepared_sender, prepared) = oneshot::channel();
        let (decision, decided) = oneshot::channel();
        let graph = self.clone();
        let worker = tokio::task::spawn_blocking(move || graph.run_apply(receiver, prepared_sender, decided));
        ApplySession {
            steps,
            prepared,
            decision,
            worker,
        }
    }

    fn run_apply(
        &self,
        mut steps: mpsc::Receiver<ApplyStep>,
        prepared: oneshot::Sender<()>,
        decided: oneshot::Receiver<bool>,
    ) -> Result<(), GraphError> {
        let connection = self.connect()?;
        let mut apply = Apply {
            graph: self,
            statements: Statements::new(&connection),
            replaced: HashMap::new(),
        };
        apply.statements.execute("BEGIN TRANSACTION")?;
        let mut complete = false;
        while let Some(step) = steps.blocking_recv() {
            complete = matches!(step, ApplyStep::Watermark { .. });
            if let Err(error) = apply.step(step) {
                // The engine has ended the transaction already, or does so here; its answer changes nothing.
                let _ = connection.query("ROLLBACK");
                return Err(error);
            }
        }
        let commit = complete && prepared.send(()).is_ok() && decided.blocking_recv().unwrap_or(false);
        let text = if commit { "COMMIT" } else { "ROLLBACK" };
        apply.statements.execute(text)?;
        if commit {
            Ok(())
        } else {
            Err(GraphError::Abandoned)
        }
    }
}

impl ApplySession {
    /// Hands a step over; waits while the engine is busy with earlier ones.
    ///
    /// # Errors
    /// Only that the worker stopped; [`ApplySession::prepare`] tells why.
    pub async fn send(&self, step: ApplyStep) -> Result<(), GraphError> {
        self.steps.send(step).await.map_err(|_| GraphError::Abandoned)
    }

    /// Ends the steps and waits until all are done and checked in the open transaction.
    pub async fn prepare(self) -> Result<PreparedApply, GraphError> {
        drop(self.steps);
        match self.prepared.await {
            Ok(()) => Ok(PreparedApply {
                decision: self.decision,
                worker: self.worker,
            }),
            Err(_) => Err(joined(self.worker.await).err().unwrap_or(GraphError::Abandoned)),
        }
    }
}

impl PreparedApply {
    /// Makes the new commit visible to readers, durably.
    pub async fn commit(self) -> Result<(), GraphError> {
        // A worker that is gone tells why by its result.
        let _ = self.decision.send(true);
        joined(self.worker.await)
    }

    /// Undoes everything; returns when the engine has.
    pub async fn roll_back(self) -> Result<(), GraphError> {
        let _ = self.decision.send(false);
        match joined(self.worker.await) {
            Err(GraphError::Abandoned) => Ok(()),
            other => other,
        }
    }
}

/// A panic inside the engine's glue counts as an engine error.
pub(super) fn joined<T>(
    result: Result<Result<T, GraphError>, tokio::task::JoinError>,
) -> Result<T, GraphError> {
    match result {
        Ok(result) => result,
        Err(error) => Err(GraphError::Engine {
            doing: "run".to_owned(),
            detail: error.to_string(),
        }),
    }
}

struct Apply<'c, 'db> {
    graph: &'db Graph,
    statements: Statements<'c, 'db>,
    /// Per table, the rows that were deleted or replaced so far.
    replaced: HashMap<String, IdDigest>,
}

impl Apply<'_, '_> {
    fn step(&mut self, step: ApplyStep) -> Result<(), GraphError> {
        let graph = self.graph;
        match step {
            ApplyStep::Delete { table, keys } => self.delete(graph.table(&table)?, &keys),
            ApplyStep::Upsert {
                table,
                rows,
                replaces,
            } => self.upsert(graph.table(&table)?, &rows, replaces),
            ApplyStep::Check { table, gone } => self.check(&table, gone),
            ApplyStep::Watermark { from, to } => watermark::advance(&mut self.statements, &from, &to),
        }
    }

    fn delete(&mut self, table: &TableSchema, keys: &[RowKey]) -> Result<(), GraphError> {
        let references: Vec<&RowKey> = keys.iter().collect();
        let found = find_rows(&mut self.statements, table, &references, self.graph.directory())?;
        // A plain DELETE of a node refuses while an edge remains: the engine checks for us that every edge was named.
        let text = format!(
            "MATCH {} DELETE x RETURN count(*)",
            pattern(table, ["$p_from", "$p_to", "$p_key"])
        );
        // The same key may be named by several tombstones of a range.
        let mut deleted = std::collections::HashSet::new();
        for (key, row) in keys.iter().zip(found) {
            let Some(row) = row else { continue };
            if !deleted.insert(key) {
                continue;
            }
            self.replaced(table, row);
            let count = self.statements.count(&text, parameters(key))?;
            expect(table, "deleted", key, count)?;
        }
        Ok(())
    }

    fn upsert(&mut self, table: &TableSchema, rows: &RecordBatch, replaces: bool) -> Result<(), GraphError> {
        if !replaces && rows.num_rows() >= BULK_ROWS {
            let all: Vec<usize> = (0..rows.num_rows()).collect();
            return self.upsert_in_bulk(table, rows, &[], &all);
        }
        let keys = row_keys(table, rows);
        let references: Vec<&RowKey> = keys.iter().collect();
        let found = find_rows(&mut self.statements, table, &references, self.graph.directory())?;
        for row in found.iter().flatten() {
            self.replaced(table, *row);
        }
        let (old, new): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(|index| found[*index].is_some());
        if old.len() + new.len() >= BULK_ROWS {
            return self.upsert_in_bulk(table, rows, &old, &new);
        }
        let rows = Rows::new(table, rows)?;
        let set = set_statement(table);
        for index in old {
            let count = self
                .statements
                .count(&set, rows.parameters(index, &keys[index])?)?;
            expect(table, "replaced", &keys[index], count)?;
        }
        let create = create_statement(table);
        for index in new {
            let count = self
                .statements
                .count(&create, rows.parameters(index, &keys[index])?)?;
            expect(table, "created", &keys[index], count)?;
        }
        Ok(())
    }

    fn upsert_in_bulk(
        &mut self,
        table: &TableSchema,
        rows: &RecordBatch,
        old: &[usize],
        new: &[usize],
    ) -> Result<(), GraphError> {
        for (indices, statement, what) in [
            (old, load_and_set(table), "replaced"),
            (new, load_and_create(table), "created"),
        ] {
            if indices.is_empty() {
                continue;
            }
            let picked =
                arrow::array::UInt64Array::from_iter_values(indices.iter().map(|index| *index as u64));
            let picked = arrow::compute::take_record_batch(rows, &picked)
                .map_err(|error| GraphError::Rows(error.to_string()))?;
            let batch = spill_batch(table, &picked)?;
            let mut writer = SpillWriter::create(self.graph.directory(), "apply", &batch)?;
            writer.write(&batch)?;
            let spill = writer.finish()?;
            let source = string_literal(&spill.path.to_string_lossy());
            let changed = self
                .statements
                .execute(&format!("LOAD FROM {source} {statement} RETURN count(*)"))?;
            let changed = match changed.first().map(Vec::as_slice) {
                Some([Value::Int64(count)]) => u64::try_from(*count).unwrap_or_default(),
                _ => 0,
            };
            if changed != spill.rows {
                return Err(GraphError::Diverged {
                    table: table.name.clone(),
                    detail: format!("{what} {changed} rows, expected {}", spill.rows),
                });
            }
        }
        Ok(())
    }

    fn replaced(&mut self, table: &TableSchema, row: RowId) {
        self.replaced.entry(table.name.clone()).or_default().add(row.0);
    }

    fn check(&mut self, table: &str, gone: IdDigest) -> Result<(), GraphError> {
        let replaced = self.replaced.get(table).copied().unwrap_or_default();
        if replaced == gone {
            return Ok(());
        }
        Err(GraphError::Diverged {
            table: table.to_owned(),
            detail: format!(
                "{} rows were deleted or replaced, Lance says {} other rows are gone",
                replaced.count, gone.count
            ),
        })
    }
}

fn expect(table: &TableSchema, what: &str, key: &RowKey, count: u64) -> Result<(), GraphError> {
    if count == 1 {
        return Ok(());
    }
    Err(GraphError::Diverged {
        table: table.name.clone(),
        detail: format!("{what} {count} rows for key {key}, expected one"),
    })
}
