//! Merging small fragments and leaving out deleted rows, in two halves: the work on a pinned version, and naming its result in
//! a new version on top of whatever the writer committed meanwhile.
//!
//! ```text
//! plan at version v ─> jobs ─> rewrite (new data files, named by nothing) ─> same files in the base? ─> a version names it
//!                                                                       │                          └─> rows deleted since v go
//!                                                                       └─> no: dropped, files removed
//! ```
//!
//! Clients delete and replace rows all the time, so a rewrite that had to be dropped for that would never come to its end on a
//! busy table. What they deleted meanwhile is in the merged files and is deleted there, in the version right after; no
//! commit names the version in between.
//!
//! Rows keep their ids, and their versions as far as a delta can tell them apart (`lineage`), so a delta across a compaction is empty.
//!
//! Crash behaviour: files that no version names are nobody's; dropping a rewrite removes them, a cleaning does it otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lance::dataset::optimize::{CompactionOptions, CompactionTask, RewriteResult, plan_compaction};
use lance::dataset::rowids::load_row_id_sequence;
use lance::dataset::transaction::{Operation, RewriteGroup};
use lance::table::format::Fragment;

use super::lineage;
use super::new_files::data_files;
use super::stage::remove_files;
use super::statistics::{fragment_of, same_files};
use super::{CommitTag, LakeError, TableAt};
use crate::ids::{LanceVersion, RowId};

/// Rows per batch while rewriting: memory, and how long one step keeps a core.
const BATCH_ROWS: usize = 4096;
/// What a rewrite may hold of the storage's answers before it decodes them.
const BUFFER_BYTES: u64 = 16 << 20;

/// What is worth rewriting.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactionLimits {
    /// Rows that fragments are merged up to.
    pub target_rows: u64,
    /// Fragments with a larger share of deleted rows are rewritten; 0 to 1.
    pub deleted_share: f32,
    /// Fragments that stay as they are.
    pub excluded: Vec<u64>,
}

/// Neighbouring fragments that are to become one.
#[derive(Debug)]
pub struct CompactionJob {
    table: TableAt,
    task: CompactionTask,
    /// Every version of the table when the job was planned, ascending.
    existing: Arc<[LanceVersion]>,
}

/// The new files of one job, named by no version yet.
#[derive(Debug)]
pub struct Rewrite {
    table: TableAt,
    result: RewriteResult,
    named: AtomicBool,
}

impl TableAt {
    /// What there is to rewrite at this version; nothing is written.
    pub async fn plan_compaction(&self, limits: &CompactionLimits) -> Result<Vec<CompactionJob>, LakeError> {
        let options = CompactionOptions {
            target_rows_per_fragment: usize::try_from(limits.target_rows).unwrap_or(usize::MAX),
            materialize_deletions_threshold: limits.deleted_share,
            batch_size: Some(BATCH_ROWS),
            io_buffer_size: Some(BUFFER_BYTES),
            num_threads: Some(1),
            excluded_fragment_ids: limits
                .excluded
                .iter()
                .filter_map(|id| u32::try_from(*id).ok())
                .collect(),
            ..CompactionOptions::default()
        };
        let plan = plan_compaction(&self.dataset, &options)
            .await
            .map_err(LakeError::storage("plan the compaction of", self.name()))?;
        if plan.num_tasks() == 0 {
            return Ok(Vec::new());
        }
        let mut existing = self.versions().await?;
        existing.sort_unstable();
        let existing: Arc<[LanceVersion]> = existing.into();
        let job = |task| CompactionJob {
            table: self.clone(),
            task,
            existing: existing.clone(),
        };
        Ok(plan.compaction_tasks().map(job).collect())
    }
}

impl CompactionJob {
    /// Fragments that go.
    pub fn fragments(&self) -> usize {
        self.task.task.fragments.len()
    }

    /// Writes the merged files, down to the disk. Changes no version; memory is a few batches.
    ///
    /// # Errors
    /// [`LakeError::Storage`]; what was written until then is left to a cleaning. [`LakeError::NotDurable`]; the files are removed.
    pub async fn run(self) -> Result<Rewrite, LakeError> {
        let failed = LakeError::storage("compact", self.table.name());
        let result = self.task.execute(&self.table.dataset).await.map_err(failed)?;
        let mut rewrite = Rewrite {
            table: self.table,
            result,
            named: AtomicBool::new(false),
        };
        for fragment in &mut rewrite.result.new_fragments {
            let failed = LakeError::storage("compact", rewrite.table.name());
            lineage::shorten(fragment, &self.existing).map_err(failed)?;
        }
        let written = data_files(&rewrite.result.new_fragments);
        rewrite.table.sync_ahead(written).await?;
        Ok(rewrite)
    }
}

