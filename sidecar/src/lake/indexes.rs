//! Lance indexes on the properties that the resource names: trained on a pinned version, named by a new version later.
//!
//! | declared | index | |
//! | --- | --- | --- |
//! | `scalar` | B-tree | |
//! | `fullText` | inverted, words with their positions left out | |
//! | `vector` | IVF_PQ; IVF_FLAT where the dimension is no multiple of 8 | L2; none below a number of rows: a scan is as fast |
//!
//! Crash behaviour: index files that no version names are nobody's; a cleaning removes them.

use std::any::Any;

use crds::IndexKind;
use lance::dataset::Dataset;
use lance::dataset::transaction::Operation;
use lance::index::optimize::{IndexSegmentResult, commit_optimize_indices, plan_optimize_indices};
use lance::index::vector::VectorIndexParams;
use lance::index::{CreateIndexBuilder, DatasetIndexExt, IndexParams};
use lance::table::format::IndexMetadata;
use lancedb::DistanceType;
use lancedb::index::scalar::InvertedIndexParams;
use lancedb::table::OptimizeOptions;

use super::new_files::index_directory;
use super::statistics::{fragment_of, same_files};
use super::{CommitTag, LakeError, TableAt};

/// Rows per partition of a vector index, about.
const PARTITION_ROWS: u64 = 4096;
/// Rounds of k-means for the product quantizer.
const QUANTIZER_ROUNDS: usize = 50;

/// An index that a table should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexWish {
    pub column: String,
    pub kind: IndexKind,
    /// Of a vector.
    pub dimension: Option<u32>,
}

impl IndexWish {
    /// Its name in Lance: says the kind, so that another kind is another index.
    pub fn name(&self) -> String {
        format!("{}_{}", self.column, self.kind)
    }
}

/// An index, or a part of one, that no version names yet.
#[derive(Debug)]
pub struct BuiltIndex {
    name: String,
    planned: TableAt,
    built: Built,
}

#[derive(Debug)]
enum Built {
    /// All of it.
    Whole(Box<IndexMetadata>),
    /// The rows that were not in it, together with its newest part.
    Update(Vec<IndexSegmentResult>),
}

/// What a scalar index is made with: nothing but its type.
struct ScalarParams;

impl IndexParams for ScalarParams {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn index_name(&self) -> &str {
        "__lance_scalar_index"
    }
}

impl BuiltIndex {
    /// Name of the index.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is about files that `base` still has.
    pub fn fits(&self, base: &TableAt) -> bool {
        let covered = |index: &IndexMetadata, fragment: u64| {
            let bitmap = index.fragment_bitmap.as_ref();
            bitmap.is_some_and(|bitmap| bitmap.contains(fragment as u32))
        };
        let about = |index: &IndexMetadata| {
            self.planned
                .dataset
                .fragments()
                .iter()
                .filter(|old| covered(index, old.id))
                // One that lost its last row is gone, and the index's entries for it find nothing.
                .all(|old| fragment_of(&base.dataset, old.id).is_none_or(|now| same_files(old, now)))
        };
        match &self.built {
            Built::Whole(index) => about(index),
            Built::Update(results) => results.iter().all(|result| about(&result.segment)),
        }
    }
}

