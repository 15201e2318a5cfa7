//! Checks transactions against the graph and turns the good ones into one change per table.
//!
//! Kuzu is the primary-key index here: it tells which rows are replaced, whether edges' endpoints exist, and which edges a
//! deleted node takes along. Everything is looked up in one consistent read before anything is decided.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchIterator};
use indexmap::IndexMap;

use super::{Refusal, Transaction, WriteError};
use crate::commit_log::IdempotencyEntry;
use crate::graph::{Graph, GraphError, Lookup, LookupAnswer};
use crate::ids::RowId;
use crate::lake::{BatchReader, Staged};
use crate::rows::{Key, RowKey};
use crate::schema::{TableKind, TableSchema};

/// A commit that only needs to be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By table; nodes and edges alike.
    pub(super) tables: IndexMap<String, TablePlan>,
    /// What tombstones will say.
    pub(super) tombstones: Vec<(String, RowKey)>,
    pub(super) idempotency: Vec<IdempotencyEntry>,
    pub(super) notes: Option<String>,
    pub(super) traceparent: Option<String>,
}

/// What becomes of one table.
#[derive(Debug, Default)]
pub(super) struct TablePlan {
    /// Rows that go: deleted ones and old versions of replaced ones.
    pub(super) delete: Vec<RowId>,
    /// Rows to put in, from memory.
    pub(super) append: Vec<RecordBatch>,
    /// Rows to put in that are in Lance's data files already; instead of `append`.
    pub(super) staged: Option<Arc<Staged>>,
    pub(super) upserted: u64,
    pub(super) deleted: u64,
}

impl Plan {
    /// Rows that change, tombstones not counted.
    pub(super) fn rows(&self) -> u64 {
        self.tables
            .values()
            .map(|table| table.upserted + table.deleted)
            .sum()
    }
}

impl TablePlan {
    /// Whether the table gets a new version.
    pub(super) fn writes(&self) -> bool {
        !self.append.is_empty() || self.staged.is_some() || !self.delete.is_empty()
    }

    /// The rows to append as Lance takes them.
    pub(super) fn reader(&self) -> Option<BatchReader> {
        let schema = self.append.first()?.schema();
        let batches: Vec<_> = self.append.iter().cloned().map(Ok).collect();
        Some(Box::new(RecordBatchIterator::new(batches, schema)))
    }
}

/// What a group wants to know, and where each transaction's answers will stand.
struct Questions {
    lookup: Lookup,
    /// Per transaction and table: index of (upserts, deletes) among `lookup.keys`, of its cascade among `lookup.edges_of`.
    places: Vec<HashMap<String, Places>>,
    /// Per transaction: node tables of endpoints that must exist, with their index among `lookup.keys`.
    endpoints: Vec<BTreeMap<String, usize>>,
}

#[derive(Clone, Copy)]
struct Places {
    upserts: usize,
    deletes: usize,
    cascade: Option<usize>,
}

/// Checks transactions that do not touch each other. Gives one plan for the good ones, and for each transaction whether it is
/// in it. Blocks.
pub(super) fn validate(
    graph: &Graph,
    transactions: &[&Transaction],
) -> Result<(Plan, Vec<Result<(), Refusal>>), GraphError> {
    let questions = ask(transactions);
    let answers = graph.lookup(&questions.lookup)?;
    let mut plan = Plan::default();
    // Edges that are deleted by name and with their nodes, perhaps by two transactions, are deleted once.
    let mut deleted_edges: HashSet<(String, RowId)> = HashSet::new();
    let mut verdicts = Vec::with_capacity(transactions.len());
    for (index, transaction) in transactions.iter().enumerate() {
        let verdict = check_endpoints(transaction, &questions, &answers, index);
        if verdict.is_ok() {
            add(
                &mut plan,
                transaction,
                &questions.places[index],
                &answers,
                &mut deleted_edges,
            )?;
        }
        verdicts.push(verdict);
    }
    Ok((plan, verdicts))
}

fn ask(transactions: &[&Transaction]) -> Questions {
    let mut questions = Questions {
        lookup: Lookup::default(),
        places: Vec::new(),
        endpoints: Vec::new(),
    };
    for transaction in transactions {
        let mut places = HashMap::new();
        let mut wanted: BTreeMap<String, HashSet<Key>> = BTreeMap::new();
        for (name, changes) in &transaction.tables {
            let keys = &mut questions.lookup.keys;
            keys.push((name.clone(), changes.upserts.keys().cloned().collect()));
            keys.push((name.clone(), changes.deletes.keys().cloned().collect()));
            let (upserts, deletes) = (keys.len() - 2, keys.len() - 1);
            let mut cascade = None;
            match &changes.table.kind {
                TableKind::Node { .. } if !changes.deletes.is_empty() => {
                    let nodes = changes.deletes.keys().filter_map(node_key).collect();
                    questions.lookup.edges_of.push((name.clone(), nodes));
                    cascade = Some(questions.lookup.edges_of.len() - 1);
                }
                TableKind::Node { .. } => {}
                TableKind::Edge { from, to, .. } => {
                    for key in changes.upserts.keys() {
                        if let RowKey::Edge {
                            from: from_key,
                            to: to_key,
                            ..
                        } = key
                        {
                            wanted
                                .entry(from.table.clone())
                                .or_default()
                                .insert(from_key.clone());
                            wanted.entry(to.table.clone()).or_default().insert(to_key.clone());
                        }
                    }
                }
            }
            places.insert(
                name.clone(),
                Places {
                    upserts,
                    deletes,
                    cascade,
                },
            );
        }
        let mut endpoints = BTreeMap::new();
        for (table, keys) in wanted {
            endpoints.insert(table.clone(), questions.lookup.keys.len());
            questions
                .lookup
                .keys
                .push((table, keys.into_iter().map(RowKey::Node).collect()));
        }
        questions.places.push(places);
        questions.endpoints.push(endpoints);
    }
    questions
}

