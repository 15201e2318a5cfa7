//! What a merge leaves of row ids and versions: little, however many commits wrote the rows, and still enough for the delta from
//! every version that exists.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use futures::TryStreamExt;
use lance::table::format::{Fragment, RowIdMeta};
use lance_table::rowids::read_row_ids;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::contract::{content, printed_seed, rows, table, tag};
use super::contract_optimize::rewritten;
use super::{IdDigest, LANCE_ROW_ID, TableAt};
use crate::ids::{LanceVersion, RowId};

/// Writes `value` for `ids`, which are replaced where they are there.
async fn replaced(table: &TableAt, ids: &BTreeSet<i64>, value: i64) -> TableAt {
    let held = content(table).await;
    let mut change = rows(&ids.iter().map(|id| (*id, value)).collect::<Vec<_>>());
    change.delete = ids
        .iter()
        .filter_map(|id| held.get(id))
        .map(|row| RowId(row.1))
        .collect();
    table.write(change, tag()).await.unwrap()
}

async fn compacted(table: &TableAt) -> TableAt {
    let rewrites = rewritten(table).await;
    match rewrites.is_empty() {
        true => table.clone(),
        false => table.replace_fragments(&rewrites, tag()).await.unwrap(),
    }
}

/// Removes every version but `kept` and the newest.
async fn cleaned(table: &TableAt, kept: &BTreeSet<LanceVersion>) {
    let mut goes = table.versions().await.unwrap();
    goes.retain(|version| !kept.contains(version));
    table.clean(&goes).await.unwrap();
}

fn pieces(fragment: &Fragment) -> (usize, usize) {
    let Some(RowIdMeta::Inline(ids)) = &fragment.row_id_meta else {
        panic!("row ids are not in the manifest: {:?}", fragment.row_id_meta);
    };
    let versions = fragment.last_updated_at_version_meta.as_ref().unwrap();
    let runs = versions.load_sequence().unwrap().runs.len();
    (read_row_ids(ids).unwrap().segments().len(), runs)
}

#[tokio::test]
async fn the_manifest_does_not_grow_with_the_number_of_commits() {
    let directory = tempfile::tempdir().unwrap();
    let (_, empty) = table(&directory).await;
    let all: BTreeSet<i64> = (0..400).collect();
    let mut newest = replaced(&empty, &all, -1).await;
    let mut random = StdRng::seed_from_u64(7);
    for commit in 0..100 {
        let ids = (0..400).choose_multiple(&mut random, 4).into_iter().collect();
        newest = replaced(&newest, &ids, commit).await;
        if commit % 10 == 9 {
            newest = compacted(&newest).await;
            cleaned(&newest, &BTreeSet::new()).await;
        }
    }
    // Two versions exist, the newest and this one.
    newest = compacted(&replaced(&newest, &(0..4).collect(), 1000).await).await;
    assert_eq!(content(&newest).await.len(), 400);
    let fragments = newest.dataset.fragments();
    assert_eq!(fragments.len(), 1);
    let (ids, runs) = pieces(&fragments[0]);
    assert_eq!(ids, 1, "pieces of row ids");
    assert!(runs <= 3, "{runs} runs of versions");
}

#[tokio::test]
async fn a_delta_from_any_version_that_exists_is_exact_across_compactions_and_cleanings() {
    let seed = printed_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (_, mut newest) = table(&directory).await;
    // By version, id -> row id.
    let mut states: BTreeMap<LanceVersion, BTreeMap<i64, u64>> = BTreeMap::new();
    for step in 0..80 {
        newest = match random.random_range(0..10) {
            0..7 => {
                let ids = (0..60).choose_multiple(&mut random, 5).into_iter().collect();
                replaced(&newest, &ids, step).await
            }
            7..9 => compacted(&newest).await,
            _ => {
                states.retain(|_, _| random.random_bool(0.6));
                cleaned(&newest, &states.keys().copied().collect()).await;
                newest
            }
        };
        let ids = content(&newest).await.into_iter().map(|(id, row)| (id, row.1));
        states.insert(newest.version(), ids.collect());
        let now: BTreeSet<u64> = states[&newest.version()].values().copied().collect();
        for (begin, held) in &states {
            let held: BTreeSet<u64> = held.values().copied().collect();
            let upserts = newest.upserts_since(*begin).await.unwrap();
            let upserts = upserts.try_collect::<Vec<_>>().await.unwrap();
            let found: BTreeSet<u64> = upserts
                .iter()
                .flat_map(|batch| {
                    let ids = batch.column_by_name(LANCE_ROW_ID).unwrap();
                    ids.as_primitive::<UInt64Type>().values().to_vec()
                })
                .collect();
            let written: BTreeSet<u64> = now.difference(&held).copied().collect();
            assert_eq!(found, written, "SEED={seed}, step {step}, from version {begin}");
            let mut gone = IdDigest::default();
            held.difference(&now).for_each(|id| gone.add(*id));
            let deleted = newest.deleted_since(*begin).await.unwrap();
            assert_eq!(deleted, gone, "SEED={seed}, step {step}, from version {begin}");
        }
    }
}
