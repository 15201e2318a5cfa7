//! Manifests that a power cut left empty or cut off: of versions that were being written and that no commit names.
//!
//! Lance opens a table by its newest manifest, whichever version is asked for, so one of these makes the whole table unreadable.
//! They appear on local storage only: a directory's entry may reach the disk before the file's content does.
//!
//! Owns: finding and removing them. Does not own: manifests that are whole (`Lake::settle` restores over those), and damage to a
//! version that a commit names, which is an error ([`LakeError::Damaged`]).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Lake, LakeError};
use crate::ids::LanceVersion;

/// What a whole manifest ends with.
const MAGIC: &[u8; 4] = b"LANC";

impl Lake {
    /// Removes what is left of manifests above `committed`, the version that the log names, or 0 for a table that it does not name.
    ///
    /// Only the active writer may call this, after its barrier commit. Does nothing on object storage.
    ///
    /// # Errors
    /// [`LakeError::NotDurable`] when the disk does not take the change; the same call again is safe.
    pub(super) async fn remove_torn(&self, name: &str, committed: LanceVersion) -> Result<(), LakeError> {
        let Some(root) = self.options.uri.strip_prefix("file://") else {
            return Ok(());
        };
        let versions = Path::new(root).join(format!("lance/{name}.lance/_versions"));
        let directory = versions.clone();
        let removing = tokio::task::spawn_blocking(move || remove_above(&directory, committed));
        let removed = removing
            .await
            .unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        let removed = removed.map_err(|source| LakeError::NotDurable {
            table: name.to_owned(),
            path: versions,
            source,
        })?;
        for path in removed {
            tracing::warn!(table = name, path = %path.display(), "removed what a power cut left of a version in no commit");
        }
        Ok(())
    }
}

fn remove_above(versions: &Path, committed: LanceVersion) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(versions) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut removed = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let version = path.file_name().and_then(|name| version_of(name.to_str()?));
        if version.is_some_and(|version| version > committed) && is_torn(&path)? {
            fs::remove_file(&path)?;
            removed.push(path);
        }
    }
    if !removed.is_empty() {
        File::open(versions)?.sync_all()?;
    }
    Ok(removed)
}

/// The version that a manifest's name says. Lance's newer names have 20 digits and count down.
pub(super) fn version_of(name: &str) -> Option<LanceVersion> {
    let digits = name.strip_suffix(".manifest")?;
    let number: u64 = digits.parse().ok()?;
    Some(LanceVersion(match digits.len() {
        20 => u64::MAX - number,
        _ => number,
    }))
}

fn is_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut end = [0; MAGIC.len()];
    if file.metadata()?.len() < end.len() as u64 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-(MAGIC.len() as i64)))?;
    file.read_exact(&mut end)?;
    Ok(end != *MAGIC)
}

#[cfg(test)]
mod tests {
    use super::super::ManifestDigests;
    use super::super::contract::{content, rows, schema, table, tag};
    use super::*;

    fn manifests(root: &Path) -> Vec<(LanceVersion, PathBuf)> {
        let listed = fs::read_dir(root.join("lance/T.lance/_versions")).unwrap();
        let mut found: Vec<(LanceVersion, PathBuf)> = listed
            .map(|entry| entry.unwrap().path())
            .filter_map(|path| Some((version_of(path.file_name()?.to_str()?)?, path)))
            .collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn a_version_that_was_being_written_at_a_power_cut_keeps_nobody_from_its_table() {
        for length in [0, 3, 100] {
            let directory = tempfile::tempdir().unwrap();
            let (_, empty) = table(&directory).await;
            let committed = empty.write(rows(&[(1, 10)]), tag()).await.unwrap();
            committed.write(rows(&[(2, 20)]), tag()).await.unwrap();
            let (version, newest) = manifests(directory.path()).pop().unwrap();
            assert_eq!(version.0, committed.version().0 + 1);
            File::options()
                .write(true)
                .open(&newest)
                .unwrap()
                .set_len(length)
                .unwrap();

            let lake = Lake::open(&format!("file://{}", directory.path().display()));
            assert!(
                lake.newest("T").await.is_err(),
                "cut to {length}: Lance copes by itself now"
            );
            let none = ManifestDigests::default();
            let base = lake.settle("T", committed.version(), &none).await.unwrap();
            assert_eq!(base.version(), committed.version());
            assert_eq!(content(&base).await.len(), 1);
            let next = base.write(rows(&[(3, 30)]), tag()).await.unwrap();
            assert_eq!(content(&next).await.len(), 2);
        }
    }

    #[tokio::test]
    async fn what_a_commit_names_stays_whatever_is_left_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let (_, empty) = table(&directory).await;
        let committed = empty.write(rows(&[(1, 10)]), tag()).await.unwrap();
        let (_, newest) = manifests(directory.path()).pop().unwrap();
        fs::write(&newest, "").unwrap();
        let lake = Lake::open(&format!("file://{}", directory.path().display()));
        let none = ManifestDigests::default();
        assert!(lake.settle("T", committed.version(), &none).await.is_err());
        assert!(newest.exists());
    }

    #[tokio::test]
    async fn a_table_that_was_being_created_at_a_power_cut_is_created() {
        let directory = tempfile::tempdir().unwrap();
        table(&directory).await;
        let (_, first) = manifests(directory.path()).pop().unwrap();
        fs::write(first, "").unwrap();
        let lake = Lake::open(&format!("file://{}", directory.path().display()));
        let created = lake.create_table("T", schema()).await.unwrap();
        assert_eq!(created.count_rows().await.unwrap(), 0);
    }
}
