//! `kuzu-snapshots/<tx_id>/snapshot-meta.json`: what a snapshot is, stored after everything that it names.
//!
//! ```text
//! kuzu-snapshots/<tx_id>/begun.json           who began it, and the versions that it needs; gone when it is complete
//! kuzu-snapshots/<tx_id>/part-00000.zst …     the database file, cut and compressed
//! kuzu-snapshots/<tx_id>/snapshot-meta.json   last: from here on it is a snapshot
//! ```
//!
//! Owns: these forms, their names, and reading them. Does not own: which snapshots stay (`retention`) or are usable
//! (`bootstrap`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::commit_log::{Position, VersionMap};
use crate::graph::{EngineVersion, Watermark};
use crate::ids::{Epoch, Seq, TxId};
use crate::store::{Entry, Key, Store, StoreError};

/// Below the graph's root.
pub const DIRECTORY: &str = "kuzu-snapshots";
pub(super) const META: &str = "snapshot-meta.json";
pub(super) const BEGUN: &str = "begun.json";
/// The form that is described here.
const FORMAT: u32 = 1;
/// Objects per page of a listing.
const PAGE: usize = 1000;

/// The content of `snapshot-meta.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// Of this form: 1.
    pub format: u32,
    /// The commit that the snapshot holds.
    pub seq: Seq,
    pub tx_id: TxId,
    pub epoch: Epoch,
    /// When the writer made that commit.
    pub timestamp: DateTime<Utc>,
    /// `seq` of the schema's commit.
    pub schema_version: Seq,
    /// Lance versions of that commit: they stay readable while the snapshot is retained.
    pub tables: VersionMap,
    /// Who wrote the file and in which form; only the same reads it.
    pub engine: EngineVersion,
    pub file: SnapshotFile,
    /// In the order of the file's bytes.
    pub parts: Vec<SnapshotPart>,
    /// The replica that took it.
    pub taken_by: String,
    /// When that replica stopped applying for it.
    pub taken_at: DateTime<Utc>,
    /// When its last part was stored and read back.
    pub completed_at: DateTime<Utc>,
    /// BLAKE3 (hex) of this object's JSON with this field empty and without white space.
    #[serde(default)]
    pub checksum: String,
}

/// The database file that the parts are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the whole file, hex.
    pub blake3: String,
}

/// One object with a piece of the file, a zstd frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// `part-00000.zst` …
    pub name: String,
    /// Bytes as stored.
    pub size: u64,
    /// Bytes of the file.
    pub raw_size: u64,
    /// BLAKE3 of the bytes as stored, hex.
    pub blake3: String,
}

/// The content of `begun.json`: a snapshot that may still become one. Its versions are needed already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    pub holder: String,
    pub started_at: DateTime<Utc>,
    pub seq: Seq,
    pub tables: VersionMap,
}

/// What a snapshot keeps from being cleaned and trimmed: the Lance versions in `tables`, the commit record `seq` and all
/// after it.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotPin {
    pub seq: Seq,
    pub tables: VersionMap,
}

impl SnapshotMeta {
    /// Of a snapshot of `watermark` whose parts are stored.
    pub(super) fn new(
        watermark: &Watermark,
        engine: EngineVersion,
        file: SnapshotFile,
        parts: Vec<SnapshotPart>,
        taken_by: String,
        taken_at: DateTime<Utc>,
        completed_at: DateTime<Utc>,
    ) -> Self {
        Self {
            format: FORMAT,
            seq: watermark.position.seq,
            tx_id: watermark.position.tx_id,
            epoch: watermark.epoch,
            timestamp: watermark.timestamp,
            schema_version: watermark.schema_version,
            tables: watermark.tables.clone(),
            engine,
            file,
            parts,
            taken_by,
            taken_at,
            completed_at,
            checksum: String::new(),
        }
    }

    /// The commit that it holds.
    pub fn position(&self) -> Position {
        Position {
            seq: self.seq,
            tx_id: self.tx_id,
        }
    }