impl TableAt {
    /// Trains an index on all rows of this version. Changes no version.
    pub async fn build_index(&self, wish: &IndexWish) -> Result<BuiltIndex, LakeError> {
        let failed = || LakeError::storage("index", self.name());
        let rows = self.count_rows().await?;
        let mut dataset: Dataset = self.dataset.as_ref().clone();
        let (kind, params): (&str, Box<dyn IndexParams>) = match wish.kind {
            IndexKind::Scalar => ("BTREE", Box::new(ScalarParams)),
            IndexKind::FullText => ("INVERTED", Box::new(InvertedIndexParams::default())),
            IndexKind::Vector => {
                let partitions = usize::try_from((rows / PARTITION_ROWS).max(1)).unwrap_or(1);
                let dimension = wish.dimension.unwrap_or_default() as usize;
                let metric = DistanceType::L2.into();
                if dimension.is_multiple_of(8) && dimension > 0 {
                    let parts = if dimension.is_multiple_of(16) {
                        dimension / 16
                    } else {
                        dimension / 8
                    };
                    let params = VectorIndexParams::ivf_pq(partitions, 8, parts, metric, QUANTIZER_ROUNDS);
                    ("IVF_PQ", Box::new(params))
                } else {
                    (
                        "IVF_FLAT",
                        Box::new(VectorIndexParams::ivf_flat(partitions, metric)),
                    )
                }
            }
        };
        let kind = kind.try_into().map_err(failed())?;
        let index = CreateIndexBuilder::new(&mut dataset, &[&wish.column], kind, params.as_ref())
            .name(wish.name())
            .replace(true)
            .execute_uncommitted()
            .await
            .map_err(failed())?;
        self.sync_ahead(index_directory(&index).into_iter().collect())
            .await?;
        Ok(BuiltIndex {
            name: wish.name(),
            planned: self.clone(),
            built: Built::Whole(Box::new(index)),
        })
    }

    /// Brings the rows of this version that are not in an index into it. Changes no version. `None`: there is nothing to do.
    pub async fn update_index(&self, name: &str) -> Result<Option<BuiltIndex>, LakeError> {
        let failed = || LakeError::storage("update an index of", self.name());
        let plan = plan_optimize_indices(&self.dataset, &update_options(name))
            .await
            .map_err(failed())?;
        let mut built = Vec::new();
        for task in &plan.tasks {
            built.extend(task.execute(&self.dataset).await.map_err(failed())?);
        }
        let mut results = Vec::new();
        for merge in &plan.merges {
            results.extend(merge.execute(&self.dataset, &built).await.map_err(failed())?);
        }
        let written = results
            .iter()
            .filter_map(|result| index_directory(&result.segment));
        self.sync_ahead(written.collect()).await?;
        Ok((!results.is_empty()).then(|| BuiltIndex {
            name: name.to_owned(),
            planned: self.clone(),
            built: Built::Update(results),
        }))
    }

    /// Names a built index in one version on top of this one, in place of the index with its name. It must fit this version.
    ///
    /// # Errors
    /// As [`TableAt::write`].
    pub async fn take_index(&self, index: &BuiltIndex, tag: CommitTag) -> Result<TableAt, LakeError> {
        match &index.built {
            Built::Whole(new) => {
                self.change_indexes(vec![new.as_ref().clone()], &index.name, tag)
                    .await
            }
            Built::Update(results) => {
                let expected = self.version().0 + 1;
                let mut dataset = self.dataset.as_ref().clone();
                let options = update_options(&index.name).transaction_properties(tag.properties());
                commit_optimize_indices(&mut dataset, results.clone(), &options)
                    .await
                    .map_err(|source| self.interference(expected, source))?;
                self.one_above(expected, dataset).await
            }
        }
    }

    /// Forgets an index, in one version on top of this one. Its files go when no version names them.
    ///
    /// # Errors
    /// As [`TableAt::write`].
    pub async fn drop_index(&self, name: &str, tag: CommitTag) -> Result<TableAt, LakeError> {
        self.change_indexes(Vec::new(), name, tag).await
    }

    async fn change_indexes(
        &self,
        new_indices: Vec<IndexMetadata>,
        replaced: &str,
        tag: CommitTag,
    ) -> Result<TableAt, LakeError> {
        let failed = || LakeError::storage("read the indexes of", self.name());
        let indexes = self.dataset.load_indices().await.map_err(failed())?;
        let removed = indexes.iter().filter(|index| index.name == replaced);
        let operation = Operation::CreateIndex {
            new_indices,
            removed_indices: removed.cloned().collect(),
        };
        self.commit(operation, tag).await
    }
}

/// One part per index: the missing rows and the newest part become one.
fn update_options(name: &str) -> OptimizeOptions {
    OptimizeOptions::merge(1).index_names(vec![name.to_owned()])
}
