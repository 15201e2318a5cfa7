//! The object store: whole objects under keys, with conditional writes. It is the only thing writer and replicas share.
//!
//! Owns: the contract ([`Store`]), its types and errors, and the backends (`s3`, `file`, `memory`); [`open`] picks one by URI.
//! Does not own: what the objects mean (commit log, leases, snapshots), Lance's own files, and retrying.
//!
//! Every backend passes the same suite (`contract/`). The two conditional writes are what S3 calls `If-None-Match: *`
//! and `If-Match: <etag>`; the commit point and the writer's epoch rest on them (design.md, section 3).

mod file;
mod file_leftovers;
mod file_list;
mod file_tree;
mod key;
mod memory;
mod options;
mod probe;
mod s3;
mod s3_address;
mod s3_client;
mod s3_multipart;
mod s3_settle;
mod s3_verdict;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod s3_fake;
#[cfg(test)]
mod s3_tests;
#[cfg(test)]
#[path = "../../tests/support/versitygw.rs"]
mod versitygw;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

pub use key::Key;
pub use options::StoreOptions;
pub(crate) use probe::PROBES;
pub use probe::check_conditional_writes;

const SUPPORTED: &str = "supported are s3://bucket/prefix, file:///absolute/path and memory://name";

/// Names the content of one object; equal etags of one key mean equal content. Opaque otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// The etag of backends that have none of their own: SHA-256 of the content, in hexadecimal.
    fn of_content(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The text of the etag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One whole object as it was at some moment; never a mix of two writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub bytes: Bytes,
    pub etag: ETag,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    /// Bytes.
    pub size: u64,
}

/// The answer to a conditional write. Both are certain; an uncertain one is [`StoreError::OutcomeUnknown`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// The object is stored and durable, with this etag.
    Stored(ETag),
    /// Nothing was written: the object exists (`put_if_absent`), or it is missing or has another etag (`put_if_match`).
    Refused,
}

/// The contract. Operations on one key are linearizable, also between processes that opened the same root.
///
/// Writes are whole or not at all and durable when they return, whatever crashes. **Dropping the future of a write does
/// not undo or stop it:** its outcome is then unknown, exactly as with [`StoreError::OutcomeUnknown`].
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The object, or `None` if there is none.
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// Creates or replaces the object.
    async fn put(&self, key: &Key, bytes: Bytes) -> Result<ETag, StoreError>;

    /// Creates the object if there is none. Of any number of concurrent callers exactly one gets [`Put::Stored`].
    async fn put_if_absent(&self, key: &Key, bytes: Bytes) -> Result<Put, StoreError>;

    /// Replaces the object if it still has the etag `expected`. Of concurrent callers with one `expected` and contents
    /// that differ from it, exactly one gets [`Put::Stored`].
    async fn put_if_match(&self, key: &Key, expected: &ETag, bytes: Bytes) -> Result<Put, StoreError>;

    /// Objects whose key starts with the text `prefix`, sorted by key (bytewise), those greater than `after` only, at
    /// most `limit` of them. An object written or deleted meanwhile may or may not be in the answer.
    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Removes the object; fine if there is none.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// Removes up to `limit` objects whose names begin with `dir` and a slash, whoever wrote them and whether their names
    /// are keys or not (Lance's files). Gives how many it removed; none, once there are none. For what nobody uses any more.
    async fn remove_below(&self, dir: &Key, limit: usize) -> Result<usize, StoreError>;

    /// The root directory if objects are plain files at `<root>/<key>`, so that a caller can watch it for changes.
    fn local_dir(&self) -> Option<&Path>;
}

/// Opens the store named by a URI: `s3://bucket/prefix` (nothing is sent before the first use), `file:///absolute/path`
/// (the directory is created), or `memory://name` (the same name gives the same store everywhere in this process). Blocks
/// briefly on the file system.
///
/// # Errors
/// [`StoreError::BadUri`] for anything else, [`StoreError::BadEndpoint`], [`StoreError::Io`] if the directory cannot be made.
pub fn open(options: impl Into<StoreOptions>) -> Result<Arc<dyn Store>, StoreError> {
    let options = options.into();
    let bad = |reason: &'static str| StoreError::BadUri {
        uri: options.uri.clone(),
        reason,
    };
    match options.uri.split_once("://") {
        Some(("s3", _)) => Ok(Arc::new(s3::S3Store::open(options)?)),
        Some(("file", path)) => Ok(Arc::new(file::FileStore::open(file_root(path).map_err(bad)?)?)),
        Some(("memory", "")) => Err(bad("the name is missing")),
        Some(("memory", name)) => Ok(memory::MemoryStore::shared(name)),
        Some(_) => Err(bad("there is no backend for this scheme")),
        None => Err(bad("the scheme is missing")),
    }
}

/// Checks the part of a `file` URI after `file://`.
fn file_root(path: &str) -> Result<&Path, &'static str> {
    let trimmed = path.trim_end_matches('/');
    if !path.starts_with('/') {
        return Err("the path must be absolute, with three slashes after `file:`");
    }
    if trimmed.is_empty() {
        return Err("the path must name a directory other than /");
    }
    // Other readers of the same URI decode these, and would then look in another directory.
    if path.contains(['%', '?', '#']) {
        return Err("the path must not contain %, ? or #");
    }
    if trimmed
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err("the path must not contain . or .. segments");
    }
    Ok(Path::new(trimmed))
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("bad object key {key:?}: {reason}")]
    BadKey { key: String, reason: &'static str },

    #[error("bad storage uri {uri:?}: {reason}; {SUPPORTED}")]
    BadUri { uri: String, reason: &'static str },

    #[error("bad storage endpoint {endpoint:?}: expected http://host:port or https://host:port")]
    BadEndpoint { endpoint: String },

    /// The store must not be used: two writers could both succeed.
    #[error("this store cannot hold a graph, because its conditional writes do not work: {found}")]
    NotConditional { found: &'static str },

    /// Nothing was written; the server said so, or was not reached.
    #[error("failed to {action} {place}: {reason}")]
    S3 {
        action: &'static str,
        /// Object, bucket and server.
        place: String,
        reason: String,
        remedy: Remedy,
    },

    /// Nothing was written.
    #[error("failed to {action} {place}: {source}")]
    Io {
        action: &'static str,
        /// The path or key concerned.
        place: String,
        #[source]
        source: std::io::Error,
    },

    /// The write may or may not have happened, or may still happen: read the object back and decide by its content.
    #[error("failed to learn whether the store wrote {place} (while trying to {action}): {source}")]
    OutcomeUnknown {
        action: &'static str,
        place: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing happened; the same call may succeed later.
    Retry,
    /// Read the object back first: the write may have happened.
    ReadBack,
    /// The same call fails again until somebody changes its input or the environment.
    Reject,
}

impl StoreError {
    /// Classifies the error by what can be done about it.
    pub fn remedy(&self) -> Remedy {
        use std::io::ErrorKind;
        match self {
            Self::BadKey { .. }
            | Self::BadUri { .. }
            | Self::BadEndpoint { .. }
            | Self::NotConditional { .. } => Remedy::Reject,
            Self::S3 { remedy, .. } => *remedy,
            Self::OutcomeUnknown { .. } => Remedy::ReadBack,
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::NotADirectory
                | ErrorKind::AlreadyExists
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidFilename
                | ErrorKind::Unsupported => Remedy::Reject,
                _ => Remedy::Retry,
            },
        }
    }
}
