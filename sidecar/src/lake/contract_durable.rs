//! What is synced is what a version needs, after every kind of step: compared with the files that appeared, and by reading what a
//! power cut would leave of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::contract::{content, rows, table, tag};
use super::contract_optimize::{found, rewritten, scalar, uses_index};
use super::new_files::NewFiles;
use super::torn::version_of;
use super::{Lake, LakeError, TableAt};
use crate::ids::RowId;

/// The disk behind the page cache: files with the content, and directories with the names, that they had when they were synced.
#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, Vec<u8>>,
    directories: BTreeMap<PathBuf, Vec<OsString>>,
}

impl Disk {
    fn sync(&mut self, path: &Path) {
        let path = fs::canonicalize(path).unwrap();
        if path.is_dir() {
            let names = fs::read_dir(&path).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name()).collect();
            self.directories.insert(path, names);
        } else {
            let content = fs::read(&path).unwrap();
            self.files.insert(path, content);
        }
    }

    /// As the syncs of a step do it.
    fn sync_new(&mut self, table: &Path, new: &NewFiles) {
        for path in files_of(table, new) {
            self.sync(&table.join(path));
        }
        let whole = new.paths.iter().filter(|path| table.join(path).is_dir());
        for directory in new.directories.iter().chain(whole) {
            self.sync(&table.join(directory));
        }
    }

    /// Writes to `to` what is left of `from`: a file that was not synced is empty.
    fn leave(&self, from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for name in self.directories.get(from).into_iter().flatten() {
            let (from, to) = (from.join(name), to.join(name));
            match self.files.get(&from) {
                Some(content) => fs::write(to, content).unwrap(),
                None if from.is_dir() => self.leave(&from, &to),
                None => fs::write(to, "").unwrap(),
            }
        }
    }
}

/// Names of all files below `directory`, relative to `table`.
fn walk(table: &Path, directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(table, &path, names);
        } else {
            names.insert(path.strip_prefix(table).unwrap().display().to_string());
        }
    }
}

/// The new files, those in new directories included.
fn files_of(table: &Path, new: &NewFiles) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for path in &new.paths {
        let place = table.join(path);
        if place.is_dir() {
            walk(table, &place, &mut files);
        } else {
            files.insert(path.clone());
        }
    }
    files
}

/// A table, its files after the last step, and the disk below it.
struct Watched {
    root: tempfile::TempDir,
    seen: BTreeSet<String>,
    disk: Disk,
}

impl Watched {
    fn table(&self) -> PathBuf {
        self.root.path().join("lance/T.lance")
    }

    /// Compares what a step wrote with what is synced of it, and reads what is left after a power cut right after it.
    async fn step(&mut self, what: &str, base: Option<&TableAt>, newest: &TableAt) {
        let table = self.table();
        let new = newest.new_since(base).await.unwrap();
        let mut now = BTreeSet::new();
        walk(&table, &table, &mut now);
        let indexes: Vec<&String> = new
            .paths
            .iter()
            .filter(|path| path.starts_with("_indices/"))
            .collect();
        let is_needed = |path: &&String| {
            let name = path.rsplit('/').next().unwrap();
            match path.split('/').next().unwrap() {
                // It is in the manifest as well.
                "_transactions" => newest.dataset.manifest().transaction_section.is_none(),
                // Not what spares Lance a listing, nor versions that the step went through.
                "_versions" => version_of(name) == Some(newest.version()),
                // Not parts that became one while the index was built.
                "_indices" => indexes.iter().any(|index| path.starts_with(index.as_str())),
                _ => true,
            }
        };
        let appeared: BTreeSet<String> = now.difference(&self.seen).filter(is_needed).cloned().collect();
        assert_eq!(files_of(&table, &new), appeared, "{what}");
        self.seen = now;
        self.disk.sync_new(&table, &new);

        let left = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(self.root.path()).unwrap();
        self.disk.leave(&root, left.path());
        let lake = Lake::open(&format!("file://{}", left.path().display()));
        let read = lake.at("T", newest.version()).await.unwrap();
        assert_eq!(content(&read).await, content(newest).await, "{what}");
        assert_eq!(uses_index(&read).await, uses_index(newest).await, "{what}");
        assert_eq!(found(&read, 7).await, found(newest, 7).await, "{what}");
    }
}