    /// Bytes of all parts as stored.
    pub fn stored_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// What it keeps from being cleaned.
    pub fn pin(&self) -> SnapshotPin {
        SnapshotPin {
            seq: self.seq,
            tables: self.tables.clone(),
        }
    }

    /// The object's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut sealed = self.clone();
        sealed.checksum = self.checksum_of_content();
        // Only maps with keys that are not text cannot be written.
        serde_json::to_vec_pretty(&sealed).unwrap_or_default()
    }

    fn checksum_of_content(&self) -> String {
        let mut content = self.clone();
        content.checksum = String::new();
        let bytes = serde_json::to_vec(&content).unwrap_or_default();
        blake3::hash(&bytes).to_hex().to_string()
    }

    /// Reads what is stored as the meta data of the directory `tx_id`.
    pub(super) fn parse(tx_id: &str, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let damaged = |detail: String| SnapshotError::Damaged {
            tx_id: tx_id.to_owned(),
            object: META.to_owned(),
            detail,
        };
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let form: Form = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if form.format > FORMAT {
            return Err(SnapshotError::Unusable {
                tx_id: tx_id.to_owned(),
                detail: format!("it has format {}, this program reads up to {FORMAT}", form.format),
            });
        }
        let meta: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let expected = meta.checksum_of_content();
        if meta.checksum != expected {
            return Err(damaged(format!(
                "its checksum is {}, expected {expected}",
                meta.checksum
            )));
        }
        if meta.tx_id.to_string() != tx_id {
            return Err(damaged(format!("it is of snapshot {}", meta.tx_id)));
        }
        let raw: u64 = meta.parts.iter().map(|part| part.raw_size).sum();
        if raw != meta.file.size {
            return Err(damaged(format!(
                "its parts have {raw} bytes of the file, expected {}",
                meta.file.size
            )));
        }
        Ok(meta)
    }
}

/// Name of the part `index`.
pub(super) fn part_name(index: usize) -> String {
    format!("part-{index:05}.zst")
}

/// Key of an object of the snapshot `tx_id`.
pub(super) fn key(tx_id: &str, object: &str) -> Result<Key, StoreError> {
    Key::new(format!("{DIRECTORY}/{tx_id}/{object}"))
}

/// Reads the meta data of one snapshot; `None` where there is none.
pub(super) async fn read_meta(store: &dyn Store, tx_id: &str) -> Result<Option<SnapshotMeta>, SnapshotError> {
    match store.get(&key(tx_id, META)?).await? {
        Some(object) => SnapshotMeta::parse(tx_id, &object.bytes).map(Some),
        None => Ok(None),
    }
}

/// Every object below `kuzu-snapshots/`, sorted by key.
pub(super) async fn list_objects(store: &dyn Store) -> Result<Vec<Entry>, StoreError> {
    let prefix = format!("{DIRECTORY}/");
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map(|entry| entry.key.clone());
        let page = store.list(&prefix, after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        entries.extend(page);
        if is_last {
            return Ok(entries);
        }
    }
}

/// Directory and object of a key below `kuzu-snapshots/`.
pub(super) fn split(key: &Key) -> Option<(&str, &str)> {
    let rest = key.as_str().strip_prefix(DIRECTORY)?.strip_prefix('/')?;
    rest.split_once('/')
}

/// The complete snapshots, newest first. Damaged meta data is warned about and left out: nothing can be restored from it.
///
/// # Errors
/// When the store does not answer: then nothing is known, and nothing may be cleaned.
pub async fn retained(store: &dyn Store) -> Result<Vec<SnapshotMeta>, SnapshotError> {
    let mut metas = Vec::new();
    for entry in list_objects(store).await? {
        let Some((tx_id, META)) = split(&entry.key) else {
            continue;
        };
        match read_meta(store, tx_id).await {
            Ok(Some(meta)) => metas.push(meta),
            // Removed since the listing.
            Ok(None) => {}
            Err(error) if error.blames_the_snapshot() => tracing::warn!(%error, "left out"),
            Err(error) => return Err(error),
        }
    }
    metas.sort_by_key(|meta| std::cmp::Reverse(meta.seq));
    Ok(metas)
}

