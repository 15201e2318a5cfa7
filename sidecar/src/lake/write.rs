//! The writer's way to change a table: rows out by row id and rows in, as one Lance version on top of a known one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatchReader;
use lance::dataset::rowids::load_row_id_sequence;
use lance::dataset::transaction::{Operation, Transaction, UpdateMode};
use lance::dataset::{CommitBuilder, NewColumnTransform};
use lance::table::format::Fragment;

use super::{Lake, LakeError, ManifestDigests, Staged, TableAt};
use crate::ids::{Epoch, LanceVersion, RowId, TxId};

/// Rows to append, read on a blocking thread while Lance writes.
pub type BatchReader = Box<dyn RecordBatchReader + Send>;

/// One commit's change of one table.
#[derive(Default)]
pub struct TableWrite {
    /// Rows to take out: deleted ones and old versions of replaced ones.
    pub delete: Vec<RowId>,
    /// Rows to put in; they get new row ids.
    pub append: Option<BatchReader>,
}

/// Which Slipstream commit a Lance transaction belongs to; kept in its properties for whoever looks at the table.
#[derive(Debug, Clone, Copy)]
pub struct CommitTag {
    pub tx_id: TxId,
    pub epoch: Epoch,
}

impl CommitTag {
    pub(super) fn properties(self) -> HashMap<String, String> {
        HashMap::from([
            ("slipstream.tx_id".to_owned(), self.tx_id.to_string()),
            ("slipstream.epoch".to_owned(), self.epoch.to_string()),
        ])
    }
}

impl TableAt {
    /// Writes `change` as the version right after this one. Nobody sees it until a commit record names it.
    ///
    /// Guarantees: on `Ok` the table's newest version is this one plus one, holds exactly this change and survives a power cut
    /// (`durable`). On any error the newest version is in doubt, and the caller restores before it writes again.
    ///
    /// # Errors
    /// [`LakeError::Interference`] when another writer came in between; [`LakeError::Mismatch`] when a row to delete is not there.
    pub async fn write(&self, change: TableWrite, tag: CommitTag) -> Result<TableAt, LakeError> {
        let staged = match change.append {
            Some(rows) => Some(self.write_files(rows).await?),
            None => None,
        };
        self.write_staged(&change.delete, staged.as_ref(), tag).await
    }

    /// The same with rows that are in data files already.
    ///
    /// # Errors
    /// As [`TableAt::write`].
    pub async fn write_staged(
        &self,
        delete: &[RowId],
        append: Option<&Staged>,
        tag: CommitTag,
    ) -> Result<TableAt, LakeError> {
        let (updated_fragments, removed_fragment_ids) = self.without(delete).await?;
        let new_fragments = append.map(Staged::fragments).unwrap_or_default();
        if delete.is_empty() {
            return self
                .commit(
                    Operation::Append {
                        fragments: new_fragments,
                    },
                    tag,
                )
                .await;
        }
        let operation = Operation::Update {
            removed_fragment_ids,
            updated_fragments,
            new_fragments,
            fields_modified: Vec::new(),
            compacted_sstables: Vec::new(),
            fields_for_preserving_frag_bitmap: Vec::new(),
            update_mode: Some(UpdateMode::RewriteRows),
            inserted_rows_filter: None,
            updated_fragment_offsets: None,
        };
        self.commit(operation, tag).await
    }

    /// Makes this version's content the newest again, as a new version: a new manifest of files that were durable before.
    ///
    /// Only the active writer may call this, after it checked the epoch.
    pub async fn restore(&self) -> Result<TableAt, LakeError> {
        let failed = || LakeError::storage("restore", self.name());
        let mut dataset = self.dataset.as_ref().clone();
        dataset.restore().await.map_err(failed())?;
        self.with(dataset).durable_on(Some(self)).await
    }

    pub(super) async fn commit(&self, operation: Operation, tag: CommitTag) -> Result<TableAt, LakeError> {
        let expected = self.version().0 + 1;
        let transaction = Transaction::new(self.version().0, operation, None);
        let dataset = CommitBuilder::new(self.dataset.clone())
            .with_max_retries(0)
            .with_skip_auto_cleanup(true)
            .with_transaction_properties(tag.properties())
            .execute(transaction)
            .await
            .map_err(|source| self.interference(expected, source))?;
        self.one_above(expected, dataset).await
    }

    /// What Lance refused, told apart: somebody else's version came in between, or storage failed.
    pub(super) fn interference(&self, expected: u64, source: lance::Error) -> LakeError {
        match source {
            lance::Error::CommitConflict { .. }
            | lance::Error::IncompatibleTransaction { .. }
            | lance::Error::RetryableCommitConflict { .. }
            | lance::Error::TooMuchWriteContention { .. } => LakeError::Interference {
                table: self.name.clone(),
                expected,
                found: source.to_string(),
            },
            other => LakeError::storage("write to", &self.name)(other),
        }
    }

