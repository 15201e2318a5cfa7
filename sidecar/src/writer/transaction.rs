//! A client's transaction: from its JSON form to one end state per key, checked as far as that goes without the graph.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::Refusal;
use super::operation_form;
use crate::commit_log::IdempotencyEntry;
use crate::rows::{JsonRow, RowKey, decode_json_keys, decode_json_rows, row_keys};
use crate::schema::{Schema, TableSchema};

/// Most characters of notes and of an idempotency key: both stand in commit records.
const MAX_TEXT: usize = 1024;

/// The body of `POST /v1/transactions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    pub operations: Vec<OperationRequest>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", from = "operation_form::OperationForm")]
pub enum OperationRequest {
    /// Creates or replaces whole rows; a property left out becomes null.
    Upsert { table: String, rows: Vec<JsonRow> },
    /// Deletes rows by key; a node's edges go with it. A key that is not there is no error.
    Delete {
        table: String,
        keys: Vec<serde_json::Value>,
    },
}

/// A checked transaction. What remains to be checked needs the graph: that edges' endpoints exist.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// Touched tables, in the order they were first named.
    pub tables: IndexMap<String, TableChanges>,
    pub idempotency: Option<IdempotencyEntry>,
    pub notes: Option<String>,
    pub traceparent: Option<String>,
    /// Rows and keys in all operations.
    pub rows: usize,
    /// Size of the request, for bounding a group.
    pub bytes: usize,
    /// What it takes of the memory for requests, where that is bounded; given back with the last clone.
    pub room: Option<Arc<OwnedSemaphorePermit>>,
}

/// What a transaction does to one table.
#[derive(Debug, Clone)]
pub struct TableChanges {
    pub table: Arc<TableSchema>,
    pub batches: Vec<RecordBatch>,
    /// Where the row of each upserted key is.
    pub upserts: IndexMap<RowKey, RowPlace>,
    /// Each deleted key with the operation and row that named it.
    pub deletes: IndexMap<RowKey, RowPlace>,
}

/// A row: which batch and row it is, and which operation and row of the request it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlace {
    pub batch: usize,
    pub row: usize,
    pub operation: usize,
}

impl Transaction {
    /// Decodes and checks a request: tables, types, nulls, keys, dimensions, no key twice with different values.
    pub fn parse(schema: &Schema, request: &TransactionRequest, bytes: usize) -> Result<Self, Refusal> {
        if request.operations.is_empty() {
            return Err(Refusal::whole(
                "operations: expected at least one operation, found none",
            ));
        }
        let mut transaction = Self {
            idempotency: request
                .idempotency_key
                .as_ref()
                .map(|key| entry(key, request))
                .transpose()?,
            notes: request
                .notes
                .as_deref()
                .map(|notes| short("notes", notes))
                .transpose()?,
            bytes,
            ..Self::default()
        };
        for (index, operation) in request.operations.iter().enumerate() {
            transaction.add(schema, index, operation)?;
        }
        if transaction.rows == 0 {
            return Err(Refusal::whole(
                "operations: expected at least one row or key, found none",
            ));
        }
        Ok(transaction)
    }

    fn add(&mut self, schema: &Schema, index: usize, operation: &OperationRequest) -> Result<(), Refusal> {
        let (OperationRequest::Upsert { table: name, .. } | OperationRequest::Delete { table: name, .. }) =
            operation;
        let table = schema
            .table(name)
            .ok_or_else(|| unknown_table(schema, Some(index), name))?;
        let changes = self
            .tables
            .entry(name.clone())
            .or_insert_with(|| TableChanges::new(table.clone()));
        let refused = |error| Refusal::of_row(Some(index), name, &error);
        match operation {
            OperationRequest::Upsert { rows, .. } => {
                self.rows += rows.len();
                changes.upsert(decode_json_rows(table, rows, 0).map_err(refused)?, index)
            }
            OperationRequest::Delete { keys, .. } => {
                self.rows += keys.len();
                changes.delete(decode_json_keys(table, keys).map_err(refused)?, index)
            }
        }
    }

    /// A transaction of one upsert with rows that are decoded already: a bulk request's chunk.
    pub fn upsert(table: Arc<TableSchema>, batch: RecordBatch, bytes: usize) -> Result<Self, Refusal> {
        let mut transaction = Self {
            rows: batch.num_rows(),
            bytes,
            ..Self::default()
        };
        let mut changes = TableChanges::new(table.clone());
        changes.upsert(batch, 0)?;
        transaction.tables.insert(table.name.clone(), changes);
        Ok(transaction)
    }
}

impl TableChanges {
    /// No change yet.
    pub fn new(table: Arc<TableSchema>) -> Self {
        Self {
            table,
            batches: Vec::new(),
            upserts: IndexMap::new(),
            deletes: IndexMap::new(),
        }
    }

