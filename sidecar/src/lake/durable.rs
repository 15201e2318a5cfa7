//! Makes what a writer wrote survive a power cut, on local storage: Lance itself renames its files into place and syncs none.
//!
//! ```text
//! rows, merged files, indexes ─> synced where they are written, before their commit has its turn
//! one version on top of another ─> new_files ─> each file and each directory with a new entry, all at once ─> may be a base
//! ```
//!
//! Guarantees: every view that a write hands out is durable, as what it was written on top of was; so is every version that a
//! commit record names. A step pays about one flush of the disk, as the flushes of all its files meet in it. On object storage
//! nothing is done: a put that was answered is durable.
//!
//! A sync that failed is the failure of the step, and must not be tried again: Linux drops the pages that it could not write and
//! reports that once, so the next sync of the same file succeeds and proves nothing. So these files are never named by a commit:
//! the step's caller restores the table to the committed version before its next write, which makes a new manifest of files that
//! were durable before, and rows that are sent again are in new files. A directory is not such a file: its entries are in the
//! file system's journal, and one that cannot be written stops the file system.
//!
//! Owns: the syncs. Does not own: which files a version has (`new_files`), commit records (`store`), the way back (`writer::commit`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use lance::index::DatasetIndexExt;

use super::new_files::{NewFiles, new_files, reached};
use super::{LakeError, TableAt};

/// Syncs of one step at the same time: threads that do nothing but wait for the disk.
const AT_ONCE: usize = 16;

impl TableAt {
    /// This version, once it survives a power cut. `base` is a durable one of the same table; `None`: the table is new.
    ///
    /// # Errors
    /// [`LakeError::NotDurable`]: nothing may name this version any more.
    pub(super) async fn durable_on(self, base: Option<&TableAt>) -> Result<TableAt, LakeError> {
        if let Some(directory) = self.local_directory().await? {
            let new = self.new_since(base).await?;
            let files = new.paths.iter().map(|path| (directory.join(path), true));
            let entries = new.directories.iter().map(|path| (directory.join(path), false));
            sync_all(self.name(), files.chain(entries).collect()).await?;
        }
        Ok(self)
    }

    /// Syncs files that no version names yet, so that the commit that will name them finds them clean.
    ///
    /// # Errors
    /// [`LakeError::NotDurable`]: no version may name them.
    pub(super) async fn sync_ahead(&self, paths: BTreeSet<String>) -> Result<(), LakeError> {
        if let Some(directory) = self.local_directory().await? {
            let places = paths.iter().map(|path| (directory.join(path), true));
            sync_all(self.name(), places.collect()).await?;
        }
        Ok(())
    }

    /// What this version has and `base` has not.
    pub(super) async fn new_since(&self, base: Option<&TableAt>) -> Result<NewFiles, LakeError> {
        let now = self.reached().await?;
        let before = match base {
            Some(base) => base.reached().await?,
            None => BTreeSet::new(),
        };
        Ok(new_files(&before, &now))
    }

    async fn reached(&self) -> Result<BTreeSet<String>, LakeError> {
        let failed = || LakeError::storage("read the indexes of", self.name());
        // In Lance's cache since the version was written.
        let indexes = self.dataset.load_indices().await.map_err(failed())?;
        let location = self.dataset.manifest_location();
        let name = location.path.filename().unwrap_or_default();
        Ok(reached(self.dataset.manifest(), name, &indexes))
    }

    /// Where this table is on this machine's disk, if it is.
    pub(super) async fn local_directory(&self) -> Result<Option<PathBuf>, LakeError> {
        let failed = || LakeError::storage("reach", self.name());
        let store = self.dataset.object_store(None).await.map_err(failed())?;
        // As Lance itself names files: their path without the slash in front.
        let directory = || PathBuf::from(format!("/{}", self.dataset.branch_location().path));
        Ok(store.has_direct_local_paths().then(directory))
    }
}

/// Syncs every place, a few at a time; a directory with everything in it where that is asked for.
async fn sync_all(table: &str, places: Vec<(PathBuf, bool)>) -> Result<(), LakeError> {
    let share = places.len().div_ceil(AT_ONCE).max(1);
    let jobs = places.chunks(share).map(|share| {
        let share = share.to_vec();
        tokio::task::spawn_blocking(move || {
            share.iter().try_for_each(|(path, is_whole)| {
                let synced = if *is_whole { sync_whole(path) } else { sync(path) };
                synced.map_err(|source| (path.clone(), source))
            })
        })
    });
    let mut first = Ok(());
    for done in join_all(jobs).await {
        let done = done.unwrap_or_else(|panicked| Err((PathBuf::new(), io::Error::other(panicked))));
        first = first.and(done);
    }
    first.map_err(|(path, source)| LakeError::NotDurable {
        table: table.to_owned(),
        path,
        source,
    })
}

fn sync_whole(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_whole(&entry?.path())?;
        }
    }
    sync(path)
}

/// Files and directories alike: what they hold now is on the disk afterwards.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
