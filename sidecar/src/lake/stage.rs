//! Rows in Lance's data files that no version names yet: most of a large append's work, done before its commit has its turn.
//!
//! Crash behaviour: files that nobody came to name lie in the table's `data/` and belong to no version, so no reader sees
//! them; dropping a stage that was not used removes them, a cleaning does it otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lance::Dataset;
use lance::dataset::transaction::Operation;
use lance::dataset::{InsertBuilder, WriteMode, WriteParams};
use lance::table::format::Fragment;

use super::new_files::data_files;
use super::{BatchReader, LakeError, TableAt};

/// Rows that are written and wait to be named by a version. May be named again when that version was restored over.
#[derive(Debug)]
pub struct Staged {
    table: TableAt,
    fragments: Vec<Fragment>,
    /// Whether a version may name the files: they are not ours to remove any more.
    named: AtomicBool,
}

impl TableAt {
    /// Writes rows as data files of this table; reads them on a blocking thread.
    ///
    /// Guarantees: changes no version. Which version this view is at does not matter, as long as it has the columns.
    /// The files are on the disk, so that the commit's turn does not wait for so many bytes.
    /// Memory: the batches that Lance is about to encode.
    ///
    /// # Errors
    /// [`LakeError::Storage`]; what was written until then is left to a cleaning. [`LakeError::NotDurable`]; the files are removed.
    pub async fn stage(&self, rows: BatchReader) -> Result<Staged, LakeError> {
        let staged = self.write_files(rows).await?;
        self.sync_ahead(data_files(&staged.fragments)).await?;
        Ok(staged)
    }

    /// The same for rows that are committed at once: their files reach the disk together with the version that names them.
    pub(super) async fn write_files(&self, rows: BatchReader) -> Result<Staged, LakeError> {
        let params = WriteParams {
            mode: WriteMode::Append,
            ..WriteParams::default()
        };
        let staged = InsertBuilder::new(self.dataset.clone())
            .with_params(&params)
            .execute_uncommitted_stream(rows)
            .await
            .map_err(LakeError::storage("write to", self.name()))?;
        match staged.operation {
            Operation::Append { fragments } => Ok(Staged {
                table: self.clone(),
                fragments,
                named: AtomicBool::new(false),
            }),
            other => Err(self.mismatch(format!("a staged {other}"), "a staged Append")),
        }
    }
}

impl Staged {
    /// Rows in the files.
    pub fn rows(&self) -> u64 {
        let rows = self
            .fragments
            .iter()
            .filter_map(|fragment| fragment.physical_rows);
        rows.map(|rows| rows as u64).sum()
    }

    /// The files, for a version that is about to name them.
    pub(super) fn fragments(&self) -> Vec<Fragment> {
        self.named.store(true, Ordering::Relaxed);
        self.fragments.clone()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.named.load(Ordering::Relaxed) {
            return;
        }
        remove_files(self.table.dataset.clone(), &self.fragments);
    }
}

/// Removes data files that no version names, in the background.
pub(super) fn remove_files(dataset: Arc<Dataset>, fragments: &[Fragment]) {
    let files: Vec<String> = fragments
        .iter()
        .flat_map(|fragment| &fragment.files)
        .map(|file| file.path.clone())
        .collect();
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let Ok(store) = dataset.object_store(None).await else {
            return;
        };
        for file in files {
            // A file that stays is nobody's; a later cleaning finds it.
            let _ = store.delete(&dataset.data_dir().join(file.as_str())).await;
        }
    });
}
