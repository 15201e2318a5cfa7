//! What is below `kuzu-snapshots/`, told apart: whole snapshots, damaged ones, and what is none (yet, or any more).
//!
//! Whole means: its meta data reads, and a listing shows every part with its size. Content is checked by whoever reads it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::meta::{BEGUN, Begun, META, key, list_objects, read_meta, split};
use super::{SnapshotError, SnapshotMeta};
use crate::store::Store;

/// A directory below `kuzu-snapshots/`.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Name of the directory: the `tx_id` as text.
    pub(super) tx_id: String,
    pub(super) state: FoundState,
    /// Whether `begun.json` is there.
    pub(super) has_begun: bool,
}

/// What the directory holds.
#[derive(Debug, Clone)]
pub(super) enum FoundState {
    Whole(Box<SnapshotMeta>),
    /// There is meta data, but no snapshot can be had from it. Says why.
    Damaged(String),
    /// Meta data of a form that a newer program wrote.
    Foreign(String),
    /// No meta data: being uploaded since then, or left over; without a time, what is left of a deletion.
    Unfinished(Option<DateTime<Utc>>),
}

/// All of them, newest commit first; the rest after them.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog {
    pub(super) found: Vec<Found>,
}

impl Catalog {
    /// Whole ones, newest first.
    pub(super) fn whole(&self) -> impl Iterator<Item = &SnapshotMeta> {
        self.found.iter().filter_map(|found| match &found.state {
            FoundState::Whole(meta) => Some(meta.as_ref()),
            _ => None,
        })
    }

    /// Reads it from the store; `known` spares reading meta data again, which is written once.
    pub(super) async fn read(
        store: &dyn Store,
        known: &mut HashMap<String, SnapshotMeta>,
    ) -> Result<Self, SnapshotError> {
        let mut directories: BTreeMap<String, HashMap<String, u64>> = BTreeMap::new();
        for entry in list_objects(store).await? {
            if let Some((tx_id, object)) = split(&entry.key) {
                let objects = directories.entry(tx_id.to_owned()).or_default();
                objects.insert(object.to_owned(), entry.size);
            }
        }
        known.retain(|tx_id, _| {
            directories
                .get(tx_id)
                .is_some_and(|objects| objects.contains_key(META))
        });
        let mut found = Vec::new();
        for (tx_id, objects) in directories {
            let state = state_of(store, &tx_id, &objects, known).await?;
            let has_begun = objects.contains_key(BEGUN);
            found.push(Found {
                tx_id,
                state,
                has_begun,
            });
        }
        found.sort_by_key(|found| match &found.state {
            FoundState::Whole(meta) => (0, std::cmp::Reverse(meta.seq)),
            _ => (1, std::cmp::Reverse(crate::ids::Seq(0))),
        });
        Ok(Self { found })
    }
}

async fn state_of(
    store: &dyn Store,
    tx_id: &str,
    objects: &HashMap<String, u64>,
    known: &mut HashMap<String, SnapshotMeta>,
) -> Result<FoundState, SnapshotError> {
    if !objects.contains_key(META) {
        let begun = match objects.contains_key(BEGUN) {
            true => store.get(&key(tx_id, BEGUN)?).await?,
            false => None,
        };
        let begun = begun.and_then(|object| serde_json::from_slice::<Begun>(&object.bytes).ok());
        return Ok(FoundState::Unfinished(begun.map(|begun| begun.started_at)));
    }
    let meta = match known.get(tx_id) {
        Some(meta) => meta.clone(),
        None => match read_meta(store, tx_id).await {
            Ok(Some(meta)) => meta,
            // Deleted since the listing.
            Ok(None) => return Ok(FoundState::Unfinished(None)),
            Err(error @ SnapshotError::Unusable { .. }) => return Ok(FoundState::Foreign(error.to_string())),
            Err(error @ SnapshotError::Damaged { .. }) => return Ok(FoundState::Damaged(error.to_string())),
            Err(error) => return Err(error),
        },
    };
    for part in &meta.parts {
        let expected = part.size;
        match objects.get(&part.name) {
            Some(size) if *size == expected => {}
            Some(size) => {
                return Ok(FoundState::Damaged(format!(
                    "snapshot {tx_id} is damaged: {}: it has {size} bytes, expected {expected}",
                    part.name
                )));
            }
            None => {
                return Ok(FoundState::Damaged(format!(
                    "snapshot {tx_id} is damaged: {}: it is missing",
                    part.name
                )));
            }
        }
    }
    known.insert(tx_id.to_owned(), meta.clone());
    Ok(FoundState::Whole(Box::new(meta)))
}
