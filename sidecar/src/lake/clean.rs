//! Removing versions of a table that nobody needs any more, and the files that only those named.
//!
//! Crash behaviour: a version whose manifest is gone is gone; files that were only its own and are still there are removed by
//! a later cleaning, seven days after they were written: until then Lance cannot tell them from files of a write under way.
//!
//! Owns: the removal. Does not own: which versions are needed (`optimizer::pins`).

use lance::dataset::cleanup::CleanupPolicyBuilder;

use super::{LakeError, TableAt};
use crate::ids::LanceVersion;

/// Deletions at the same time.
const DELETIONS: usize = 8;

/// What a cleaning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    pub versions: u64,
    pub bytes: u64,
    /// Files that could not be deleted; a later cleaning finds them again.
    pub failed: u64,
}

impl TableAt {
    /// Removes exactly `versions`; never this version or a newer one.
    ///
    /// Which versions go is decided by the caller from a list that was made before it read the pins, so what is written
    /// meanwhile, by whomever, is not among them.
    ///
    /// # Errors
    /// [`LakeError::Storage`]; some may be gone then.
    pub async fn clean(&self, versions: &[LanceVersion]) -> Result<Cleaned, LakeError> {
        let failed = || LakeError::storage("clean", self.name());
        let versions: Vec<u64> = versions
            .iter()
            .filter(|version| **version < self.version())
            .map(|version| version.0)
            .collect();
        if versions.is_empty() {
            return Ok(Cleaned::default());
        }
        let policy = CleanupPolicyBuilder::default()
            .versions(versions)
            .map_err(failed())?
            .error_if_tagged_old_versions(false)
            .build();
        let removed = self
            .dataset
            .cleanup(policy)
            .with_delete_concurrency(DELETIONS)
            .map_err(failed())?
            .execute()
            .await
            .map_err(failed())?;
        Ok(Cleaned {
            versions: removed.old_versions,
            bytes: removed.bytes_removed,
            failed: removed.failed_deletes,
        })
    }
}
