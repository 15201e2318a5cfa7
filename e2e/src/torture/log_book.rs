//! Every commit record that ever stood in a store on this machine, as it was first seen: the writer trims its log, and what was
//! committed must be known all the same.
//!
//! Owns: looking into the store's `commits/` often enough. Does not own: what the records mean (`model_check`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::client::Commit;

const LOOK: Duration = Duration::from_millis(100);

type Records = Arc<Mutex<BTreeMap<u64, Commit>>>;

/// Follows a log until it is dropped.
#[derive(Debug)]
pub struct LogBook {
    commits: PathBuf,
    records: Records,
    following: JoinHandle<()>,
}

impl LogBook {
    /// Follows the log of the graph whose root is the directory `store`.
    pub fn follow(store: &Path) -> Self {
        let (commits, records) = (store.join("commits"), Records::default());
        let (directory, noted) = (commits.clone(), records.clone());
        let following = tokio::spawn(async move {
            loop {
                let (directory, noted) = (directory.clone(), noted.clone());
                // It can only have panicked, and then the log has a gap that the comparison finds.
                let _ = tokio::task::spawn_blocking(move || look(&directory, &noted)).await;
                tokio::time::sleep(LOOK).await;
            }
        });
        Self {
            commits,
            records,
            following,
        }
    }

    /// The log so far, oldest first.
    pub fn read(&self) -> Vec<Commit> {
        look(&self.commits, &self.records);
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.values().cloned().collect()
    }
}

impl Drop for LogBook {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Notes what was not noted yet. A record that cannot be read is looked at again.
fn look(directory: &Path, records: &Records) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let seq = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
        let Some(seq) = seq else { continue };
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.contains_key(&seq) {
            continue;
        }
        let read = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(commit) = read {
            records.insert(seq, commit);
        }
    }
}
