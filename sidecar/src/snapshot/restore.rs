//! From the store back to a database file: parts are fetched, checked, decompressed and written to their places, several at a
//! time and in any order.
//!
//! Guarantees: on `Ok` the file is on disk, synced, and every part of it had the hash that the meta data names. Memory:
//! `in_flight` parts, and twice as many of their frames.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::parts::{blocking, fetch, places, unpack_into, verify};
use super::{SnapshotError, SnapshotLimits, SnapshotMeta, SnapshotPart};
use crate::graph::DATABASE_FILE;
use crate::store::Store;

/// Parts written between two requests to the system to bring them to disk, so that the last one finds little to do.
const SYNC_PARTS: usize = 4;

/// Writes the database file of a snapshot into `directory`, where there must be none.
pub(super) async fn download(
    store: &Arc<dyn Store>,
    meta: &SnapshotMeta,
    directory: &Path,
    limits: &SnapshotLimits,
) -> Result<(), SnapshotError> {
    fail::fail_point!("restore::before_download", |_| Err(SnapshotError::Crashed(
        "restore::before_download"
    )));
    let (size, path) = (meta.file.size, directory.join(DATABASE_FILE));
    let target = blocking("create the file", move || {
        let file = File::create_new(&path).map_err(SnapshotError::files("create", &path))?;
        file.set_len(size).map_err(SnapshotError::files("size", &path))?;
        Ok(file)
    });
    let target = Arc::new(Target {
        file: target.await?,
        path: directory.join(DATABASE_FILE),
        tx_id: meta.tx_id.to_string(),
        rooms: Mutex::default(),
    });
    // What was fetched waits for its turn to be unpacked: that is the larger half of the memory.
    let turns = Semaphore::new(limits.in_flight);
    let mut written = stream::iter(places(meta))
        .map(|(offset, part)| write_part(store, &target, &turns, part, offset))
        .buffer_unordered(2 * limits.in_flight)
        .enumerate();
    let mut syncing = None;
    while let Some((count, part)) = written.next().await {
        part?;
        let is_idle = syncing.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        if count % SYNC_PARTS == SYNC_PARTS - 1 && is_idle {
            let target = target.clone();
            // Only to have it begin: the one at the end decides.
            syncing = Some(tokio::task::spawn_blocking(move || {
                target.file.sync_data().is_ok()
            }));
        }
    }
    drop(written);
    if let Some(syncing) = syncing {
        // The file must be closed when the engine opens it, or the engine loses its lock when it is (fcntl(2)).
        let _ = syncing.await;
    }
    blocking("sync the file", move || {
        target
            .file
            .sync_all()
            .map_err(SnapshotError::files("sync", &target.path))
    })
    .await
}

/// The file that is being written.
struct Target {
    file: File,
    path: std::path::PathBuf,
    tx_id: String,
    /// Room for unpacked parts, used again.
    rooms: Mutex<Vec<Vec<u8>>>,
}

async fn write_part(
    store: &Arc<dyn Store>,
    target: &Arc<Target>,
    turns: &Semaphore,
    part: SnapshotPart,
    offset: u64,
) -> Result<(), SnapshotError> {
    let stored = fetch(&**store, &target.tx_id, &part).await?;
    // Never closed.
    let _turn = turns.acquire().await;
    let target = target.clone();
    blocking("write a part", move || {
        verify(&target.tx_id, &part, &stored)?;
        let rooms = || target.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut raw = rooms().pop().unwrap_or_default();
        unpack_into(&target.tx_id, &part, &stored, &mut raw)?;
        target
            .file
            .write_all_at(&raw, offset)
            .map_err(SnapshotError::files("write", &target.path))?;
        rooms().push(raw);
        Ok(())
    })
    .await?;
    fail::fail_point!("restore::between_parts", |_| Err(SnapshotError::Crashed(
        "restore::between_parts"
    )));
    Ok(())
}

/// Reads the whole snapshot and checks every hash, that of the whole file too; writes nothing.
///
/// # Errors
/// [`SnapshotError::Damaged`] names the object and what is wrong with it.
pub async fn check(
    store: &Arc<dyn Store>,
    meta: &SnapshotMeta,
    limits: &SnapshotLimits,
) -> Result<(), SnapshotError> {
    let tx_id: Arc<str> = meta.tx_id.to_string().into();
    let mut pieces = stream::iter(places(meta))
        .map(|(_, part)| {
            let tx_id = tx_id.clone();
            async move {
                let stored = fetch(&**store, &tx_id, &part).await?;
                blocking("unpack a part", move || {
                    verify(&tx_id, &part, &stored)?;
                    let mut raw = Vec::new();
                    unpack_into(&tx_id, &part, &stored, &mut raw)?;
                    Ok(raw)
                })
                .await
            }
        })
        .buffered(limits.in_flight);
    let mut hasher = blake3::Hasher::new();
    while let Some(piece) = pieces.try_next().await? {
        hasher = blocking("hash the file", move || {
            hasher.update(&piece);
            Ok(hasher)
        })
        .await?;
    }
    let hash = hasher.finalize().to_hex();
    if hash.as_str() != meta.file.blake3 {
        return Err(SnapshotError::Damaged {
            tx_id: tx_id.to_string(),
            object: meta.file.name.clone(),
            detail: format!("the file's hash is {hash}, expected {}", meta.file.blake3),
        });
    }
    Ok(())
}

/// Restores a snapshot into an empty or missing directory, for people: a Kuzu database of its own, checked by every hash.
pub async fn restore_to(
    store: &Arc<dyn Store>,
    meta: &SnapshotMeta,
    directory: &Path,
    limits: &SnapshotLimits,
) -> Result<(), SnapshotError> {
    std::fs::create_dir_all(directory).map_err(SnapshotError::files("create", directory))?;
    download(store, meta, directory, limits).await?;
    let (path, meta) = (directory.join(DATABASE_FILE), meta.clone());
    blocking("hash the file", move || {
        let failed = |doing| SnapshotError::files(doing, &path);
        let mut hasher = blake3::Hasher::new();
        let file = File::open(&path).map_err(failed("open"))?;
        hasher.update_reader(file).map_err(failed("read"))?;
        let hash = hasher.finalize().to_hex();
        if hash.as_str() == meta.file.blake3 {
            return Ok(());
        }
        Err(SnapshotError::Damaged {
            tx_id: meta.tx_id.to_string(),
            object: meta.file.name.clone(),
            detail: format!(
                "the restored file's hash is {hash}, expected {}",
                meta.file.blake3
            ),
        })
    })
    .await
}
