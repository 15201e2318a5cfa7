//! A manifest that was changed or cut off after it was written is found before anything is read by it.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use futures::TryStreamExt as _;

use super::contract::{content, rows, schema, table, tag};
use super::{Lake, LakeError, ManifestDigests, TableAt};
use crate::commit_log::VersionMap;
use crate::ids::{LanceVersion, RowId};

fn recorded(table: &TableAt) -> ManifestDigests {
    let mut digests = ManifestDigests::default();
    table.record_in(&mut VersionMap::default(), &mut digests).unwrap();
    digests
}

fn manifest(root: &Path, version: LanceVersion) -> PathBuf {
    let versions = root.join("lance/T.lance/_versions");
    let listed = std::fs::read_dir(&versions).unwrap().flatten();
    // Newer naming schemes count down.
    let names = [version.0.to_string(), (u64::MAX - version.0).to_string()];
    let found = listed.map(|entry| entry.path()).find(|path| {
        path.extension().is_some_and(|kind| kind == "manifest")
            && path.file_stem().is_some_and(|stem| {
                names
                    .iter()
                    .any(|name| stem.to_string_lossy().trim_start_matches('0') == name)
            })
    });
    found.unwrap_or_else(|| panic!("no manifest of version {version} in {}", versions.display()))
}

/// The table as a process that starts now sees it.
async fn read_anew(
    root: &Path,
    version: LanceVersion,
    recorded: &ManifestDigests,
) -> Result<TableAt, LakeError> {
    let lake = Lake::open(&format!("file://{}", root.display()));
    let table = lake.at("T", version).await?;
    table.verify_manifest(recorded)?;
    Ok(table)
}

/// How many rows a scan gives.
async fn rows_of(table: &TableAt) -> Result<usize, LakeError> {
    let batches: Vec<RecordBatch> = table.scan(&["id", "v"]).await?.try_collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

/// A table after every kind of change that makes a version.
async fn changed(directory: &tempfile::TempDir) -> (Lake, TableAt) {
    let (lake, table) = table(directory).await;
    let first = table
        .write(rows(&[(1, 10), (2, 20), (3, 30)]), tag())
        .await
        .unwrap();
    let mut change = rows(&[(2, 21), (4, 40)]);
    change.delete = vec![RowId(content(&first).await[&2].1)];
    (lake, first.write(change, tag()).await.unwrap())
}

#[tokio::test]
async fn a_manifest_says_the_same_when_written_and_when_read() {
    let directory = tempfile::tempdir().unwrap();
    let (_, written) = changed(&directory).await;
    let restored = written.restore().await.unwrap();
    let extra = arrow::datatypes::Field::new("extra", arrow::datatypes::DataType::Utf8, true);
    let widened = restored.add_columns(vec![extra]).await.unwrap();
    for table in [&written, &restored, &widened] {
        read_anew(directory.path(), table.version(), &recorded(table))
            .await
            .unwrap();
    }
    let other = read_anew(directory.path(), written.version(), &recorded(&widened)).await;
    assert!(
        matches!(other, Err(LakeError::Damaged { .. })),
        "another version is told apart"
    );
    assert_eq!(written.dataset.schema().fields.len(), schema().fields().len());
}

#[tokio::test]
async fn a_flipped_bit_in_a_manifest_changes_nothing_or_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (_, table) = changed(&directory).await;
    let (digests, before) = (recorded(&table), content(&table).await);
    let path = manifest(directory.path(), table.version());
    let sound = std::fs::read(&path).unwrap();
    let mut found = 0;
    for at in (0..sound.len()).step_by(3) {
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        match read_anew(directory.path(), table.version(), &digests).await {
            Err(error) => {
                assert!(
                    error.to_string().contains(" T") || error.to_string().contains("lake"),
                    "byte {at}: {error}"
                );
                found += 1;
            }
            Ok(table) => match rows_of(&table).await {
                Err(_) => found += 1,
                // A byte that says nothing about the rows, as the time of writing.
                Ok(rows) => {
                    assert_eq!(rows, before.len(), "byte {at}");
                    assert_eq!(content(&table).await, before, "byte {at}");
                }
            },
        }
    }
    // The rest is what no reader of rows looks at: the transaction, the time of writing.
    assert!(found > 50, "{found} found");
}

#[tokio::test]
async fn a_manifest_that_was_cut_off_is_an_error_and_not_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let (_, table) = changed(&directory).await;
    let path = manifest(directory.path(), table.version());
    let sound = std::fs::read(&path).unwrap();
    for length in (0..sound.len()).step_by(7) {
        std::fs::write(&path, &sound[..length]).unwrap();
        let cut = read_anew(directory.path(), table.version(), &recorded(&table)).await;
        assert!(cut.is_err(), "cut to {length} of {}", sound.len());
    }
}