    /// The version that came back, made durable. It must be the expected one: Lance rebases over compatible commits of others,
    /// silently.
    pub(super) async fn one_above(
        &self,
        expected: u64,
        dataset: lance::Dataset,
    ) -> Result<TableAt, LakeError> {
        let found = dataset.version().version;
        if found != expected {
            return Err(LakeError::Interference {
                table: self.name.clone(),
                expected,
                found: found.to_string(),
            });
        }
        fail::fail_point!("writer::before_sync", |_| Err(LakeError::NotDurable {
            table: self.name.clone(),
            path: std::path::PathBuf::new(),
            source: std::io::Error::other("stopped at crash point writer::before_sync"),
        }));
        self.with(dataset).durable_on(Some(self)).await
    }

    /// The same table, as `dataset` has it.
    fn with(&self, dataset: lance::Dataset) -> TableAt {
        TableAt {
            name: self.name.clone(),
            dataset: Arc::new(dataset),
        }
    }

    /// The fragments that lose rows: rewritten deletion files, and ids of fragments with no row left.
    async fn without(&self, rows: &[RowId]) -> Result<(Vec<Fragment>, Vec<u64>), LakeError> {
        let failed = || LakeError::storage("delete from", self.name());
        if rows.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let by_fragment = self.locate(rows).await?;
        let (mut updated, mut removed) = (Vec::new(), Vec::new());
        for (fragment_id, offsets) in by_fragment {
            let fragment = self
                .dataset
                .get_fragment(fragment_id as usize)
                .ok_or_else(|| self.mismatch(format!("no fragment {fragment_id}"), "that fragment"))?;
            match fragment.extend_deletions(offsets).await.map_err(failed())? {
                Some(fragment) => updated.push(fragment.metadata().clone()),
                None => removed.push(u64::from(fragment_id)),
            }
        }
        Ok((updated, removed))
    }

    /// Where rows are: offsets by fragment. Reads the fragments' id sequences, which Lance caches and which stay the same from
    /// version to version; Lance's own index of the whole table is built anew for every version.
    async fn locate(&self, rows: &[RowId]) -> Result<BTreeMap<u32, Vec<u32>>, LakeError> {
        let failed = || LakeError::storage("delete from", self.name());
        let mut missing: BTreeSet<u64> = rows.iter().map(|row| row.0).collect();
        let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for fragment in self.dataset.get_fragments() {
            if missing.is_empty() {
                break;
            }
            let sequence = load_row_id_sequence(&self.dataset, fragment.metadata())
                .await
                .map_err(failed())?;
            let Some(range) = sequence.row_id_range() else {
                continue;
            };
            if missing.range(range).next().is_none() {
                continue;
            }
            // A row that an earlier version deleted still has its place in the sequence.
            let deleted = fragment.get_deletion_vector().await.map_err(failed())?;
            let is_live = |at: u32| deleted.as_ref().is_none_or(|deleted| !deleted.contains(at));
            // A fragment that was merged from many has a segment or more of each: each is looked at once, not once per row.
            let mut first = 0;
            for segment in sequence.segments() {
                let candidates: Vec<u64> = segment
                    .range()
                    .map(|range| missing.range(range).copied().collect())
                    .unwrap_or_default();
                for id in candidates {
                    let offset = segment.position(id).and_then(|at| u32::try_from(first + at).ok());
                    if let Some(offset) = offset.filter(|at| is_live(*at)) {
                        found.entry(fragment.id() as u32).or_default().push(offset);
                        missing.remove(&id);
                    }
                }
                first += segment.len();
            }
        }
        match missing.first() {
            None => Ok(found),
            Some(id) => Err(self.mismatch(format!("no row with id {id}"), "that row")),
        }
    }

    pub(super) fn mismatch(&self, found: String, expected: &str) -> LakeError {
        LakeError::Mismatch {
            table: self.name.clone(),
            version: self.version().0,
            found,
            expected: expected.to_owned(),
        }
    }
}

impl Lake {
    /// The writer's base for `name`: the newest version, if it is `committed` or has the committed content restored on top of
    /// stray versions that are in no commit. What a power cut left of such a version is removed first.
    ///
    /// Only the active writer may call this, after its barrier commit.
    ///
    /// # Errors
    /// [`LakeError::Damaged`] when the committed version is not what the commit `recorded`.
    pub async fn settle(
        &self,
        name: &str,
        committed: LanceVersion,
        recorded: &ManifestDigests,
    ) -> Result<TableAt, LakeError> {
        self.remove_torn(name, committed).await?;
        let newest = self.newest(name).await?;
        if newest.version() == committed {
            newest.verify_manifest(recorded)?;
            return Ok(newest);
        }
        tracing::warn!(table = name, newest = %newest.version(), committed = %committed, "restoring the committed version");
        let committed = newest.checkout(committed).await?;
        committed.verify_manifest(recorded)?;
        committed.restore().await
    }
}

impl TableAt {
    /// Adds nullable columns, null in every row, as a new version on top of this one. Rewrites no data.
    ///
    /// # Errors
    /// As [`TableAt::write`].
    pub async fn add_columns(&self, fields: Vec<arrow::datatypes::Field>) -> Result<TableAt, LakeError> {
        let mut dataset = self.dataset.as_ref().clone();
        let columns = Arc::new(arrow::datatypes::Schema::new(fields));
        dataset
            .add_columns(NewColumnTransform::AllNulls(columns), None, None)
            .await
            .map_err(LakeError::storage("add columns to", self.name()))?;
        self.with(dataset).durable_on(Some(self)).await
    }
}
