//! The primary-key index: which row, by its stable Lance row id, a key stands for. The writer validates with it, the
//! apply tells replaced rows from new ones with it.

use std::collections::HashSet;
use std::path::Path;

use kuzu::Value;

use super::spill::{SpillWriter, key_batch};
use super::statement::Statements;
use super::{Graph, GraphError, value};
use crate::ids::RowId;
use crate::rows::{Key, RowKey};
use crate::schema::kuzu_types::{quote, string_literal};
use crate::schema::{Endpoint, ROW_ID, Schema, TableKind, TableSchema};

/// From this many keys on, one scan over a spilled key file beats prepared lookups.
const BULK_LOOKUP: usize = 2_000;

/// What the writer wants to know about the graph before a commit.
#[derive(Debug, Default)]
pub struct Lookup {
    /// Keys to find, by table.
    pub keys: Vec<(String, Vec<RowKey>)>,
    /// Nodes about to be deleted, by table: all their edges are wanted.
    pub edges_of: Vec<(String, Vec<Key>)>,
}

/// Answers, in the order of the questions.
#[derive(Debug, Default)]
pub struct LookupAnswer {
    pub keys: Vec<Vec<Option<RowId>>>,
    pub edges_of: Vec<Vec<FoundEdge>>,
}

/// An edge found at one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoundEdge {
    pub table: String,
    pub key: RowKey,
    pub row: RowId,
}

impl Graph {
    /// Answers a lookup from one consistent state of the graph. Blocks.
    pub fn lookup(&self, lookup: &Lookup) -> Result<LookupAnswer, GraphError> {
        let connection = self.connect()?;
        let mut statements = Statements::new(&connection);
        statements.execute("BEGIN TRANSACTION READ ONLY")?;
        let mut answer = LookupAnswer::default();
        for (name, keys) in &lookup.keys {
            let table = self.table(name)?;
            let keys: Vec<&RowKey> = keys.iter().collect();
            answer
                .keys
                .push(find_rows(&mut statements, table, &keys, self.directory())?);
        }
        for (name, nodes) in &lookup.edges_of {
            answer
                .edges_of
                .push(edges_of(&mut statements, self.schema(), name, nodes)?);
        }
        statements.execute("COMMIT")?;
        Ok(answer)
    }

    /// Rows of a table. Blocks.
    pub fn count_rows(&self, table: &str) -> Result<u64, GraphError> {
        let connection = self.connect()?;
        count_rows(&mut Statements::new(&connection), self.table(table)?)
    }

    pub(super) fn table(&self, name: &str) -> Result<&TableSchema, GraphError> {
        self.schema()
            .table(name)
            .map(AsRef::as_ref)
            .ok_or_else(|| GraphError::Diverged {
                table: name.to_owned(),
                detail: "the graph has no such table".to_owned(),
            })
    }
}

/// Rows of a table, on the caller's connection.
pub(super) fn count_rows(
    statements: &mut Statements<'_, '_>,
    table: &TableSchema,
) -> Result<u64, GraphError> {
    let name = quote(&table.name);
    let text = match table.kind {
        TableKind::Node { .. } => format!("MATCH (n:{name}) RETURN count(*)"),
        TableKind::Edge { .. } => format!("MATCH ()-[r:{name}]->() RETURN count(*)"),
    };
    statements.count(&text, Vec::new())
}

/// The row ids behind `keys`, in order; `None` where there is no such row.
pub(super) fn find_rows(
    statements: &mut Statements<'_, '_>,
    table: &TableSchema,
    keys: &[&RowKey],
    spill_directory: &Path,
) -> Result<Vec<Option<RowId>>, GraphError> {
    if keys.len() >= BULK_LOOKUP && count_rows(statements, table)? > 0 {
        return find_rows_in_bulk(statements, table, keys, spill_directory);
    }
    let text = format!(
        "MATCH {} RETURN x.{}",
        pattern(table, ["$p_from", "$p_to", "$p_key"]),
        quote(ROW_ID)
    );
    keys.iter()
        .map(|key| {
            let rows = statements.rows(&text, parameters(key))?;
            match rows.as_slice() {
                [] => Ok(None),
                [row] => row_id(row.first()).map(Some),
                more => Err(GraphError::Diverged {
                    table: table.name.clone(),
                    detail: format!("found {} rows for key {key}, expected at most one", more.len()),
                }),
            }
        })
        .collect()
}

