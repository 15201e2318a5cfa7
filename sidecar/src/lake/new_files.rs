//! Which files a version has that an older one of the same table has not: what must reach the disk before a commit names it.
//!
//! ```text
//! manifest, indexes ─> reached ─┐
//! the same of the older one ────┴─> new_files ─> files, and directories with a new entry
//! ```
//!
//! Left out is what Lance reads versions without: `_versions/latest_version_hint.json`, and the transaction's own file where the
//! manifest holds the transaction as well. Row ids and the versions of rows are in the manifest or in data files.
//!
//! Owns: the list, computed from what is in memory. Does not own: writing it to the disk (`durable`).

use std::collections::{BTreeSet, HashSet};

use lance::table::format::{DeletionFile, Fragment, IndexMetadata, Manifest};

/// Relative to the table's directory, with slashes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NewFiles {
    /// Files, and directories that are new with everything in them.
    pub(super) paths: BTreeSet<String>,
    /// Directories that got an entry. The table's own is the empty name; those above a new table are `..` and `../..`.
    pub(super) directories: BTreeSet<String>,
}

/// Everything a version consists of. An index is named by its directory.
pub(super) fn reached(
    manifest: &Manifest,
    manifest_name: &str,
    indexes: &[IndexMetadata],
) -> BTreeSet<String> {
    let mut paths = data_files(&manifest.fragments);
    paths.insert(format!("_versions/{manifest_name}"));
    for fragment in manifest.fragments.iter() {
        let deleted = fragment.deletion_file.as_ref();
        paths.extend(deleted.and_then(|file| deletion_file(fragment.id, file)));
    }
    if let (None, Some(name)) = (&manifest.transaction_section, &manifest.transaction_file) {
        paths.insert(format!("_transactions/{name}"));
    }
    paths.extend(indexes.iter().filter_map(index_directory));
    paths
}

/// The data files of fragments. Files with a base are another table's and were there before; we make none.
pub(super) fn data_files(fragments: &[Fragment]) -> BTreeSet<String> {
    let files = fragments.iter().flat_map(Fragment::referenced_lance_files);
    files
        .filter(|file| file.base_id.is_none())
        .map(|file| format!("data/{}", file.path))
        .collect()
}

/// Where an index is, all of it.
pub(super) fn index_directory(index: &IndexMetadata) -> Option<String> {
    index
        .base_id
        .is_none()
        .then(|| format!("_indices/{}", index.uuid))
}

fn deletion_file(fragment: u64, file: &DeletionFile) -> Option<String> {
    let (version, id, suffix) = (file.read_version, file.id, file.file_type.suffix());
    file.base_id
        .is_none()
        .then(|| format!("_deletions/{fragment}-{version}-{id}.{suffix}"))
}

/// What `now` has and `before` has not; `before` is empty for a table that is new.
///
/// A directory in which `before` has something is there already, so it is no new entry of the one above it.
pub(super) fn new_files(before: &BTreeSet<String>, now: &BTreeSet<String>) -> NewFiles {
    let known: HashSet<&str> = before.iter().flat_map(|path| above(path)).collect();
    let mut new = NewFiles::default();
    for path in now.difference(before) {
        for directory in above(path) {
            new.directories.insert(directory.to_owned());
            if known.contains(directory) {
                break;
            }
        }
        new.paths.insert(path.clone());
    }
    if before.is_empty() {
        new.directories.extend(["..".to_owned(), "../..".to_owned()]);
    }
    new
}

/// The directories that a path is in, the nearest first; the last is the empty name.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(path), |&directory| parent(directory))
}

fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some((parent, _)) => Some(parent),
        None => (!path.is_empty()).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, now; the new paths, the directories with a new entry.
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);

    fn set(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_directory_is_listed_when_it_got_an_entry_and_only_then() {
        let created = ["_versions/1"];
        let filled = ["_versions/2", "data/a"];
        let changed = ["_versions/3", "data/a", "data/b", "_deletions/0"];
        let indexed = ["_versions/4", "data/b", "_deletions/0", "_indices/u"];
        let again = [
            "_versions/5",
            "data/b",
            "_deletions/1",
            "_indices/u",
            "_indices/v",
        ];
        let restored = ["_versions/6", "data/a"];
        let cases: [Case<'_>; 6] = [
            (&[], &created, &["_versions/1"], &["_versions", "", "..", "../.."]),
            (
                &created,
                &filled,
                &["_versions/2", "data/a"],
                &["_versions", "data", ""],
            ),
            (
                &filled,
                &changed,
                &["_versions/3", "data/b", "_deletions/0"],
                &["_versions", "data", "_deletions", ""],
            ),
            (
                &changed,
                &indexed,
                &["_versions/4", "_indices/u"],
                &["_versions", "_indices", ""],
            ),
            (
                &indexed,
                &again,
                &["_versions/5", "_deletions/1", "_indices/v"],
                &["_versions", "_deletions", "_indices"],
            ),
            (&filled, &restored, &["_versions/6"], &["_versions"]),
        ];
        for (before, now, paths, directories) in cases {
            let expected = NewFiles {
                paths: set(paths),
                directories: set(directories),
            };
            assert_eq!(new_files(&set(before), &set(now)), expected, "{now:?}");
        }
    }
}
