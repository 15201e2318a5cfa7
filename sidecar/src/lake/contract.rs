//! What we rely on in Lance, pinned on local disk: one version per write, stable row ids, deltas, restores, interference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, RecordBatchIterator};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use futures::TryStreamExt;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{CommitTag, IdDigest, LANCE_ROW_ID, Lake, LakeError, ManifestDigests, TableAt, TableWrite};
use crate::ids::{Epoch, LanceVersion, RowId, TxId};

/// `SEED` of the environment or a new one, printed so that a failure can be repeated.
pub(super) fn printed_seed() -> u64 {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("SEED={seed}");
    seed
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", DataType::Int64, true),
    ]))
}

pub(super) fn rows(rows: &[(i64, i64)]) -> TableWrite {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let values = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(values)]).unwrap();
    TableWrite {
        delete: Vec::new(),
        append: Some(Box::new(RecordBatchIterator::new([Ok(batch)], schema()))),
    }
}

pub(super) fn tag() -> CommitTag {
    CommitTag {
        tx_id: TxId::default(),
        epoch: Epoch(1),
    }
}

pub(super) async fn table(directory: &tempfile::TempDir) -> (Lake, TableAt) {
    let lake = Lake::open(&format!("file://{}", directory.path().display()));
    let table = lake.create_table("T", schema()).await.unwrap();
    (lake, table)
}

/// id -> (value, row id)
pub(super) async fn content(table: &TableAt) -> BTreeMap<i64, (i64, u64)> {
    read(table.scan(&["id", "v"]).await.unwrap()).await
}

async fn read(
    stream: futures::stream::BoxStream<'static, Result<RecordBatch, LakeError>>,
) -> BTreeMap<i64, (i64, u64)> {
    let mut found = BTreeMap::new();
    for batch in stream.try_collect::<Vec<RecordBatch>>().await.unwrap() {
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let (ids, values, row_ids) = (column("id"), column("v"), column(LANCE_ROW_ID));
        for row in 0..batch.num_rows() {
            let id = ids.as_primitive::<Int64Type>().value(row);
            let value = values.as_primitive::<Int64Type>().value(row);
            let old = found.insert(id, (value, row_ids.as_primitive::<UInt64Type>().value(row)));
            assert_eq!(old, None, "key {id} twice");
        }
    }
    found
}

#[tokio::test]
async fn a_write_is_one_version_that_takes_out_and_puts_in() {
    let directory = tempfile::tempdir().unwrap();
    let (_, table) = table(&directory).await;
    let first = table
        .write(rows(&[(1, 10), (2, 20), (3, 30)]), tag())
        .await
        .unwrap();
    assert_eq!(first.version().0, table.version().0 + 1);
    let before = content(&first).await;
    let mut change = rows(&[(2, 21), (4, 40)]);
    change.delete = vec![RowId(before[&2].1), RowId(before[&3].1)];
    let second = first.write(change, tag()).await.unwrap();
    assert_eq!(second.version().0, first.version().0 + 1);
    let after = content(&second).await;
    assert_eq!(
        after.iter().map(|(id, row)| (*id, row.0)).collect::<Vec<_>>(),
        [(1, 10), (2, 21), (4, 40)]
    );
    assert_eq!(after[&1].1, before[&1].1, "an untouched row keeps its id");
    assert_ne!(after[&2].1, before[&2].1, "a replaced row gets a new id");
    assert_eq!(content(&first).await, before, "the older version stays readable");
}

#[tokio::test]
async fn deleting_every_row_of_a_table_leaves_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let (_, table) = table(&directory).await;
    let full = table.write(rows(&[(1, 10), (2, 20)]), tag()).await.unwrap();
    let delete = content(&full).await.values().map(|row| RowId(row.1)).collect();
    let empty = full
        .write(TableWrite { delete, append: None }, tag())
        .await
        .unwrap();
    assert_eq!(empty.count_rows().await.unwrap(), 0);
    assert_eq!(empty.deleted_since(full.version()).await.unwrap().count, 2);
}

#[tokio::test]
async fn a_row_that_is_not_there_cannot_be_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let (_, table) = table(&directory).await;
    let full = table.write(rows(&[(1, 10)]), tag()).await.unwrap();
    let error = full
        .write(
            TableWrite {
                delete: vec![RowId(99)],
                append: None,
            },
            tag(),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, LakeError::Mismatch { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!(
            "table T at version {} holds no row with id 99, expected that row",
            full.version()
        )
    );
}

