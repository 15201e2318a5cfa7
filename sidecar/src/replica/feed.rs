//! Reads what changed between two commits from Lance and feeds it to an open apply. The writer uses it for its own commits.
//!
//! Order: tombstones of edge tables, tombstones of node tables, upserts of node tables, upserts of edge tables, a check per
//! table, the watermark. Streams throughout: memory depends on batch sizes only.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use futures::TryStreamExt;

use crate::graph::{ApplySession, ApplyStep, GraphError, Watermark};
use crate::lake::Lake;
use crate::rows::RowKey;
use crate::schema::{Schema, TOMBSTONES};

/// Feeds the changes of `(from, to]`, two commits of one schema.
///
/// # Errors
/// A [`GraphError::Lake`] of kind `VersionMissing` means that a base version was cleaned: rebuild.
pub async fn feed(
    session: &ApplySession,
    lake: &Lake,
    schema: &Schema,
    from: &Watermark,
    to: &Watermark,
) -> Result<(), GraphError> {
    let mut changed = BTreeMap::new();
    for (name, end) in to.tables.iter() {
        let begin = from.tables.get(name);
        if begin != Some(end) {
            let begin = begin.ok_or_else(|| GraphError::Diverged {
                table: name.to_owned(),
                detail: "the graph's commit does not have this table".to_owned(),
            })?;
            let table = lake.at(name, end).await?;
            table.verify_manifest(&to.manifests)?;
            changed.insert(name.to_owned(), (begin, table));
        }
    }
    if let Some((begin, tombstones)) = changed.get(TOMBSTONES) {
        for nodes in [false, true] {
            let mut batches = tombstones.upserts_since(*begin).await?;
            while let Some(batch) = batches.try_next().await? {
                for (table, keys) in deleted_keys(&batch)? {
                    if schema
                        .table(&table)
                        .is_some_and(|schema| schema.is_node() == nodes)
                    {
                        session.send(ApplyStep::Delete { table, keys }).await?;
                    }
                }
            }
        }
    }
    let mut checks = Vec::new();
    for (begin, table) in schema
        .tables()
        .iter()
        .filter_map(|table| changed.get(&table.name))
    {
        let gone = table.deleted_since(*begin).await?;
        let mut batches = table.upserts_since(*begin).await?;
        while let Some(rows) = batches.try_next().await? {
            if rows.num_rows() > 0 {
                let (table, replaces) = (table.name().to_owned(), gone.count > 0);
                session
                    .send(ApplyStep::Upsert {
                        table,
                        rows,
                        replaces,
                    })
                    .await?;
            }
        }
        checks.push(ApplyStep::Check {
            table: table.name().to_owned(),
            gone,
        });
    }
    for check in checks {
        session.send(check).await?;
    }
    session
        .send(ApplyStep::Watermark {
            from: Box::new(from.clone()),
            to: Box::new(to.clone()),
        })
        .await
}

/// The keys that a batch of tombstones names, by table.
fn deleted_keys(batch: &RecordBatch) -> Result<BTreeMap<String, Vec<RowKey>>, GraphError> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .and_then(|column| column.as_string_opt::<i32>())
            .ok_or_else(|| GraphError::Rows(format!("tombstones have no text column {name}")))
    };
    let (tables, keys) = (column("table")?, column("pk")?);
    let mut by_table: BTreeMap<String, Vec<RowKey>> = BTreeMap::new();
    for (table, key) in tables.iter().flatten().zip(keys.iter().flatten()) {
        let parsed = serde_json::from_str(key)
            .ok()
            .as_ref()
            .and_then(RowKey::from_json);
        let parsed =
            parsed.ok_or_else(|| GraphError::Rows(format!("a tombstone of {table} has the key {key:?}")))?;
        by_table.entry(table.to_owned()).or_default().push(parsed);
    }
    Ok(by_table)
}
