//! What changed in a table between two versions, by Lance's own delta API over stable row ids.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::{LakeError, TableAt};
use crate::ids::LanceVersion;

/// An order-independent digest of a set of row ids: how a replica compares the rows it replaced with the rows that Lance
/// says are gone, in constant memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdDigest {
    pub count: u64,
    sum: u64,
    xor: u64,
}

impl IdDigest {
    /// Adds one id. Adding the same id twice is not the same as adding it once.
    pub fn add(&mut self, id: u64) {
        // The finalizer of SplitMix64, so that neighbouring ids do not cancel out.
        let mut mixed = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        self.count += 1;
        self.sum = self.sum.wrapping_add(mixed);
        self.xor ^= mixed.rotate_left(17);
    }
}

impl TableAt {
    /// Streams the rows written in `(begin, this version]` that are alive at this version. Columns: the table's own, then
    /// `_rowid` and Lance's version columns.
    pub async fn upserts_since(
        &self,
        begin: LanceVersion,
    ) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
        let failed = LakeError::reading("read the delta of", self.name(), begin);
        let stream = self.delta(begin)?.get_upserted_rows().await.map_err(failed)?;
        let name = self.name.clone();
        Ok(stream
            .map(move |batch| batch.map_err(LakeError::storage("read the delta of", &name)))
            .boxed())
    }

    /// Digest of the ids of the rows that were alive at `begin` and are no longer at this version.
    pub async fn deleted_since(&self, begin: LanceVersion) -> Result<IdDigest, LakeError> {
        let failed = || LakeError::reading("read the deleted row ids of", self.name(), begin);
        let mut stream = self.delta(begin)?.get_deleted_row_ids().await.map_err(failed())?;
        let mut digest = IdDigest::default();
        while let Some(batch) = stream.try_next().await.map_err(failed())? {
            for id in batch.column(0).as_primitive::<UInt64Type>().values() {
                digest.add(*id);
            }
        }
        Ok(digest)
    }

    fn delta(&self, begin: LanceVersion) -> Result<lance::dataset::delta::DatasetDelta, LakeError> {
        self.dataset
            .delta()
            .with_begin_version(begin.0)
            .with_end_version(self.version().0)
            .build()
            .map_err(LakeError::reading("read the delta of", self.name(), begin))
    }
}

#[cfg(test)]
mod tests {
    use super::IdDigest;

    fn digest(ids: &[u64]) -> IdDigest {
        let mut digest = IdDigest::default();
        ids.iter().for_each(|id| digest.add(*id));
        digest
    }

    #[test]
    fn a_digest_depends_on_the_ids_and_not_on_their_order() {
        assert_eq!(digest(&[1, 2, 3]), digest(&[3, 1, 2]));
        assert_ne!(digest(&[1, 2, 3]), digest(&[1, 2, 4]));
        assert_ne!(digest(&[1, 4]), digest(&[2, 3]));
        assert_ne!(digest(&[5, 5]), digest(&[]));
    }
}