async fn row_ids(table: &TableAt, ids: impl IntoIterator<Item = i64>) -> Vec<RowId> {
    let held = content(table).await;
    ids.into_iter().map(|id| RowId(held[&id].1)).collect()
}

#[tokio::test]
async fn every_file_that_a_version_needs_is_synced_and_a_power_cut_leaves_the_version_whole() {
    let root = tempfile::tempdir().unwrap();
    let (lake, created) = table(&root).await;
    let mut watched = Watched {
        root,
        seen: BTreeSet::new(),
        disk: Disk::default(),
    };
    watched.step("a new table", None, &created).await;

    let first = created
        .write(rows(&[(7, 1), (2, 1), (3, 1)]), tag())
        .await
        .unwrap();
    watched.step("an append", Some(&created), &first).await;

    let delete = row_ids(&first, [2]).await;
    let deleted = first.write_staged(&delete, None, tag()).await.unwrap();
    watched.step("a delete", Some(&first), &deleted).await;

    let mut change = rows(&[(3, 2), (4, 2)]);
    change.delete = row_ids(&deleted, [3]).await;
    let replaced = deleted.write(change, tag()).await.unwrap();
    watched.step("rows out and in", Some(&deleted), &replaced).await;

    let many: Vec<(i64, i64)> = (1000..13_000).map(|id| (id, 1)).collect();
    let staged = replaced.stage(rows(&many).append.unwrap()).await.unwrap();
    let delete = row_ids(&replaced, [3, 4]).await;
    let loaded = replaced
        .write_staged(&delete, Some(&staged), tag())
        .await
        .unwrap();
    watched
        .step("a load, and a fragment's last rows out", Some(&replaced), &loaded)
        .await;

    // So many that they are written as a bitmap.
    let delete = row_ids(&loaded, 1000..9000).await;
    let emptied = loaded.write_staged(&delete, None, tag()).await.unwrap();
    watched
        .step("a delete of many rows", Some(&loaded), &emptied)
        .await;

    let built = emptied.build_index(&scalar()).await.unwrap();
    let indexed = emptied.take_index(&built, tag()).await.unwrap();
    assert!(uses_index(&indexed).await);
    watched.step("an index", Some(&emptied), &indexed).await;

    let appended = indexed.write(rows(&[(5, 1), (6, 1)]), tag()).await.unwrap();
    watched
        .step("an append to an indexed table", Some(&indexed), &appended)
        .await;

    let update = appended.update_index("id_scalar").await.unwrap().unwrap();
    let updated = appended.take_index(&update, tag()).await.unwrap();
    watched.step("an index's update", Some(&appended), &updated).await;

    let rewrites = rewritten(&updated).await;
    let compacted = updated.replace_fragments(&rewrites, tag()).await.unwrap();
    assert!(compacted.fragments().len() < updated.fragments().len());
    watched.step("a compaction", Some(&updated), &compacted).await;

    let extra = arrow::datatypes::Field::new("extra", arrow::datatypes::DataType::Utf8, true);
    let widened = compacted.add_columns(vec![extra]).await.unwrap();
    watched.step("a column", Some(&compacted), &widened).await;

    let dropped = widened.drop_index("id_scalar", tag()).await.unwrap();
    watched.step("an index that goes", Some(&widened), &dropped).await;

    let old = lake.at("T", replaced.version()).await.unwrap();
    let restored = old.restore().await.unwrap();
    watched.step("a restore", Some(&old), &restored).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_synced_fails_the_step_by_name() {
    let root = tempfile::tempdir().unwrap();
    let (_, created) = table(&root).await;
    let written = created.write(rows(&[(1, 1)]), tag()).await.unwrap();
    let new = written.new_since(Some(&created)).await.unwrap();
    let data = new.paths.iter().find(|path| path.starts_with("data/")).unwrap();
    let lost = root.path().join("lance/T.lance").join(data);
    fs::remove_file(&lost).unwrap();
    let error = written.durable_on(Some(&created)).await.unwrap_err();
    assert!(
        matches!(&error, LakeError::NotDurable { path, .. } if path.ends_with(data)),
        "{error}"
    );
}
