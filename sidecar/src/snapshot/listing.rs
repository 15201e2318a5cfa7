//! The snapshots in a store, for people: which there are, and whether this program could use them.

use std::sync::Arc;

use serde::Serialize;

use super::catalog::{Catalog, FoundState};
use super::meta::read_meta;
use super::{SnapshotError, SnapshotMeta};
use crate::graph::EngineVersion;
use crate::store::Store;

/// One directory below `kuzu-snapshots/`.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    pub tx_id: String,
    /// None where it is damaged or not complete.
    pub meta: Option<SnapshotMeta>,
    /// Whether a node of this program would try it. Its parts are there with their sizes; whether their content is right is
    /// known only to whoever reads them.
    pub usable: bool,
    /// Why it is not usable.
    pub reason: Option<String>,
}

/// All of them, the newest commit first.
pub async fn list(store: &Arc<dyn Store>) -> Result<Vec<Listed>, SnapshotError> {
    let catalog = Catalog::read(&**store, &mut Default::default()).await?;
    Ok(catalog
        .found
        .into_iter()
        .map(|found| {
            let (meta, reason) = match found.state {
                FoundState::Whole(meta) if meta.engine == EngineVersion::current() => (Some(*meta), None),
                FoundState::Whole(meta) => {
                    let reason = format!("of {}, this is {}", meta.engine, EngineVersion::current());
                    (Some(*meta), Some(reason))
                }
                FoundState::Damaged(why) | FoundState::Foreign(why) => (None, Some(why)),
                FoundState::Unfinished(Some(since)) => (
                    None,
                    Some(format!("not complete; begun at {}", since.format("%F %T UTC"))),
                ),
                FoundState::Unfinished(None) => (None, Some("half removed".to_owned())),
            };
            Listed {
                tx_id: found.tx_id,
                meta,
                usable: reason.is_none(),
                reason,
            }
        })
        .collect())
}

/// The meta data of one snapshot.
///
/// # Errors
/// [`SnapshotError::Damaged`] also where there is none.
pub async fn find(store: &Arc<dyn Store>, tx_id: &str) -> Result<SnapshotMeta, SnapshotError> {
    read_meta(&**store, tx_id)
        .await?
        .ok_or_else(|| SnapshotError::Damaged {
            tx_id: tx_id.to_owned(),
            object: super::meta::META.to_owned(),
            detail: "it is missing".to_owned(),
        })
}
