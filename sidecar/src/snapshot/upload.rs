//! From a frozen copy to a snapshot in the store: `begun.json`, the parts, the meta data last.
//!
//! ```text
//! copy ─ read, hash (one thread) ─> zstd, put, read back (several parts at a time) ─> duty still held? ─> meta data
//! ```
//!
//! Every part is read back before the meta data is written: what has meta data was whole once. Memory: `in_flight` + 2 parts
//! and their frames. Crash behaviour: without meta data it is no snapshot; retention removes it.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::duty::Duty;
use super::freeze::Frozen;
use super::meta::{BEGUN, Begun, DIRECTORY, META, key};
use super::parts::store_part;
use super::patient::Patient;
use super::{SnapshotError, SnapshotFile, SnapshotLimits, SnapshotMeta, SnapshotPart};
use crate::clock::Clock;
use crate::graph::{DATABASE_FILE, EngineVersion};
use crate::store::{Key, Store};

/// Objects of a snapshot that are no parts, with room for those of another attempt.
const OTHERS: usize = 1000;

/// What an upload works with.
pub(super) struct Upload {
    pub(super) store: Arc<dyn Store>,
    pub(super) holder: String,
    pub(super) limits: SnapshotLimits,
    pub(super) clock: Clock,
}

impl Upload {
    /// Uploads it; on `Ok` it is a snapshot, whole and verified.
    pub(super) async fn run(
        &self,
        frozen: &Frozen,
        duty: &mut Duty,
        cancel: &CancellationToken,
    ) -> Result<SnapshotMeta, SnapshotError> {
        let tx_id = frozen.watermark.position.tx_id.to_string();
        let uploaded = tokio::select! {
            sent = self.send(&tx_id, frozen) => sent,
            lost = duty.keep() => Err(lost),
            () = cancel.cancelled() => Err(SnapshotError::Cancelled),
        };
        let (file, parts) = uploaded?;
        // Whoever lost the duty may have had its parts removed.
        duty.renew().await?;
        fail::fail_point!("snapshot::before_meta", |_| Err(SnapshotError::Crashed(
            "snapshot::before_meta"
        )));
        let meta = SnapshotMeta::new(
            &frozen.watermark,
            EngineVersion::current(),
            file,
            parts,
            self.holder.clone(),
            frozen.taken_at,
            self.clock.now(),
        );
        self.complete(&tx_id, &meta).await?;
        Ok(meta)
    }

    async fn send(
        &self,
        tx_id: &str,
        frozen: &Frozen,
    ) -> Result<(SnapshotFile, Vec<SnapshotPart>), SnapshotError> {
        // What an earlier attempt left must not be taken for a part of this one.
        remove(&*self.store, tx_id).await?;
        let begun = Begun {
            holder: self.holder.clone(),
            started_at: self.clock.now(),
            seq: frozen.watermark.position.seq,
            tables: frozen.watermark.tables.clone(),
        };
        let begun = Bytes::from(serde_json::to_vec(&begun).unwrap_or_default());
        let begun_key = key(tx_id, BEGUN)?;
        Patient(&*self.store).put(&begun_key, &begun).await?;
        fail::fail_point!("snapshot::before_parts", |_| Err(SnapshotError::Crashed(
            "snapshot::before_parts"
        )));
        let (pieces, receiver) = mpsc::channel(1);
        let (path, part_bytes) = (frozen.file(), self.limits.part_bytes);
        let reading = tokio::task::spawn_blocking(move || read(path, part_bytes, &pieces));
        let sent: Result<Vec<SnapshotPart>, SnapshotError> = ReceiverStream::new(receiver)
            .enumerate()
            .map(|(index, piece)| self.send_part(tx_id, index, piece))
            .buffered(self.limits.in_flight)
            .try_collect()
            .await;
        let file = reading.await.map_err(|error| SnapshotError::Internal {
            doing: "read the copy of the graph",
            detail: error.to_string(),
        });
        // Where sending failed, the reader saw only that nobody listens any more.
        let parts = sent?;
        Ok((file??, parts))
    }