    fn upsert(&mut self, batch: RecordBatch, operation: usize) -> Result<(), Refusal> {
        let keys = row_keys(&self.table, &batch);
        self.batches.push(batch);
        let at = self.batches.len() - 1;
        for (row, key) in keys.into_iter().enumerate() {
            let place = RowPlace {
                batch: at,
                row,
                operation,
            };
            if self.deletes.contains_key(&key) {
                return Err(self.twice(&key, place, "is both deleted and upserted"));
            }
            match self.upserts.get(&key) {
                // The same row again says nothing new.
                Some(first) if self.row(*first) == self.row(place) => {}
                Some(_) => return Err(self.twice(&key, place, "is upserted twice with different values")),
                None => {
                    self.upserts.insert(key, place);
                }
            }
        }
        Ok(())
    }

    fn delete(&mut self, keys: Vec<RowKey>, operation: usize) -> Result<(), Refusal> {
        for (row, key) in keys.into_iter().enumerate() {
            let place = RowPlace {
                batch: 0,
                row,
                operation,
            };
            if self.upserts.contains_key(&key) {
                return Err(self.twice(&key, place, "is both upserted and deleted"));
            }
            self.deletes.entry(key).or_insert(place);
        }
        Ok(())
    }

    /// One upserted row.
    pub fn row(&self, place: RowPlace) -> RecordBatch {
        self.batches[place.batch].slice(place.row, 1)
    }

    /// The upserted rows, each key once.
    pub fn upserted_rows(&self) -> Result<Option<RecordBatch>, arrow::error::ArrowError> {
        if self.upserts.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let places: Vec<(usize, usize)> = self
            .upserts
            .values()
            .map(|place| (place.batch, place.row))
            .collect();
        arrow::compute::interleave_record_batch(&batches, &places).map(Some)
    }

    fn twice(&self, key: &RowKey, place: RowPlace, what: &str) -> Refusal {
        Refusal::operation(
            place.operation,
            &self.table.name,
            format!("key {key} {what} in this transaction, expected each key once"),
        )
        .at_row(place.row as u64)
    }
}

/// The refusal of a table that the schema does not have.
pub fn unknown_table(schema: &Schema, operation: Option<usize>, name: &str) -> Refusal {
    let known: Vec<&str> = schema.tables().iter().map(|table| table.name.as_str()).collect();
    Refusal {
        operation,
        ..Refusal::whole(format!(
            "table: expected one of {}, found {name:?}",
            known.join(", ")
        ))
    }
}

fn short(field: &str, text: &str) -> Result<String, Refusal> {
    let length = text.chars().count();
    if length > MAX_TEXT {
        return Err(Refusal::whole(format!(
            "{field}: expected at most {MAX_TEXT} characters, found {length}"
        )));
    }
    Ok(text.to_owned())
}

fn entry(key: &str, request: &TransactionRequest) -> Result<IdempotencyEntry, Refusal> {
    let body = serde_json::to_vec(request).map_err(|error| Refusal::whole(error.to_string()))?;
    idempotency_entry(key, &body)
}

/// An idempotency key with the fingerprint of its request.
pub fn idempotency_entry(key: &str, request: &[u8]) -> Result<IdempotencyEntry, Refusal> {
    if key.is_empty() {
        return Err(Refusal::whole(
            "idempotency_key: expected at least one character, found none",
        ));
    }
    Ok(IdempotencyEntry {
        key: short("idempotency_key", key)?,
        request: hex::encode(Sha256::digest(request)),
    })
}

/// Node and edge keys that a transaction writes or refers to, for finding out whether two transactions touch each other.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    written: HashSet<(String, RowKey)>,
    referred: HashSet<(String, RowKey)>,
}

impl Footprint {
    /// What `transaction` touches.
    pub(super) fn of(transaction: &Transaction) -> Self {
        let mut footprint = Self::default();
        for (name, changes) in &transaction.tables {
            for key in changes.upserts.keys().chain(changes.deletes.keys()) {
                footprint.written.insert((name.clone(), key.clone()));
                if let (
                    RowKey::Edge { from, to, .. },
                    crate::schema::TableKind::Edge {
                        from: from_end,
                        to: to_end,
                        ..
                    },
                ) = (key, &changes.table.kind)
                {
                    footprint
                        .referred
                        .insert((from_end.table.clone(), RowKey::Node(from.clone())));
                    footprint
                        .referred
                        .insert((to_end.table.clone(), RowKey::Node(to.clone())));
                }
            }
        }
        footprint
    }

    /// Whether the order of the two would matter.
    pub(super) fn touches(&self, other: &Self) -> bool {
        let meets = |a: &HashSet<(String, RowKey)>, b: &HashSet<(String, RowKey)>| {
            let (small, large) = if a.len() < b.len() { (a, b) } else { (b, a) };
            small.iter().any(|key| large.contains(key))
        };
        meets(&self.written, &other.written)
            || meets(&self.written, &other.referred)
            || meets(&self.referred, &other.written)
    }

    /// Adds another transaction's footprint.
    pub(super) fn extend(&mut self, other: Self) {
        self.written.extend(other.written);
        self.referred.extend(other.referred);
    }
}
