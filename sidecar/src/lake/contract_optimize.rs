//! What the optimizer relies on in Lance: a compaction changes no row and no id, a delta across it is empty, a result that
//! does not fit is noticed, indexes find what a scan finds, and a cleaning removes exactly what it was told to.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use crds::IndexKind;
use futures::TryStreamExt;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::contract::{content, printed_seed, rows, table, tag};
use super::{CompactionLimits, IdDigest, IndexWish, LakeError, Rewrite, TableAt};
use crate::ids::{LanceVersion, RowId};

fn limits() -> CompactionLimits {
    CompactionLimits {
        target_rows: 1 << 20,
        deleted_share: 0.1,
        excluded: Vec::new(),
    }
}

pub(super) async fn rewritten(table: &TableAt) -> Vec<Rewrite> {
    let mut rewrites = Vec::new();
    for job in table.plan_compaction(&limits()).await.unwrap() {
        rewrites.push(job.run().await.unwrap());
    }
    rewrites
}

/// A table of `count` fragments of ten rows.
async fn fragmented(table: &TableAt, count: i64) -> TableAt {
    let mut newest = table.clone();
    for fragment in 0..count {
        let batch: Vec<(i64, i64)> = (0..10).map(|row| (fragment * 10 + row, row)).collect();
        newest = newest.write(rows(&batch), tag()).await.unwrap();
    }
    newest
}

async fn assert_same_rows(before: &TableAt, after: &TableAt) {
    assert_eq!(content(before).await, content(after).await);
    assert_eq!(
        after.deleted_since(before.version()).await.unwrap(),
        IdDigest::default()
    );
    let upserts = after.upserts_since(before.version()).await.unwrap();
    let upserts = upserts.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(upserts.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_compaction_changes_no_row_and_no_id_and_its_delta_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let (_, empty) = table(&directory).await;
    let before = fragmented(&empty, 8).await;
    let rewrites = rewritten(&before).await;
    assert!(rewrites.iter().all(|rewrite| rewrite.fits(&before)));
    let after = before.replace_fragments(&rewrites, tag()).await.unwrap();
    assert_eq!(after.version().0, before.version().0 + 1);
    assert_eq!((before.fragments().len(), after.fragments().len()), (8, 1));
    assert_same_rows(&before, &after).await;
}

#[tokio::test]
async fn rows_that_were_deleted_during_a_compaction_stay_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let (_, empty) = table(&directory).await;
    let planned = fragmented(&empty, 4).await;
    let rewrites = rewritten(&planned).await;
    // All of the first fragment, some of the others, one of them replaced.
    let held = content(&planned).await;
    let mut change = rows(&[(25, 99)]);
    change.delete = (0..10).chain([15, 25, 39]).map(|id| RowId(held[&id].1)).collect();
    let base = planned.write(change, tag()).await.unwrap();
    assert!(rewrites.iter().all(|rewrite| rewrite.fits(&base)));
    let compacted = base.replace_fragments(&rewrites, tag()).await.unwrap();
    assert_same_rows(&base, &compacted).await;
    assert_eq!(compacted.fragments().len(), 2);
    let held = content(&compacted).await;
    assert_eq!((held.len(), held[&25].0), (28, 99));
}

#[tokio::test]
async fn a_result_whose_files_were_compacted_already_does_not_fit_and_leaves_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let (_, empty) = table(&directory).await;
    let before = fragmented(&empty, 4).await;
    let files = |directory: &Path| {
        std::fs::read_dir(directory.join("lance/T.lance/data"))
            .unwrap()
            .count()
    };
    let files_before = files(directory.path());
    let rewrites = rewritten(&before).await;
    assert!(files(directory.path()) > files_before);
    let appended = before.write(rows(&[(1000, 1)]), tag()).await.unwrap();
    assert!(
        rewrites.iter().all(|rewrite| rewrite.fits(&appended)),
        "rows that came are in fragments of their own"
    );
    let others = rewritten(&before).await;
    let changed = appended.replace_fragments(&others, tag()).await.unwrap();
    assert!(rewrites.iter().all(|rewrite| !rewrite.fits(&changed)));
    let files_before = files_before + 2;
    drop(rewrites);
    for _ in 0..1000 {
        if files(directory.path()) == files_before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the dropped files are still there");
}

