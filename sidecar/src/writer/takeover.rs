//! Becoming the writer: epoch, barrier, settled tables, schema, local graph. In this order, so that a stalled older writer
//! cannot commit any more before anything is restored.
//!
//! Crash behaviour: after every step a new takeover starts over with the next epoch and reaches the same state.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use crds::GraphSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::commit_log::{Append, CommitKind, CommitLog, CommitRecord, LogError, VersionMap};
use crate::ids::{Epoch, Seq, TxId};
use crate::lake::{Lake, LakeError, TableAt, tombstones_schema};
use crate::schema::{Schema, TOMBSTONES};
use crate::store::{Key, Put, Store, StoreError};

/// The content of `writer.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriterClaim {
    pub epoch: Epoch,
    pub holder: String,
    pub heartbeat: DateTime<Utc>,
}

/// Why a process could not become the writer.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error("writer.json is damaged: {0}")]
    Claim(serde_json::Error),
    #[error("another writer took over with epoch {newer}, this one had {ours}")]
    Fenced { ours: Epoch, newer: Epoch },
    /// The resource's schema cannot follow from the one in the store.
    #[error("the schema cannot be changed like this: {0}")]
    Schema(#[from] crds::SchemaErrors),
    #[error("commit {0} holds no schema, although later commits name it")]
    SchemaMissing(Seq),
    /// The local graph or the local disk; what happened there.
    #[error("{0}")]
    Local(String),
    #[error("stopped at crash point {0}")]
    Crashed(&'static str),
}

pub(super) fn claim_key() -> Result<Key, StoreError> {
    Key::new("writer.json")
}

/// Takes the next epoch by compare-and-swap on `writer.json`.
pub(super) async fn claim(
    store: &dyn Store,
    log: &CommitLog,
    holder: &str,
    clock: &Clock,
) -> Result<WriterClaim, TakeoverError> {
    let key = claim_key()?;
    // A store whose writer.json was lost must still not reuse an epoch that is in the log.
    let logged = log.head(Seq(0)).await?.map_or(Epoch(0), |head| head.epoch);
    loop {
        let current = store.get(&key).await?;
        let held = match &current {
            Some(object) => {
                serde_json::from_slice::<WriterClaim>(&object.bytes)
                    .map_err(TakeoverError::Claim)?
                    .epoch
            }
            None => Epoch(0),
        };
        let claim = WriterClaim {
            epoch: held.max(logged).next(),
            holder: holder.to_owned(),
            heartbeat: clock.now(),
        };
        let bytes = Bytes::from(serde_json::to_vec(&claim).map_err(TakeoverError::Claim)?);
        let put = match &current {
            Some(object) => store.put_if_match(&key, &object.etag, bytes).await?,
            None => store.put_if_absent(&key, bytes).await?,
        };
        // Refused: somebody else claimed in between; the next try goes above that.
        if let Put::Stored(_) = put {
            return Ok(claim);
        }
    }
}

/// Writes the barrier: the first commit of this epoch, which repeats the head's version map. Commits that an older writer
/// got in before it stand. From here on an older writer cannot commit.
pub(super) async fn barrier(
    log: &CommitLog,
    epoch: Epoch,
    clock: &Clock,
) -> Result<CommitRecord, TakeoverError> {
    let mut head = log.head(Seq(0)).await?;
    loop {
        let (seq, prev_tx_id) = head
            .as_ref()
            .map_or((Seq(1), TxId::default()), |head| (head.seq.next(), head.tx_id));
        let record = CommitRecord {
            seq,
            tx_id: TxId::after(prev_tx_id, clock.unix_millis()),
            prev_tx_id,
            epoch,
            timestamp: clock.now(),
            kind: CommitKind::Barrier,
            tables: head
                .as_ref()
                .map_or_else(VersionMap::default, |head| head.tables.clone()),
            changed: Vec::new(),
            schema_version: head.as_ref().map_or(Seq(0), |head| head.schema_version),
            schema: None,
            notes: None,
            idempotency: Vec::new(),
            traceparent: None,
        };
        match log.append(&record).await? {
            Append::Committed => return Ok(record),
            Append::Taken(other) if other.epoch > epoch => {
                return Err(TakeoverError::Fenced {
                    ours: epoch,
                    newer: other.epoch,
                });
            }
            Append::Taken(other) => head = Some(*other),
        }
    }
}

/// Restores tables with stray versions; gives the base of every table for this writer's first commit.
pub(super) async fn settle(
    lake: &Lake,
    tables: &VersionMap,
) -> Result<HashMap<String, TableAt>, TakeoverError> {
    let mut bases = HashMap::new();
    for (name, version) in tables.iter() {
        bases.insert(name.to_owned(), lake.settle(name, version).await?);
    }
    Ok(bases)
}

/// The schema of `head`; the empty one before the first schema commit.
pub(super) async fn schema_at(log: &CommitLog, head: &CommitRecord) -> Result<GraphSchema, TakeoverError> {
    if head.schema_version == Seq(0) {
        return Ok(GraphSchema {
            nodes: Vec::new(),
            edges: Vec::new(),
        });
    }
    let record = log.read(head.schema_version).await?;
    record
        .and_then(|record| record.schema)
        .ok_or(TakeoverError::SchemaMissing(head.schema_version))
}

/// Brings the tables to the wanted schema and commits that; does nothing when they are there already.
pub(super) async fn migrate(
    lake: &Lake,
    log: &CommitLog,
    head: &CommitRecord,
    wanted: &GraphSchema,
    bases: &mut HashMap<String, TableAt>,
    clock: &Clock,
) -> Result<Option<CommitRecord>, TakeoverError> {
    let stored = schema_at(log, head).await?;
    let change = stored.check_change(wanted)?;
    let target = Schema::new(wanted)?;
    if change.is_empty() && head.schema_version != Seq(0) {
        return Ok(None);
    }
    let mut tables = head.tables.clone();
    for name in change.new_nodes.iter().chain(&change.new_edges) {
        if let Some(table) = target.table(name) {
            let created = lake.create_table(name, table.arrow().clone()).await?;
            tables.set(name, created.version());
            bases.insert(name.clone(), created);
        }
    }
    if tables.get(TOMBSTONES).is_none() {
        let created = lake.create_table(TOMBSTONES, tombstones_schema()).await?;
        tables.set(TOMBSTONES, created.version());
        bases.insert(TOMBSTONES.to_owned(), created);
    }
    let mut added: HashMap<&str, Vec<arrow::datatypes::Field>> = HashMap::new();
    for (table, property) in &change.new_properties {
        let column = target
            .table(table)
            .and_then(|schema| schema.column(&property.name));
        added
            .entry(table)
            .or_default()
            .extend(column.map(crate::schema::Column::arrow_field));
    }
    for (name, fields) in added {
        if let Some(base) = bases.get(name) {
            let widened = base.add_columns(fields).await?;
            tables.set(name, widened.version());
            bases.insert(name.to_owned(), widened);
        }
    }
    fail::fail_point!("takeover::before_schema_commit", |_| Err(TakeoverError::Crashed(
        "takeover::before_schema_commit"
    )));
    let seq = head.seq.next();
    let record = CommitRecord {
        seq,
        tx_id: TxId::after(head.tx_id, clock.unix_millis()),
        prev_tx_id: head.tx_id,
        epoch: head.epoch,
        timestamp: clock.now(),
        kind: CommitKind::Schema,
        tables,
        changed: Vec::new(),
        schema_version: seq,
        schema: Some(wanted.clone()),
        notes: None,
        idempotency: Vec::new(),
        traceparent: None,
    };
    match log.append(&record).await? {
        Append::Committed => Ok(Some(record)),
        Append::Taken(other) => Err(TakeoverError::Fenced {
            ours: head.epoch,
            newer: other.epoch,
        }),
    }
}

/// Whether `writer.json` still names this writer; a fenced writer restores and cleans nothing.
pub(super) async fn holds(store: &dyn Store, ours: &WriterClaim) -> Result<bool, TakeoverError> {
    let Some(object) = store.get(&claim_key()?).await? else {
        return Ok(false);
    };
    let current: WriterClaim = serde_json::from_slice(&object.bytes).map_err(TakeoverError::Claim)?;
    Ok(current.epoch == ours.epoch && current.holder == ours.holder)
}

/// Renews the heartbeat by compare-and-swap; `false`: a newer writer is there.
pub(super) async fn beat(
    store: &dyn Store,
    ours: &mut WriterClaim,
    clock: &Clock,
) -> Result<bool, TakeoverError> {
    let key = claim_key()?;
    let Some(object) = store.get(&key).await? else {
        return Ok(false);
    };
    let current: WriterClaim = serde_json::from_slice(&object.bytes).map_err(TakeoverError::Claim)?;
    if current.epoch != ours.epoch || current.holder != ours.holder {
        return Ok(false);
    }
    ours.heartbeat = clock.now();
    let bytes = Bytes::from(serde_json::to_vec(ours).map_err(TakeoverError::Claim)?);
    Ok(matches!(
        store.put_if_match(&key, &object.etag, bytes).await?,
        Put::Stored(_)
    ))
}

/// Schema as the rest of the sidecar works with it.
pub(super) fn checked(schema: &GraphSchema) -> Result<Arc<Schema>, TakeoverError> {
    Ok(Arc::new(Schema::new(schema)?))
}
