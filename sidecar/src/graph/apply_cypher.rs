//! The statements of an apply: one row by parameters, or many by `LOAD FROM` a spill.
//!
//! Owns: their text, and a batch's cells as their parameters. Does not own: which of them runs for a row (`apply`), how a row is
//! matched (`lookup`), the names of a spill's columns (`spill`).

use arrow::array::RecordBatch;
use kuzu::Value;

use super::lookup::{parameters, pattern};
use super::spill::{SPILL_ROW_ID, row_ids, spill_columns};
use super::{GraphError, value};
use crate::lake::LANCE_ROW_ID;
use crate::rows::RowKey;
use crate::schema::kuzu_types::quote;
use crate::schema::{Column, ColumnType, ROW_ID, TableKind, TableSchema};

/// Columns that a `SET` changes: all but those that identify the row.
fn set_columns(table: &TableSchema) -> impl Iterator<Item = (usize, &Column)> {
    let key_columns: Vec<&str> = table
        .key_columns()
        .iter()
        .map(|index| table.columns[*index].name.as_str())
        .collect();
    table
        .graph_columns()
        .enumerate()
        .filter(move |(_, column)| !key_columns.contains(&column.name.as_str()))
}

pub(super) fn set_statement(table: &TableSchema) -> String {
    let sets: Vec<String> = set_columns(table)
        .map(|(index, column)| format!("x.{} = $c{index}", quote(&column.name)))
        .chain([format!("x.{} = ${SPILL_ROW_ID}", quote(ROW_ID))])
        .collect();
    format!(
        "MATCH {} SET {} RETURN count(*)",
        pattern(table, ["$p_from", "$p_to", "$p_key"]),
        sets.join(", ")
    )
}

pub(super) fn create_statement(table: &TableSchema) -> String {
    let properties = properties(table, "$");
    let name = quote(&table.name);
    match &table.kind {
        TableKind::Node { .. } => format!("CREATE (x:{name} {{{properties}}}) RETURN count(*)"),
        TableKind::Edge { .. } => {
            format!(
                "{} CREATE (a)-[x:{name} {{{properties}}}]->(b) RETURN count(*)",
                endpoints(table, "$p_from", "$p_to")
            )
        }
    }
}

pub(super) fn load_and_set(table: &TableSchema) -> String {
    let sets: Vec<String> = set_columns(table)
        .map(|(index, column)| format!("x.{} = c{index}", quote(&column.name)))
        .chain([format!("x.{} = {SPILL_ROW_ID}", quote(ROW_ID))])
        .collect();
    // The key's own spill column: its index among the graph's columns.
    let key = table
        .key_columns()
        .last()
        .and_then(|index| {
            let name = &table.columns[*index].name;
            table.graph_columns().position(|column| &column.name == name)
        })
        .map_or_else(String::new, |index| format!("c{index}"));
    format!(
        "MATCH {} SET {}",
        pattern(table, ["c_from", "c_to", &key]),
        sets.join(", ")
    )
}

pub(super) fn load_and_create(table: &TableSchema) -> String {
    let properties = properties(table, "");
    let name = quote(&table.name);
    match &table.kind {
        TableKind::Node { .. } => format!("CREATE (x:{name} {{{properties}}})"),
        TableKind::Edge { .. } => {
            format!(
                "{} CREATE (a)-[x:{name} {{{properties}}}]->(b)",
                endpoints(table, "c_from", "c_to")
            )
        }
    }
}

/// One `MATCH` per endpoint: in this form the engine uses the primary-key index twice (docs/architecture.md).
fn endpoints(table: &TableSchema, from_word: &str, to_word: &str) -> String {
    let TableKind::Edge { from, to, .. } = &table.kind else {
        return String::new();
    };
    format!(
        "MATCH (a:{} {{{}: {from_word}}}) MATCH (b:{} {{{}: {to_word}}})",
        quote(&from.table),
        quote(&from.primary_key),
        quote(&to.table),
        quote(&to.primary_key),
    )
}

fn properties(table: &TableSchema, sigil: &str) -> String {
    let properties: Vec<String> = spill_columns(table)
        .into_iter()
        .filter(|(_, spill_name, _)| !matches!(spill_name.as_str(), "c_from" | "c_to"))
        .map(|(name, spill_name, _)| format!("{}: {sigil}{spill_name}", quote(name)))
        .chain([format!("{}: {sigil}{SPILL_ROW_ID}", quote(ROW_ID))])
        .collect();
    properties.join(", ")
}

/// Access to a batch's cells as parameters.
pub(super) struct Rows<'a> {
    columns: Vec<(String, ColumnType, &'a arrow::array::ArrayRef)>,
    ids: arrow::array::Int64Array,
}

impl<'a> Rows<'a> {
    pub(super) fn new(table: &'a TableSchema, batch: &'a RecordBatch) -> Result<Self, GraphError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| GraphError::Rows(format!("table {}: no column {name}", table.name)))
        };
        let columns = spill_columns(table)
            .into_iter()
            .filter(|(_, spill_name, _)| !matches!(spill_name.as_str(), "c_from" | "c_to"))
            .map(|(name, spill_name, column_type)| Ok((spill_name, column_type, column(name)?)))
            .collect::<Result<_, GraphError>>()?;
        Ok(Self {
            columns,
            ids: row_ids(column(LANCE_ROW_ID)?)?,
        })
    }

    /// Every parameter of the statements above for one row; the engine ignores those that a statement does not use.
    pub(super) fn parameters(&self, row: usize, key: &RowKey) -> Result<Vec<(&str, Value)>, GraphError> {
        let mut all: Vec<(&str, Value)> = parameters(key);
        for (name, column_type, array) in &self.columns {
            all.push((name, value::from_arrow(*column_type, array, row)?));
        }
        all.push((SPILL_ROW_ID, Value::Int64(self.ids.value(row))));
        Ok(all)
    }
}