#[tokio::test]
async fn another_writers_version_in_between_is_interference_and_is_restored_over() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, table) = table(&directory).await;
    let committed = table.write(rows(&[(1, 10)]), tag()).await.unwrap();
    let stray = committed.write(rows(&[(66, 66)]), tag()).await.unwrap();
    let error = committed.write(rows(&[(2, 20)]), tag()).await.unwrap_err();
    assert!(matches!(error, LakeError::Interference { .. }), "{error}");
    let base = lake
        .settle("T", committed.version(), &ManifestDigests::default())
        .await
        .unwrap();
    assert!(base.version() > stray.version());
    let next = base.write(rows(&[(2, 20)]), tag()).await.unwrap();
    let held: Vec<i64> = content(&next).await.into_keys().collect();
    assert_eq!(held, [1, 2], "the stray row is gone");
    let delta = read(next.upserts_since(committed.version()).await.unwrap()).await;
    assert_eq!(
        delta.into_keys().collect::<Vec<_>>(),
        [2],
        "a delta over a restore holds no stray row"
    );
    assert_eq!(
        next.deleted_since(committed.version()).await.unwrap(),
        IdDigest::default()
    );
}

#[tokio::test]
async fn a_version_that_never_was_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, _) = table(&directory).await;
    let error = lake.at("T", LanceVersion(77)).await.unwrap_err();
    assert!(
        matches!(error, LakeError::VersionMissing { version: 77, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_table_that_was_left_behind_is_opened_only_while_it_is_empty_and_alike() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, _) = table(&directory).await;
    let table = lake.create_table("T", schema()).await.unwrap();
    let other = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
    assert!(matches!(
        lake.create_table("T", other).await,
        Err(LakeError::Mismatch { .. })
    ));
    table.write(rows(&[(1, 1)]), tag()).await.unwrap();
    assert!(matches!(
        lake.create_table("T", schema()).await,
        Err(LakeError::Mismatch { .. })
    ));
}

#[tokio::test]
async fn added_columns_are_null_and_rows_keep_their_ids() {
    let directory = tempfile::tempdir().unwrap();
    let (_, table) = table(&directory).await;
    let full = table.write(rows(&[(1, 10)]), tag()).await.unwrap();
    let widened = full
        .add_columns(vec![Field::new("w", DataType::Utf8, true)])
        .await
        .unwrap();
    assert_eq!(widened.version().0, full.version().0 + 1);
    let batch = widened
        .scan(&["w"])
        .await
        .unwrap()
        .try_next()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(batch.column(0).null_count(), 1);
    assert_eq!(content(&widened).await, content(&full).await);
}

#[tokio::test]
async fn every_delta_of_a_random_history_turns_the_earlier_state_into_the_later_one() {
    let seed = printed_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (lake, mut table) = table(&directory).await;
    let mut states = vec![(table.version(), content(&table).await)];
    for step in 0..40 {
        let held = content(&table).await;
        let mut written = BTreeSet::new();
        for _ in 0..random.random_range(0..12) {
            written.insert(random.random_range(0..60));
        }
        let mut change = rows(&written.iter().map(|id| (*id, step)).collect::<Vec<_>>());
        for (id, (_, row)) in &held {
            if written.contains(id) || random.random_bool(0.1) {
                change.delete.push(RowId(*row));
            }
        }
        table = table.write(change, tag()).await.unwrap();
        // Now and then a write is given up: no state of ours, restored over.
        if random.random_bool(0.2) {
            table.write(rows(&[(1000, 1000)]), tag()).await.unwrap();
            table = lake
                .settle("T", table.version(), &ManifestDigests::default())
                .await
                .unwrap();
        }
        states.push((table.version(), content(&table).await));
    }
    for _ in 0..60 {
        let begin = random.random_range(0..states.len());
        let end = random.random_range(begin..states.len());
        let (begin_version, before) = &states[begin];
        let (end_version, after) = &states[end];
        let view = lake.at("T", *end_version).await.unwrap();
        let upserts = read(view.upserts_since(*begin_version).await.unwrap()).await;
        let ids =
            |state: &BTreeMap<i64, (i64, u64)>| state.values().map(|row| row.1).collect::<BTreeSet<u64>>();
        let mut gone = IdDigest::default();
        ids(before).difference(&ids(after)).for_each(|id| gone.add(*id));
        assert_eq!(
            view.deleted_since(*begin_version).await.unwrap(),
            gone,
            "SEED={seed}, {begin}..{end}"
        );
        let mut reached: BTreeMap<_, _> = before.clone();
        reached.retain(|_, row| ids(after).contains(&row.1));
        reached.extend(upserts);
        assert_eq!(&reached, after, "SEED={seed}, {begin}..{end}");
    }
}