/// For the cleaner: what complete snapshots need, and those that are being uploaded.
///
/// # Errors
/// When the store does not answer: then nothing may be cleaned.
pub async fn pins(store: &dyn Store) -> Result<Vec<SnapshotPin>, SnapshotError> {
    let mut pins = Vec::new();
    // Begun ones first: one that is completed meanwhile is then seen twice instead of not at all.
    for entry in list_objects(store).await? {
        let Some((_, BEGUN)) = split(&entry.key) else {
            continue;
        };
        let Some(object) = store.get(&entry.key).await? else {
            continue;
        };
        match serde_json::from_slice::<Begun>(&object.bytes) {
            Ok(begun) => pins.push(SnapshotPin {
                seq: begun.seq,
                tables: begun.tables,
            }),
            Err(error) => tracing::warn!(object = %entry.key, %error, "not readable, left out"),
        }
    }
    pins.extend(retained(store).await?.iter().map(SnapshotMeta::pin));
    Ok(pins)
}

/// A snapshot of commit `seq`, completed at that time.
#[cfg(test)]
pub(super) fn example(seq: u64, completed_at: DateTime<Utc>) -> SnapshotMeta {
    let mut tables = VersionMap::default();
    tables.set("Package", crate::ids::LanceVersion(seq));
    SnapshotMeta {
        format: FORMAT,
        seq: Seq(seq),
        tx_id: TxId::after(TxId::default(), 1_700_000_000_000 + seq),
        epoch: Epoch(1),
        timestamp: completed_at,
        schema_version: Seq(2),
        tables,
        engine: EngineVersion::current(),
        file: SnapshotFile {
            name: "graph.kuzu".to_owned(),
            size: 3,
            blake3: "00".to_owned(),
        },
        parts: vec![SnapshotPart {
            name: part_name(0),
            size: 2,
            raw_size: 3,
            blake3: "11".to_owned(),
        }],
        taken_by: "replica-1".to_owned(),
        taken_at: completed_at,
        completed_at,
        checksum: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> (String, SnapshotMeta) {
        let mut meta = example(7, "2026-01-10T00:00:00Z".parse().unwrap());
        meta.checksum = meta.checksum_of_content();
        (meta.tx_id.to_string(), meta)
    }

    #[test]
    fn meta_data_comes_back_as_it_was() {
        let (tx_id, meta) = meta();
        assert_eq!(SnapshotMeta::parse(&tx_id, &meta.to_bytes()).unwrap(), meta);
    }

    #[test]
    fn any_flipped_bit_that_changes_it_is_found() {
        let (tx_id, meta) = meta();
        let bytes = meta.to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                // White space, and letters of a key that is then missing or of a number that reads the same, may change.
                match SnapshotMeta::parse(&tx_id, &flipped) {
                    Ok(found) => assert_eq!(found, meta, "byte {at}, bit {bit}"),
                    Err(error) => assert!(error.blames_the_snapshot(), "{error}"),
                }
            }
        }
    }

    #[test]
    fn truncated_or_moved_meta_data_is_named() {
        let (tx_id, meta) = meta();
        let bytes = meta.to_bytes();
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let error = SnapshotMeta::parse(&tx_id, &bytes[..length])
                .unwrap_err()
                .to_string();
            assert!(error.contains(&tx_id) && error.contains(META), "{error}");
        }
        let error = SnapshotMeta::parse("elsewhere", &bytes).unwrap_err().to_string();
        assert!(error.contains("it is of snapshot "), "{error}");
    }

    #[test]
    fn a_newer_form_is_unusable_and_not_damaged() {
        let (tx_id, mut meta) = meta();
        meta.format = 2;
        let error = SnapshotMeta::parse(&tx_id, &meta.to_bytes()).unwrap_err();
        assert!(matches!(error, SnapshotError::Unusable { .. }), "{error}");
    }
}