fn node_key(key: &RowKey) -> Option<Key> {
    match key {
        RowKey::Node(key) => Some(key.clone()),
        RowKey::Edge { .. } => None,
    }
}

/// Every endpoint of an upserted edge is in the graph or in this transaction, and is not deleted by it.
fn check_endpoints(
    transaction: &Transaction,
    questions: &Questions,
    answers: &LookupAnswer,
    index: usize,
) -> Result<(), Refusal> {
    let mut existing: HashMap<&str, HashSet<&Key>> = HashMap::new();
    for (table, place) in &questions.endpoints[index] {
        let found = existing.entry(table.as_str()).or_default();
        for (key, row) in questions.lookup.keys[*place].1.iter().zip(&answers.keys[*place]) {
            if let (RowKey::Node(key), Some(_)) = (key, row) {
                found.insert(key);
            }
        }
    }
    let is_there = |table: &str, key: &Key| {
        let node = RowKey::Node(key.clone());
        let changes = transaction.tables.get(table);
        let upserted = changes.is_some_and(|changes| changes.upserts.contains_key(&node));
        let deleted = changes.is_some_and(|changes| changes.deletes.contains_key(&node));
        upserted || (!deleted && existing.get(table).is_some_and(|keys| keys.contains(key)))
    };
    for changes in transaction.tables.values() {
        let TableKind::Edge { from, to, .. } = &changes.table.kind else {
            continue;
        };
        for (key, place) in &changes.upserts {
            let RowKey::Edge {
                from: from_key,
                to: to_key,
                ..
            } = key
            else {
                continue;
            };
            for (column, end, end_key) in [("from", from, from_key), ("to", to, to_key)] {
                if !is_there(&end.table, end_key) {
                    return Err(dangling(
                        &changes.table,
                        column,
                        &end.table,
                        end_key,
                        Some(place.operation),
                        place.row as u64,
                    ));
                }
            }
        }
    }
    Ok(())
}

pub(super) fn dangling(
    table: &TableSchema,
    column: &str,
    node_table: &str,
    key: &Key,
    operation: Option<usize>,
    row: u64,
) -> Refusal {
    Refusal {
        operation,
        table: Some(table.name.clone()),
        row: Some(row),
        column: Some(column.to_owned()),
        detail: format!("expected the key of a {node_table} that exists, found {key}"),
    }
}

/// Adds a checked transaction to the plan.
fn add(
    plan: &mut Plan,
    transaction: &Transaction,
    places: &HashMap<String, Places>,
    answers: &LookupAnswer,
    deleted_edges: &mut HashSet<(String, RowId)>,
) -> Result<(), GraphError> {
    for (name, changes) in &transaction.tables {
        let Some(place) = places.get(name) else { continue };
        let rows = changes
            .upserted_rows()
            .map_err(|error| GraphError::Rows(error.to_string()))?;
        let table = plan.tables.entry(name.clone()).or_default();
        table.delete.extend(answers.keys[place.upserts].iter().flatten());
        table.upserted += changes.upserts.len() as u64;
        table.append.extend(rows);
        for (key, row) in changes.deletes.keys().zip(&answers.keys[place.deletes]) {
            let Some(row) = row else { continue };
            if deleted_edges.insert((name.clone(), *row)) {
                delete(plan, name, key, *row);
            }
        }
        for edge in place
            .cascade
            .map_or(&[][..], |cascade| &answers.edges_of[cascade])
        {
            if deleted_edges.insert((edge.table.clone(), edge.row)) {
                delete(plan, &edge.table, &edge.key, edge.row);
            }
        }
    }
    plan.idempotency.extend(transaction.idempotency.clone());
    plan.notes = join_notes(plan.notes.take(), transaction.notes.as_deref());
    plan.traceparent = plan
        .traceparent
        .take()
        .or_else(|| transaction.traceparent.clone());
    Ok(())
}

fn delete(plan: &mut Plan, table: &str, key: &RowKey, row: RowId) {
    let entry = plan.tables.entry(table.to_owned()).or_default();
    entry.delete.push(row);
    entry.deleted += 1;
    plan.tombstones.push((table.to_owned(), key.clone()));
}

fn join_notes(first: Option<String>, second: Option<&str>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or_else(|| second.map(str::to_owned)),
    }
}

/// Why a check could not be made.
pub(super) fn unavailable(error: &GraphError) -> WriteError {
    WriteError::NotCommitted {
        detail: format!("the graph could not be asked: {error}"),
    }
}