impl Rewrite {
    /// Whether the files that were rewritten are still those of `base`; rows of them may have been deleted since, even all.
    pub fn fits(&self, base: &TableAt) -> bool {
        let now = |old: &Fragment| fragment_of(&base.dataset, old.id);
        let mut originals = self.result.original_fragments.iter();
        let all = originals.all(|old| now(old).is_none_or(|now| same_files(old, now)));
        all && self
            .result
            .original_fragments
            .iter()
            .any(|old| now(old).is_some())
    }

    /// Rows that were rewritten and that `base` does not hold any more.
    async fn deleted_since(&self, base: &TableAt) -> Result<Vec<RowId>, LakeError> {
        let failed = || LakeError::storage("compact", base.name());
        let mut gone = Vec::new();
        for old in &self.result.original_fragments {
            let now = fragment_of(&base.dataset, old.id);
            if now.is_some_and(|now| now.deletion_file == old.deletion_file) {
                continue;
            }
            let planned = self.table.dataset.get_fragment(old.id as usize);
            let planned = planned.ok_or_else(|| base.mismatch(format!("no fragment {}", old.id), "it"))?;
            let before = planned.get_deletion_vector().await.map_err(failed())?;
            let after = match base.dataset.get_fragment(old.id as usize) {
                Some(now) => Some(now.get_deletion_vector().await.map_err(failed())?),
                // Its last row is gone, and the fragment with it.
                None => None,
            };
            let sequence = load_row_id_sequence(&self.table.dataset, old)
                .await
                .map_err(failed())?;
            for (offset, id) in (0_u32..).zip(sequence.iter()) {
                let was = before.as_ref().is_some_and(|deleted| deleted.contains(offset));
                let is = after
                    .as_ref()
                    .is_none_or(|now| now.as_ref().is_some_and(|deleted| deleted.contains(offset)));
                if is && !was {
                    gone.push(RowId(id));
                }
            }
        }
        Ok(gone)
    }

    /// Fragments that go.
    pub fn fragments(&self) -> usize {
        self.result.original_fragments.len()
    }
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        if !self.named.load(Ordering::Relaxed) {
            remove_files(self.table.dataset.clone(), &self.result.new_fragments);
        }
    }
}

impl TableAt {
    /// Names rewritten files in place of the old ones. Every rewrite must fit this version.
    ///
    /// One version on top of this one; one more before it where the table has indexes, which must be told the new fragments'
    /// ids, and one more after it where rows were deleted since the rewrite.
    ///
    /// An index that stores places instead of row ids (a B-tree) forgets the rewritten rows; the next update of indexes
    /// brings them back, and until then they are scanned.
    ///
    /// # Errors
    /// As [`TableAt::write`].
    pub async fn replace_fragments(
        &self,
        rewrites: &[Rewrite],
        tag: CommitTag,
    ) -> Result<TableAt, LakeError> {
        let has_indexes = !self.indexes().await?.is_empty();
        let mut groups: Vec<RewriteGroup> = rewrites.iter().map(|rewrite| self.group_of(rewrite)).collect();
        let mut deleted = Vec::new();
        for rewrite in rewrites {
            deleted.extend(rewrite.deleted_since(self).await?);
        }
        let mut base = self.clone();
        if has_indexes {
            let wanted: usize = groups.iter().map(|group| group.new_fragments.len()).sum();
            let num_fragments = u32::try_from(wanted).unwrap_or(u32::MAX);
            base = base
                .commit(Operation::ReserveFragments { num_fragments }, tag)
                .await?;
            let end = base.dataset.manifest().max_fragment_id.map_or(0, u64::from) + 1;
            let ids = end.saturating_sub(u64::from(num_fragments))..end;
            let fragments = groups.iter_mut().flat_map(|group| &mut group.new_fragments);
            fragments.zip(ids).for_each(|(fragment, id)| fragment.id = id);
        }
        for rewrite in rewrites {
            // From here on a version may name the files: they are not ours to remove any more.
            rewrite.named.store(true, Ordering::Relaxed);
        }
        let operation = Operation::Rewrite {
            groups,
            rewritten_indices: Vec::new(),
            frag_reuse_index: None,
        };
        let merged = base.commit(operation, tag).await?;
        if deleted.is_empty() {
            return Ok(merged);
        }
        merged.write_staged(&deleted, None, tag).await
    }

    fn group_of(&self, rewrite: &Rewrite) -> RewriteGroup {
        let fresh = |fragment: &Fragment| Fragment {
            id: 0,
            ..fragment.clone()
        };
        let originals = rewrite.result.original_fragments.iter();
        RewriteGroup {
            // As they are now; those whose last row is gone are not there any more.
            old_fragments: originals
                .filter_map(|old| fragment_of(&self.dataset, old.id).cloned())
                .collect(),
            new_fragments: rewrite.result.new_fragments.iter().map(fresh).collect(),
        }
    }
}
