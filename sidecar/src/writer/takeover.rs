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
    #[error("a newer writer took over and trimmed the log: commit {0} of this one is not part of it")]
    Stray(Seq),
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

/// What a writer appends to the log with.
#[derive(Clone, Copy)]
pub(super) struct Claimed<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) log: &'a CommitLog,
    pub(super) ours: &'a WriterClaim,
}

impl Claimed<'_> {
    /// [`CommitLog::append`], and the proof that the record is part of the log.
    ///
    /// That the record could be created proves it only while its place was never taken. Below a log that a newer writer
    /// trimmed, put-if-absent succeeds again: a writer that was stalled right before its put would acknowledge a commit that
    /// nobody ever reads. The claim, read *after* the put, rules that out; a writer that lost it looks at what follows its
    /// record.
    ///
    /// # Errors
    /// [`TakeoverError::Stray`]: the record is there but no commit, and this writer must stop. As long as the others last, the
    /// outcome is unknown: the same call tells it later.
    pub(super) async fn append(self, record: &CommitRecord) -> Result<Append, TakeoverError> {
        let appended = self.log.append(record).await?;
        if appended == Append::Committed && !self.stands(record).await? {
            return Err(TakeoverError::Stray(record.seq));
        }
        Ok(appended)
    }

    async fn stands(self, record: &CommitRecord) -> Result<bool, TakeoverError> {
        if holds(self.store, self.ours).await? {
            return Ok(true);
        }
        let follows = |next: CommitRecord| next.prev_tx_id == record.tx_id;
        if let Some(next) = self.log.read(record.seq.next()).await? {
            return Ok(follows(next));
        }
        match self.log.check_dense_after(record.seq).await {
            // Nothing follows it, or something since.
            Ok(()) => Ok(self.log.read(record.seq.next()).await?.is_none_or(follows)),
            Err(LogError::Gap { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
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
pub(super) async fn barrier(claimed: Claimed<'_>, clock: &Clock) -> Result<CommitRecord, TakeoverError> {
    let epoch = claimed.ours.epoch;
    let mut head = claimed.log.head(Seq(0)).await?;
    loop {
        // A barrier on top of a newer writer's commits would fence that one and take the epochs back.
        if let Some(newer) = head
            .as_ref()
            .map(|head| head.epoch)
            .filter(|newer| *newer > epoch)
        {
            return Err(TakeoverError::Fenced { ours: epoch, newer });
        }
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
            manifests: head
                .as_ref()
                .map(|head| head.manifests.clone())
                .unwrap_or_default(),
            changed: Vec::new(),
            schema_version: head.as_ref().map_or(Seq(0), |head| head.schema_version),
            schema: None,
            notes: None,
            idempotency: Vec::new(),
            traceparent: None,
        };
        match claimed.append(&record).await? {
            Append::Committed => return Ok(record),
            Append::Taken(other) => head = Some(*other),
        }
    }
}

/// Restores tables with stray versions; gives the base of every table for this writer's first commit.
pub(super) async fn settle(
    lake: &Lake,
    head: &CommitRecord,
) -> Result<HashMap<String, TableAt>, TakeoverError> {
    let mut bases = HashMap::new();
    for (name, version) in head.tables.iter() {
        let base = lake.settle(name, version, &head.manifests).await?;
        bases.insert(name.to_owned(), base);
        fail::fail_point!("takeover::between_settles", |_| Err(TakeoverError::Crashed(
            "takeover::between_settles"
        )));
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
    claimed: Claimed<'_>,
    lake: &Lake,
    head: &CommitRecord,
    wanted: &GraphSchema,
    bases: &mut HashMap<String, TableAt>,
    clock: &Clock,
) -> Result<Option<CommitRecord>, TakeoverError> {
    let stored = schema_at(claimed.log, head).await?;
    let change = stored.check_change(wanted)?;
    let target = Schema::new(wanted)?;
    if change.is_empty() && head.schema_version != Seq(0) {
        return Ok(None);
    }
    let (mut tables, mut manifests) = (head.tables.clone(), head.manifests.clone());
    for name in change.new_nodes.iter().chain(&change.new_edges) {
        if let Some(table) = target.table(name) {
            let created = lake.create_table(name, table.arrow().clone()).await?;
            created.record_in(&mut tables, &mut manifests)?;
            bases.insert(name.clone(), created);
        }
    }
    if tables.get(TOMBSTONES).is_none() {
        let created = lake.create_table(TOMBSTONES, tombstones_schema()).await?;
        created.record_in(&mut tables, &mut manifests)?;
        bases.insert(TOMBSTONES.to_owned(), created);
    }
    fail::fail_point!("takeover::after_create_tables", |_| Err(TakeoverError::Crashed(
        "takeover::after_create_tables"
    )));
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
            widened.record_in(&mut tables, &mut manifests)?;
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
        manifests,
        changed: Vec::new(),
        schema_version: seq,
        schema: Some(wanted.clone()),
        notes: None,
        idempotency: Vec::new(),
        traceparent: None,
    };
    match claimed.append(&record).await? {
        Append::Committed => {
            fail::fail_point!("takeover::after_schema_commit", |_| Err(TakeoverError::Crashed(
                "takeover::after_schema_commit"
            )));
            Ok(Some(record))
        }
        Append::Taken(other) => Err(TakeoverError::Fenced {
            ours: head.epoch,
            newer: other.epoch,
        }),
    }
}

/// Whether `writer.json` still names this writer; a fenced writer restores and cleans nothing.
pub(crate) async fn holds(store: &dyn Store, ours: &WriterClaim) -> Result<bool, TakeoverError> {
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