fn find_rows_in_bulk(
    statements: &mut Statements<'_, '_>,
    table: &TableSchema,
    keys: &[&RowKey],
    spill_directory: &Path,
) -> Result<Vec<Option<RowId>>, GraphError> {
    let batch = key_batch(keys)?;
    let mut writer = SpillWriter::create(spill_directory, "keys", &batch)?;
    writer.write(&batch)?;
    let spill = writer.finish()?;
    let source = string_literal(&spill.path.to_string_lossy());
    let text = format!(
        "LOAD FROM {source} MATCH {} RETURN c_i, x.{}",
        pattern(table, ["c_from", "c_to", "c_key"]),
        quote(ROW_ID)
    );
    let mut found = vec![None; keys.len()];
    for row in statements.execute(&text)? {
        let [Value::Int64(index), id] = row.as_slice() else {
            continue;
        };
        if let Some(slot) = usize::try_from(*index)
            .ok()
            .and_then(|index| found.get_mut(index))
        {
            *slot = Some(row_id(Some(id))?);
        }
    }
    Ok(found)
}

/// The pattern that finds one row as `x` by its key; the three words stand for from, to and key, and are parameters or
/// columns of ours, never user text.
pub(super) fn pattern(table: &TableSchema, [from, to, key]: [&str; 3]) -> String {
    let name = quote(&table.name);
    match &table.kind {
        TableKind::Node { primary_key } => {
            format!(
                "(x:{name} {{{}: {key}}})",
                quote(&table.columns[*primary_key].name)
            )
        }
        TableKind::Edge {
            from: from_end,
            to: to_end,
            key: key_column,
        } => {
            let node = |end: &Endpoint, word: &str| {
                format!("{} {{{}: {word}}}", quote(&end.table), quote(&end.primary_key))
            };
            let edge_key = match key_column {
                Some(index) => format!(" {{{}: {key}}}", quote(&table.columns[*index].name)),
                None => String::new(),
            };
            format!(
                "(a:{})-[x:{name}{edge_key}]->(b:{})",
                node(from_end, from),
                node(to_end, to)
            )
        }
    }
}

/// The parameters of [`pattern`] for a key.
pub(super) fn parameters(key: &RowKey) -> Vec<(&'static str, Value)> {
    match key {
        RowKey::Node(key) => vec![("p_key", value::from_key(key))],
        RowKey::Edge { from, to, key } => {
            let mut parameters = vec![("p_from", value::from_key(from)), ("p_to", value::from_key(to))];
            parameters.extend(key.as_ref().map(|key| ("p_key", value::from_key(key))));
            parameters
        }
    }
}

pub(super) fn row_id(value: Option<&Value>) -> Result<RowId, GraphError> {
    match value {
        Some(Value::Int64(id)) => Ok(RowId(u64::try_from(*id).unwrap_or(u64::MAX))),
        other => Err(GraphError::Rows(format!("expected a row id, found {other:?}"))),
    }
}

/// All edges at the given nodes, each once, also where it starts and ends at nodes of the list.
fn edges_of(
    statements: &mut Statements<'_, '_>,
    schema: &Schema,
    node_table: &str,
    nodes: &[Key],
) -> Result<Vec<FoundEdge>, GraphError> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (table, starts, ends) in schema.edges_of(node_table) {
        let TableKind::Edge { from, to, key } = &table.kind else {
            continue;
        };
        let edge_key = match key {
            Some(index) => format!(", x.{}", quote(&table.columns[*index].name)),
            None => String::new(),
        };
        let text = |from_filter: &str, to_filter: &str| {
            let (from_key, to_key) = (quote(&from.primary_key), quote(&to.primary_key));
            format!(
                "MATCH (a:{}{from_filter})-[x:{}]->(b:{}{to_filter}) RETURN x.{}, a.{from_key}, b.{to_key}{edge_key}",
                quote(&from.table),
                quote(&table.name),
                quote(&to.table),
                quote(ROW_ID),
            )
        };
        let outgoing = text(&format!(" {{{}: $p_key}}", quote(&from.primary_key)), "");
        let incoming = text("", &format!(" {{{}: $p_key}}", quote(&to.primary_key)));
        for node in nodes {
            for statement in [starts.then_some(&outgoing), ends.then_some(&incoming)]
                .into_iter()
                .flatten()
            {
                for row in statements.rows(statement, vec![("p_key", value::from_key(node))])? {
                    let edge = found_edge(table, &row)?;
                    if seen.insert(edge.row) {
                        found.push(edge);
                    }
                }
            }
        }
        // Row ids are unique within a table only.
        seen.clear();
    }
    Ok(found)
}

fn found_edge(table: &TableSchema, row: &[Value]) -> Result<FoundEdge, GraphError> {
    let key = |index: usize| row.get(index).and_then(value::to_key);
    match (key(1), key(2)) {
        (Some(from), Some(to)) => Ok(FoundEdge {
            table: table.name.clone(),
            key: RowKey::Edge {
                from,
                to,
                key: key(3),
            },
            row: row_id(row.first())?,
        }),
        _ => Err(GraphError::Rows(format!(
            "expected an edge of {}, found {row:?}",
            table.name
        ))),
    }
}