#[tokio::test]
async fn a_compaction_goes_on_top_of_appends_that_came_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let (_, empty) = table(&directory).await;
    let planned = fragmented(&empty, 4).await;
    let rewrites = rewritten(&planned).await;
    let base = planned.write(rows(&[(1000, 1)]), tag()).await.unwrap();
    let after = base.replace_fragments(&rewrites, tag()).await.unwrap();
    assert_eq!(after.fragments().len(), 2);
    assert_same_rows(&base, &after).await;
    let next = after.write(rows(&[(1001, 1)]), tag()).await.unwrap();
    assert_eq!(content(&next).await.len(), 42);
}

pub(super) fn scalar() -> IndexWish {
    IndexWish {
        column: "id".to_owned(),
        kind: IndexKind::Scalar,
        dimension: None,
    }
}

/// Whether a filter on the indexed column is answered by the index.
pub(super) async fn uses_index(table: &TableAt) -> bool {
    let mut scanner = table.dataset.scan();
    scanner.filter("id = 7").unwrap();
    scanner
        .explain_plan(true)
        .await
        .unwrap()
        .contains("ScalarIndexQuery")
}

pub(super) async fn found(table: &TableAt, id: i64) -> usize {
    let ids = table
        .row_ids_where("id", &format!("id = {id}"), 10)
        .await
        .unwrap();
    ids.len()
}

#[tokio::test]
async fn an_index_is_built_used_updated_and_dropped_and_always_finds_what_a_scan_finds() {
    let directory = tempfile::tempdir().unwrap();
    let (_, empty) = table(&directory).await;
    let planned = fragmented(&empty, 4).await;
    let built = planned.build_index(&scalar()).await.unwrap();
    let base = planned.write(rows(&[(1000, 1)]), tag()).await.unwrap();
    assert!(built.fits(&base));
    let indexed = base.take_index(&built, tag()).await.unwrap();
    assert_eq!(indexed.version().0, base.version().0 + 1);
    assert!(!uses_index(&base).await && uses_index(&indexed).await);
    let index = &indexed.indexes().await.unwrap()[0];
    assert_eq!((index.name.as_str(), index.unindexed), ("id_scalar", 1));
    assert_same_rows(&base, &indexed).await;
    for id in [0, 7, 39, 1000] {
        assert_eq!(found(&indexed, id).await, 1, "{id}");
    }

    let compacted = {
        let rewrites = rewritten(&indexed).await;
        indexed.replace_fragments(&rewrites, tag()).await.unwrap()
    };
    assert_same_rows(&indexed, &compacted).await;
    for id in [0, 7, 39, 1000] {
        assert_eq!(found(&compacted, id).await, 1, "{id} after a compaction");
    }

    let update = compacted
        .update_index("id_scalar")
        .await
        .unwrap()
        .expect("rows to index");
    let updated = compacted.take_index(&update, tag()).await.unwrap();
    assert_eq!(updated.version().0, compacted.version().0 + 1);
    assert_eq!(updated.indexes().await.unwrap()[0].unindexed, 0);
    for id in [0, 7, 39, 1000] {
        assert_eq!(found(&updated, id).await, 1, "{id} after an update");
    }
    assert_eq!(found(&updated, 40).await, 0);

    let dropped = updated.drop_index("id_scalar", tag()).await.unwrap();
    assert_eq!(dropped.indexes().await.unwrap(), []);
    assert_same_rows(&updated, &dropped).await;
}

