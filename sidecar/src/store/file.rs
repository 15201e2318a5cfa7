//! The `file` backend: the object `a/b` is the file `<root>/a/b`, for one machine or a volume that several pods share.
//!
//! Owns: everything under the root that is an object, `<root>/.locks/`, and temporary files named `.tmp-…`.
//! Does not own: the listing order (`file_list.rs`), what crashes left behind (`file_leftovers.rs`).
//!
//! How a write survives crashes: the content goes to a temporary file beside the target and is synced; then one atomic
//! step makes it the object (`link` for create-only, `rename` otherwise); then the directory is synced. A crash leaves
//! the object as it was or as it shall be, and perhaps a temporary file, which nobody reads or lists, and which goes when
//! somebody writes to that directory an hour later. A full disk fails the first step, so it leaves no half object either.
//!
//! `put`, `put_if_match` and `delete` of a key exclude each other by an advisory lock on one of 256 files in `.locks/`,
//! chosen by the key's hash. `put_if_absent` needs none: `link` fails if the target exists.

use std::collections::HashSet;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::file_leftovers::{TEMP_PREFIX, sweep};
use super::{ETag, Entry, Key, Object, Put, Store, StoreError};
use super::{file_list, file_tree};

const LOCKS_DIR: &str = ".locks";
/// How long to wait for a lock: its holder only syncs a directory, so a longer wait means a stopped process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct FileStore {
    files: Arc<Files>,
}

impl FileStore {
    /// Opens a root, creating it if it is missing.
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        let files = Files {
            root: root.to_owned(),
            durable_dirs: Mutex::default(),
            unsynced_dirs: Mutex::default(),
        };
        create_dir_durably(&root.join(LOCKS_DIR), None).map_err(failed("create", root))?;
        Ok(Self {
            files: Arc::new(files),
        })
    }

    /// Runs a write off the async threads. It goes on when the caller is dropped.
    async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &Key,
        work: impl FnOnce(&Files, &Key) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (files, owned_key) = (Arc::clone(&self.files), key.clone());
        match tokio::task::spawn_blocking(move || work(&files, &owned_key)).await {
            Ok(result) => result,
            Err(panicked) => Err(unknown(action, &self.files.path(key))(panicked)),
        }
    }
}