    async fn send_part(
        &self,
        tx_id: &str,
        index: usize,
        piece: Vec<u8>,
    ) -> Result<SnapshotPart, SnapshotError> {
        let part = store_part(&*self.store, tx_id, index, piece, self.limits.compression).await?;
        fail::fail_point!("snapshot::between_parts", |_| Err(SnapshotError::Crashed(
            "snapshot::between_parts"
        )));
        Ok(part)
    }

    /// Writes the meta data, and looks whether all it names is there still: a holder that stalled for long may have been
    /// cleaned up after.
    async fn complete(&self, tx_id: &str, meta: &SnapshotMeta) -> Result<(), SnapshotError> {
        let (meta_key, bytes) = (key(tx_id, META)?, Bytes::from(meta.to_bytes()));
        let store = Patient(&*self.store);
        while !store.create(&meta_key, &bytes).await? {
            // Of a holder that lost the duty to us, for parts that are not there any more.
            store.delete(&meta_key).await?;
        }
        fail::fail_point!("snapshot::after_meta", |_| Err(SnapshotError::Crashed(
            "snapshot::after_meta"
        )));
        let prefix = format!("{DIRECTORY}/{tx_id}/");
        let listed = store.list(&prefix, meta.parts.len() + OTHERS).await?;
        let sizes = meta.parts.iter().map(|part| (part.name.as_str(), part.size));
        for (name, size) in sizes.chain([(META, bytes.len() as u64)]) {
            let object = key(tx_id, name)?;
            if !listed
                .iter()
                .any(|entry| entry.key == object && entry.size == size)
            {
                // Not what another may have put there meanwhile.
                if store
                    .get(&meta_key)
                    .await?
                    .is_some_and(|found| found.bytes == bytes)
                {
                    store.delete(&meta_key).await?;
                }
                return Err(SnapshotError::Damaged {
                    tx_id: tx_id.to_owned(),
                    object: name.to_owned(),
                    detail: "it was removed while the snapshot was being taken".to_owned(),
                });
            }
        }
        let begun = key(tx_id, BEGUN)?;
        Ok(store.delete(&begun).await?)
    }
}

/// Removes everything of a snapshot, its meta data first, so that half of it is never taken for a whole one.
pub(super) async fn remove(store: &dyn Store, tx_id: &str) -> Result<(), SnapshotError> {
    let meta = key(tx_id, META)?;
    Patient(store).delete(&meta).await?;
    fail::fail_point!("snapshot::between_deletes", |_| Err(SnapshotError::Crashed(
        "snapshot::between_deletes"
    )));
    let directory = Key::new(format!("{DIRECTORY}/{tx_id}"))?;
    Ok(Patient(store).remove_all(&directory).await?)
}

/// Cuts the file into pieces and hashes it. Blocks.
fn read(
    path: PathBuf,
    part_bytes: usize,
    pieces: &mpsc::Sender<Vec<u8>>,
) -> Result<SnapshotFile, SnapshotError> {
    let failed = |doing| SnapshotError::files(doing, &path);
    let mut file = std::fs::File::open(&path).map_err(failed("open"))?;
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    loop {
        let mut piece = Vec::with_capacity(part_bytes);
        let read = (&mut file)
            .take(part_bytes as u64)
            .read_to_end(&mut piece)
            .map_err(failed("read"))?;
        if read == 0 {
            break;
        }
        hasher.update(&piece);
        size += read as u64;
        if pieces.blocking_send(piece).is_err() {
            return Err(SnapshotError::Cancelled);
        }
    }
    Ok(SnapshotFile {
        name: DATABASE_FILE.to_owned(),
        size,
        blake3: hasher.finalize().to_hex().to_string(),
    })
}