#[tokio::test]
async fn a_cleaning_removes_exactly_the_versions_it_was_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, empty) = table(&directory).await;
    let mut states = vec![empty.clone()];
    for id in 0..6 {
        let last = states.last().unwrap();
        let mut change = rows(&[(id, id), (100, id)]);
        change.delete = content(last)
            .await
            .get(&100)
            .map(|row| RowId(row.1))
            .into_iter()
            .collect();
        states.push(last.write(change, tag()).await.unwrap());
    }
    let newest = states.last().unwrap();
    let expected = content(newest).await;
    let kept = [states[2].version(), newest.version()];
    let goes: Vec<LanceVersion> = newest
        .versions()
        .await
        .unwrap()
        .into_iter()
        .filter(|version| !kept.contains(version))
        .collect();
    // Also the newest is named here: it must stay.
    let asked: Vec<LanceVersion> = goes.iter().copied().chain([newest.version()]).collect();
    let cleaned = newest.clean(&asked).await.unwrap();
    assert_eq!(cleaned.versions, goes.len() as u64);
    assert!(cleaned.bytes > 0);
    assert_eq!(newest.versions().await.unwrap(), kept);
    let fresh = super::Lake::open(&format!("file://{}", directory.path().display()));
    assert_eq!(
        content(&fresh.at("T", newest.version()).await.unwrap()).await,
        expected
    );
    assert_eq!(content(&fresh.at("T", kept[0]).await.unwrap()).await.len(), 3);
    let delta = fresh.at("T", newest.version()).await.unwrap();
    assert_eq!(delta.deleted_since(kept[0]).await.unwrap().count, 1);
    let error = fresh.at("T", goes[0]).await.unwrap_err();
    assert!(matches!(error, LakeError::VersionMissing { .. }), "{error}");
    drop(lake);
}

#[tokio::test]
async fn after_any_mix_of_writes_compactions_indexes_and_cleanings_the_rows_are_those_written() {
    let seed = printed_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (_, mut table) = table(&directory).await;
    let mut model = std::collections::BTreeMap::new();
    for step in 0..60_i64 {
        let before = table.clone();
        let held = content(&table).await;
        match random.random_range(0..10) {
            0..6 => {
                let written: std::collections::BTreeSet<i64> = (0..random.random_range(1..12))
                    .map(|_| random.random_range(0..40))
                    .collect();
                let mut change = rows(&written.iter().map(|id| (*id, step)).collect::<Vec<_>>());
                let gone = held.iter().filter(|(id, _)| written.contains(id));
                change.delete = gone.map(|(_, row)| RowId(row.1)).collect();
                table = table.write(change, tag()).await.unwrap();
                model.extend(written.iter().map(|id| (*id, step)));
            }
            6..8 => {
                let rewrites = rewritten(&table).await;
                let mut base = before.clone();
                if random.random_bool(0.7) {
                    // A client comes in between.
                    let gone: Vec<i64> = held.keys().copied().filter(|_| random.random_bool(0.2)).collect();
                    let mut change = rows(&[(1000 + step, step)]);
                    change.delete = gone.iter().map(|id| RowId(held[id].1)).collect();
                    base = table.write(change, tag()).await.unwrap();
                    table = base.clone();
                    for id in &gone {
                        model.remove(id);
                    }
                    model.insert(1000 + step, step);
                }
                let rewrites: Vec<Rewrite> = rewrites.into_iter().filter(|one| one.fits(&base)).collect();
                if !rewrites.is_empty() {
                    table = base.replace_fragments(&rewrites, tag()).await.unwrap();
                    assert_same_rows(&base, &table).await;
                }
            }
            8 => {
                let built = match table.indexes().await.unwrap().is_empty() {
                    true => Some(table.build_index(&scalar()).await.unwrap()),
                    false => table.update_index("id_scalar").await.unwrap(),
                };
                if let Some(built) = built {
                    table = table.take_index(&built, tag()).await.unwrap();
                    assert_same_rows(&before, &table).await;
                }
            }
            _ => {
                let goes = table.versions().await.unwrap();
                table.clean(&goes).await.unwrap();
            }
        }
        let values: std::collections::BTreeMap<i64, i64> = content(&table)
            .await
            .into_iter()
            .map(|(id, row)| (id, row.0))
            .collect();
        assert_eq!(values, model, "SEED={seed}, step {step}");
        let id = random.random_range(0..40);
        let expected = usize::from(model.contains_key(&id));
        assert_eq!(
            found(&table, id).await,
            expected,
            "SEED={seed}, step {step}, id {id}"
        );
    }
}