#[async_trait]
impl Store for FileStore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let (files, owned_key) = (Arc::clone(&self.files), key.clone());
        tokio::task::spawn_blocking(move || files.get(&owned_key))
            .await
            .unwrap_or_else(|panicked| Err(failed("read", &self.files.path(key))(io::Error::other(panicked))))
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<ETag, StoreError> {
        self.write("write", key, move |files, key| files.put(key, &bytes))
            .await
    }

    async fn put_if_absent(&self, key: &Key, bytes: Bytes) -> Result<Put, StoreError> {
        self.write("create", key, move |files, key| files.put_if_absent(key, &bytes))
            .await
    }

    async fn put_if_match(&self, key: &Key, expected: &ETag, bytes: Bytes) -> Result<Put, StoreError> {
        let expected = expected.clone();
        self.write("replace", key, move |files, key| {
            files.put_if_match(key, &expected, &bytes)
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (files, prefix, after) = (Arc::clone(&self.files), prefix.to_owned(), after.cloned());
        let place = files.root.join(&prefix);
        tokio::task::spawn_blocking(move || file_list::list(&files.root, &prefix, after.as_ref(), limit))
            .await
            .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
            .map_err(failed("list", &place))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.write("delete", key, Files::delete).await
    }

    async fn remove_below(&self, dir: &Key, limit: usize) -> Result<usize, StoreError> {
        self.write("delete what is below", dir, move |files, dir| {
            let path = files.path(dir);
            file_tree::remove(&path, limit).map_err(failed("delete what is below", &path))
        })
        .await
    }

    fn local_dir(&self) -> Option<&Path> {
        Some(&self.files.root)
    }
}

/// The blocking half.
#[derive(Debug)]
struct Files {
    root: PathBuf,
    /// Directories this handle has made durable, up to the root.
    durable_dirs: Mutex<HashSet<PathBuf>>,
    /// Directories with an object whose name may not survive a power cut, as a sync failed.
    unsynced_dirs: Mutex<HashSet<PathBuf>>,
}

impl Files {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let path = self.path(key);
        // Whoever reads back to learn what became of a write must not take for durable what is not.
        self.sync_again(&path).map_err(failed("read", &path))?;
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Object {
                etag: ETag::of_content(&bytes),
                bytes: bytes.into(),
            })),
            Err(error) if is_no_object(&error) => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn put(&self, key: &Key, bytes: &[u8]) -> Result<ETag, StoreError> {
        let temp = self.write_temp(key, bytes)?;
        let _lock = self.lock(key)?;
        self.rename(key, temp)?;
        Ok(ETag::of_content(bytes))
    }

    fn put_if_absent(&self, key: &Key, bytes: &[u8]) -> Result<Put, StoreError> {
        let path = self.path(key);
        let temp = self.write_temp(key, bytes)?;
        if let Err(error) = fs::hard_link(temp.path(), &path) {
            // A network file system may repeat a request whose answer got lost, and then report an error for a link
            // that was made; the link count tells (open(2), on O_EXCL).
            let links = temp
                .as_file()
                .metadata()
                .map_err(unknown("create", &path))?
                .nlink();
            match error.kind() {
                _ if links > 1 => {}
                ErrorKind::AlreadyExists => return Ok(Put::Refused),
                _ => return Err(failed("create", &path)(error)),
            }
        }
        self.sync(&path).map_err(unknown("create", &path))?;
        Ok(Put::Stored(ETag::of_content(bytes)))
    }

    fn put_if_match(&self, key: &Key, expected: &ETag, bytes: &[u8]) -> Result<Put, StoreError> {
        let temp = self.write_temp(key, bytes)?;
        let _lock = self.lock(key)?;
        if self.get(key)?.is_none_or(|object| object.etag != *expected) {
            return Ok(Put::Refused);
        }
        self.rename(key, temp)?;
        Ok(Put::Stored(ETag::of_content(bytes)))
    }

    /// Directories stay, so that no writer finds its directory gone between two steps.
    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let path = self.path(key);
        let _lock = self.lock(key)?;
        match fs::remove_file(&path) {
            Ok(()) => self.sync(&path).map_err(unknown("delete", &path)),
            Err(error) if is_no_object(&error) => Ok(()),
            Err(error) => Err(failed("delete", &path)(error)),
        }
    }

    /// Writes and syncs a temporary file beside the target. Dropping it removes it.
    fn write_temp(&self, key: &Key, bytes: &[u8]) -> Result<NamedTempFile, StoreError> {
        let path = self.path(key);
        let dir = path.parent().unwrap_or(&self.root);
        let write = || {
            self.make_dir_durable(dir)?;
            let mut temp = tempfile::Builder::new()
                .prefix(TEMP_PREFIX)
                .permissions(Permissions::from_mode(0o666)) // as for ordinary files, less the umask
                .tempfile_in(dir)?;
            temp.write_all(bytes)?;
            temp.as_file().sync_all()?;
            Ok(temp)
        };
        write().map_err(failed("write a temporary file for", &path))
    }

    fn make_dir_durable(&self, dir: &Path) -> io::Result<()> {
        let durable = || self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner);
        if !(durable().contains(dir) && dir.is_dir()) {
            create_dir_durably(dir, Some(&self.root))?;
            if durable().insert(dir.to_owned()) {
                sweep(dir, SystemTime::now());
            }
        }
        Ok(())
    }

    fn rename(&self, key: &Key, temp: NamedTempFile) -> Result<(), StoreError> {
        let path = self.path(key);
        temp.persist(&path)
            .map_err(|refused| failed("write", &path)(refused.error))?;
        self.sync(&path).map_err(unknown("write", &path))
    }

    /// Makes the name of an object durable. Where that fails, reads below that directory fail too until it succeeds.
    fn sync(&self, path: &Path) -> io::Result<()> {
        let synced = sync_parent(path);
        if let (Err(_), Some(dir)) = (&synced, path.parent()) {
            self.unsynced().insert(dir.to_owned());
        }
        synced
    }

    fn sync_again(&self, path: &Path) -> io::Result<()> {
        let Some(dir) = path.parent() else { return Ok(()) };
        if self.unsynced().contains(dir) {
            sync_parent(path)?;
            self.unsynced().remove(dir);
        }
        Ok(())
    }

    fn unsynced(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.unsynced_dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the key's lock; it is released when the file is dropped, or its process dies.
    fn lock(&self, key: &Key) -> Result<File, StoreError> {
        let stripe = hex::encode(&Sha256::digest(key.as_str())[..1]);
        let path = self.root.join(LOCKS_DIR).join(stripe);
        let wait = || {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            let deadline = Instant::now() + LOCK_TIMEOUT;
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(file),
                    Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                        std::thread::sleep(LOCK_POLL)
                    }
                    Err(TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        };
        wait().map_err(failed("lock", &path))
    }
}

/// No file there, or something on the way is not a directory, or the key is a directory: there is no such object.
fn is_no_object(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
    )
}

/// Creates a directory and its parents, and syncs the parents of those it created. With a root, it syncs all the way up
/// to that: another process may have created one of them without having synced it yet.
fn create_dir_durably(dir: &Path, root: Option<&Path>) -> io::Result<()> {
    let needs_sync = |dir: &&Path| match root {
        Some(root) => *dir != root,
        None => !dir.exists(),
    };
    let changed: Vec<&Path> = dir.ancestors().take_while(needs_sync).collect();
    fs::create_dir_all(dir)?;
    changed.into_iter().try_for_each(sync_parent)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn failed(action: &'static str, place: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let place = place.display().to_string();
    move |source| StoreError::Io {
        action,
        place,
        source,
    }
}

/// For errors after the point where the write may have become visible.
fn unknown<E>(action: &'static str, place: &Path) -> impl FnOnce(E) -> StoreError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let place = place.display().to_string();
    move |source| StoreError::OutcomeUnknown {
        action,
        place,
        source: source.into(),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
