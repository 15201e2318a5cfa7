//! The old end of the log: what is there, and removing it.

use super::{CommitLog, LogError, key_of, seq_of};
use crate::ids::Seq;

impl CommitLog {
    /// The oldest commit that is still there; it may be a schema's, with a gap after it.
    pub async fn oldest(&self) -> Result<Option<Seq>, LogError> {
        let page = self.store.list("commits/", None, 1).await?;
        page.first().map(|entry| seq_of(&entry.key)).transpose()
    }

    /// At most `limit` commits after `after`, in order; by listing.
    pub async fn listed_after(&self, after: Seq, limit: usize) -> Result<Vec<Seq>, LogError> {
        let page = self.store.list("commits/", Some(&key_of(after)?), limit).await?;
        page.iter().map(|entry| seq_of(&entry.key)).collect()
    }

    /// Removes a record. The caller must remove in ascending order and never the head: then a node whose own commit is still
    /// there knows that none after it is gone.
    pub async fn remove(&self, seq: Seq) -> Result<(), LogError> {
        Ok(self.store.delete(&key_of(seq)?).await?)
    }
}