#[tokio::test]
async fn a_full_text_and_a_vector_index_are_built_updated_and_survive_a_compaction() {
    use std::sync::Arc;

    use arrow::array::{
        FixedSizeListArray, Float32Array, Int64Array, RecordBatch, RecordBatchIterator, StringArray,
    };
    use arrow::datatypes::{DataType, Field, Schema};

    let directory = tempfile::tempdir().unwrap();
    let lake = super::Lake::open(&format!("file://{}", directory.path().display()));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("v", DataType::FixedSizeList(item.clone(), 8), true),
    ]));
    let batch = |first: i64| {
        let ids = Int64Array::from_iter_values(first..first + 400);
        let texts = StringArray::from_iter_values((first..first + 400).map(|id| format!("word{id} common")));
        let values = Float32Array::from_iter_values((0..3200).map(|at| (at * 37 % 101) as f32));
        let vectors = FixedSizeListArray::new(item.clone(), 8, Arc::new(values), None);
        let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(ids), Arc::new(texts), Arc::new(vectors)];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        super::TableWrite {
            delete: Vec::new(),
            append: Some(Box::new(RecordBatchIterator::new([Ok(batch)], schema.clone()))),
        }
    };
    let created = lake.create_table("T", schema.clone()).await.unwrap();
    let mut newest = created.write(batch(0), tag()).await.unwrap();
    let wish = |column: &str, kind| IndexWish {
        column: column.to_owned(),
        kind,
        dimension: Some(8),
    };
    for wish in [wish("text", IndexKind::FullText), wish("v", IndexKind::Vector)] {
        let built = newest.build_index(&wish).await.unwrap();
        newest = newest.take_index(&built, tag()).await.unwrap();
    }
    newest = newest.write(batch(400), tag()).await.unwrap();
    for index in ["text_fullText", "v_vector"] {
        let update = newest.update_index(index).await.unwrap().expect("rows to index");
        newest = newest.take_index(&update, tag()).await.unwrap();
    }
    let rewrites = rewritten(&newest).await;
    let compacted = newest.replace_fragments(&rewrites, tag()).await.unwrap();
    assert_eq!(compacted.fragments().len(), 1);
    let unindexed: Vec<(String, u64)> = compacted
        .indexes()
        .await
        .unwrap()
        .into_iter()
        .map(|index| (index.name, index.unindexed))
        .collect();
    // These hold row ids, which a compaction keeps.
    assert_eq!(
        unindexed,
        [("text_fullText".to_owned(), 0), ("v_vector".to_owned(), 0)]
    );
    let hits = |id: i64| {
        let compacted = compacted.clone();
        async move {
            let query = lancedb::index::scalar::FullTextSearchQuery::new(format!("word{id}"));
            let mut scanner = compacted.dataset.scan();
            scanner.full_text_search(query).unwrap().with_row_id();
            let batches = scanner.try_into_stream().await.unwrap();
            let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
            let ids = batches.iter().flat_map(|batch| {
                batch["id"]
                    .as_primitive::<arrow::datatypes::Int64Type>()
                    .values()
                    .to_vec()
            });
            ids.collect::<Vec<i64>>()
        }
    };
    assert_eq!(
        (hits(5).await, hits(405).await, hits(900).await),
        (vec![5], vec![405], vec![])
    );
    let query = Float32Array::from_iter_values((0..8).map(|at| (at * 37 % 101) as f32));
    let mut scanner = compacted.dataset.scan();
    scanner.nearest("v", &query, 3).unwrap().with_row_id();
    let plan = scanner.explain_plan(true).await.unwrap();
    assert!(plan.contains("ANN"), "{plan}");
    let batches = scanner.try_into_stream().await.unwrap();
    let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
    let ids = batches
        .iter()
        .flat_map(|batch| batch["_rowid"].as_primitive::<UInt64Type>().values().to_vec());
    assert_eq!(ids.count(), 3);
}
