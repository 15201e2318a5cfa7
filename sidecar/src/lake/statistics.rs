//! What a table's manifest says about its shape: fragments, deleted rows, indexes and the rows they miss. No data is read.

use lance::dataset::Dataset;
use lance::index::DatasetIndexExt;
use lance::table::format::Fragment;

use super::{LakeError, TableAt};
use crate::ids::LanceVersion;

/// One fragment: the rows that one write or one compaction left together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentStatistics {
    pub id: u64,
    /// Rows alive.
    pub rows: u64,
    /// Rows that are deleted and still in the files.
    pub deleted: u64,
}

/// One index that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexStatistics {
    pub name: String,
    /// Rows alive that are in no part of it: they are scanned.
    pub unindexed: u64,
}

impl TableAt {
    /// Every fragment, in the order of the manifest.
    pub fn fragments(&self) -> Vec<FragmentStatistics> {
        self.dataset.fragments().iter().map(statistics_of).collect()
    }

    /// Every index, by name.
    pub async fn indexes(&self) -> Result<Vec<IndexStatistics>, LakeError> {
        let failed = || LakeError::storage("read the indexes of", self.name());
        let indexes = self.dataset.load_indices().await.map_err(failed())?;
        let mut names: Vec<&str> = indexes.iter().map(|index| index.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let missed = |name: &str, fragment: &Fragment| {
            let covers = |index: &lance::table::format::IndexMetadata| {
                index.name == name
                    && index
                        .fragment_bitmap
                        .as_ref()
                        .is_some_and(|covered| covered.contains(fragment.id as u32))
            };
            !indexes.iter().any(covers)
        };
        Ok(names
            .into_iter()
            .map(|name| IndexStatistics {
                name: name.to_owned(),
                unindexed: self
                    .dataset
                    .fragments()
                    .iter()
                    .filter(|fragment| missed(name, fragment))
                    .map(|fragment| statistics_of(fragment).rows)
                    .sum(),
            })
            .collect())
    }

    /// Versions that exist, oldest first; by listing.
    pub async fn versions(&self) -> Result<Vec<LanceVersion>, LakeError> {
        let listed = self.dataset.version_refs().await;
        let listed = listed.map_err(LakeError::storage("list the versions of", self.name()))?;
        Ok(listed
            .iter()
            .map(|version| LanceVersion(version.version))
            .collect())
    }
}

fn statistics_of(fragment: &Fragment) -> FragmentStatistics {
    let physical = fragment.physical_rows.unwrap_or_default() as u64;
    let deleted = fragment
        .deletion_file
        .as_ref()
        .and_then(|file| file.num_deleted_rows)
        .unwrap_or_default() as u64;
    FragmentStatistics {
        id: fragment.id,
        rows: physical.saturating_sub(deleted),
        deleted,
    }
}

/// Whether two manifests mean the same files by a fragment, deleted rows aside.
pub(super) fn same_files(one: &Fragment, other: &Fragment) -> bool {
    let paths = |fragment: &Fragment| -> Vec<String> {
        fragment.files.iter().map(|file| file.path.clone()).collect()
    };
    one.id == other.id && one.physical_rows == other.physical_rows && paths(one) == paths(other)
}

/// The fragment with that id, if the version has it.
pub(super) fn fragment_of(dataset: &Dataset, id: u64) -> Option<&Fragment> {
    let fragments = dataset.fragments();
    // Sorted by id, mostly: a compaction may leave them otherwise.
    fragments.iter().find(|fragment| fragment.id == id)
}
