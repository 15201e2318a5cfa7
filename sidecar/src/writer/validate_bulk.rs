//! Checks a bulk request against the graph and the commits that the graph does not hold yet.
//!
//! Those commits are bulk requests as well: they only added and replaced rows. So a node exists if it is in the graph or among
//! their keys, and a row is replaced if the graph has it, unless one of them may have written it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use indexmap::IndexMap;

use super::load_keys::LoadKeys;
use super::validate::{Plan, TablePlan, dangling};
use super::{BulkLoad, Refusal};
use crate::graph::{Graph, GraphError, Lookup};
use crate::ids::RowId;
use crate::rows::{KeyColumn, KeyColumns, KeyRef, KeySet, RowKey};
use crate::schema::{TableKind, TableSchema};

/// Endpoints remembered as existing while a request is checked.
const KNOWN_ENDPOINTS: usize = 500_000;

/// What is to become of a bulk request.
pub(super) enum BulkVerdict {
    Plan(Plan),
    Refused(Refusal),
    /// Only the graph of the newest commit can tell.
    NeedsGraph,
}

/// Checks a bulk request batch by batch; `ahead` are the commits after the graph's. Blocks.
pub(super) fn validate_bulk(
    graph: &Graph,
    ahead: &[Arc<LoadKeys>],
    load: &BulkLoad,
) -> Result<BulkVerdict, GraphError> {
    let table = &load.table;
    let mut same_table = ahead.iter().filter(|keys| keys.table == table.name);
    if same_table.any(|keys| keys.may_share_with(&load.keys)) {
        return Ok(BulkVerdict::NeedsGraph);
    }
    if let TableKind::Edge { from, to, .. } = &table.kind {
        let mut nodes: HashMap<&str, KnownNodes<'_>> = HashMap::new();
        let mut first_row = 0;
        for batch in batches(load)? {
            let batch = batch?;
            let keys = KeyColumns::of(table, &batch);
            for ((name, end), column) in [("from", from), ("to", to)].into_iter().zip(keys.parts()) {
                if !nodes.contains_key(end.table.as_str()) {
                    let known = KnownNodes::new(graph, ahead, &end.table)?;
                    nodes.insert(&end.table, known);
                }
                let Some(known) = nodes.get_mut(end.table.as_str()) else {
                    continue;
                };
                let Some(row) = known.first_missing(graph, *column, batch.num_rows())? else {
                    continue;
                };
                if known.unknown {
                    return Ok(BulkVerdict::NeedsGraph);
                }
                let key = column.get(row).to_key();
                let row = first_row + row as u64;
                return Ok(BulkVerdict::Refused(dangling(
                    table, name, &end.table, &key, None, row,
                )));
            }
            first_row += batch.num_rows() as u64;
        }
    }
    let plan = TablePlan {
        delete: replaced(graph, load)?,
        staged: Some(load.staged.clone()),
        upserted: load.rows(),
        ..TablePlan::default()
    };
    Ok(BulkVerdict::Plan(Plan {
        tables: IndexMap::from([(table.name.clone(), plan)]),
        tombstones: Vec::new(),
        idempotency: load.idempotency.iter().cloned().collect(),
        notes: load.notes.clone(),
        traceparent: load.traceparent.clone(),
    }))
}

fn batches(
    load: &BulkLoad,
) -> Result<impl Iterator<Item = Result<RecordBatch, GraphError>> + use<>, GraphError> {
    let failed = |error: arrow::error::ArrowError| GraphError::Rows(error.to_string());
    let reader = load.spool.read(Arc::default()).map_err(failed)?;
    Ok(reader.map(move |batch| batch.map_err(failed)))
}

/// Rows of the graph that the request replaces.
fn replaced(graph: &Graph, load: &BulkLoad) -> Result<Vec<RowId>, GraphError> {
    let table: &TableSchema = &load.table;
    let mut found = Vec::new();
    if graph.count_rows(&table.name)? == 0 {
        return Ok(found);
    }
    let mut first_row = 0;
    for batch in batches(load)? {
        let batch = batch?;
        let keys = KeyColumns::of(table, &batch);
        let kept = (0..batch.num_rows()).filter(|row| !load.repeated.contains(&(first_row + *row as u64)));
        let lookup = Lookup {
            keys: vec![(table.name.clone(), kept.map(|row| keys.row_key(row)).collect())],
            ..Lookup::default()
        };
        found.extend(graph.lookup(&lookup)?.keys.into_iter().flatten().flatten());
        first_row += batch.num_rows() as u64;
    }
    Ok(found)
}

/// The nodes of one table that are known to exist.
struct KnownNodes<'a> {
    table: &'a str,
    ahead: Vec<&'a KeySet>,
    /// A commit ahead wrote nodes of this table and does not know which.
    unknown: bool,
    in_graph: bool,
    /// Looked up in the graph before.
    found: KeySet,
}

impl<'a> KnownNodes<'a> {
    fn new(graph: &Graph, ahead: &'a [Arc<LoadKeys>], table: &'a str) -> Result<Self, GraphError> {
        let ahead = ahead.iter().filter(|keys| keys.table == table);
        let sets: Vec<Option<&KeySet>> = ahead.map(|keys| keys.nodes()).collect();
        Ok(Self {
            table,
            unknown: sets.iter().any(Option::is_none),
            ahead: sets.into_iter().flatten().collect(),
            in_graph: graph.count_rows(table)? > 0,
            found: KeySet::default(),
        })
    }

    fn contains(&self, key: KeyRef<'_>) -> bool {
        self.ahead.iter().any(|keys| keys.contains(key)) || self.found.contains(key)
    }

    /// The first row whose node is not known to exist.
    fn first_missing(
        &mut self,
        graph: &Graph,
        column: KeyColumn<'_>,
        rows: usize,
    ) -> Result<Option<usize>, GraphError> {
        if self.found.len() > KNOWN_ENDPOINTS {
            self.found = KeySet::default();
        }
        let mut wanted: Vec<(usize, KeyRef<'_>)> = Vec::new();
        let mut asked: HashSet<KeyRef<'_>> = HashSet::new();
        // Edges often come sorted by where they start.
        let mut last = None;
        for row in 0..rows {
            let key = column.get(row);
            if last != Some(key) && !self.contains(key) && asked.insert(key) {
                wanted.push((row, key));
            }
            last = Some(key);
        }
        if !self.in_graph {
            return Ok(wanted.first().map(|(row, _)| *row));
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let keys = wanted.iter().map(|(_, key)| RowKey::Node(key.to_key()));
        let lookup = Lookup {
            keys: vec![(self.table.to_owned(), keys.collect())],
            ..Lookup::default()
        };
        let answers = graph.lookup(&lookup)?;
        let mut missing = None;
        for ((row, key), found) in wanted.into_iter().zip(answers.keys.into_iter().flatten()) {
            if found.is_some() {
                self.found.insert(key);
            } else if missing.is_none() {
                missing = Some(row);
            }
        }
        Ok(missing)
    }
}
