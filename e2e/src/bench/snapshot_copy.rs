//! Copying without understanding: objects from S3 to a file, and a file to a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lance::io::{ObjectStore, ObjectStoreParams, ObjectStoreRegistry, StorageOptionsAccessor};
use slipstream_e2e::servers::Servers;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// As many as a restoring replica fetches.
const AT_A_TIME: usize = 8;
/// As much of the file as is in a part.
const PIECE_BYTES: usize = 8 << 20;

/// Objects in S3, with their sizes.
pub(super) struct PartCopy {
    registry: Arc<ObjectStoreRegistry>,
    params: ObjectStoreParams,
    parts: Vec<(String, u64)>,
}

impl PartCopy {
    /// The parts of the snapshot `tx_id`, as stored.
    pub(super) async fn of_parts(
        servers: &Servers,
        tx_id: &str,
        parts: Vec<(String, u64)>,
    ) -> anyhow::Result<Self> {
        let uri = |name: &str| format!("{}/kuzu-snapshots/{tx_id}/{name}", servers.root_uri());
        let parts = parts.into_iter().map(|(name, size)| (uri(&name), size)).collect();
        let copy = Self::new(servers, parts);
        // No copy pays for the connection.
        if let Some((uri, _)) = copy.parts.first() {
            fetch(copy.registry.clone(), copy.params.clone(), uri).await?;
        }
        Ok(copy)
    }

    /// The bytes of a file, put into the server as they are, in objects of the size of a part.
    pub(super) async fn of_file(servers: &Servers, file: &Path) -> anyhow::Result<Self> {
        let mut copy = Self::new(servers, Vec::new());
        let mut source = File::open(file)?;
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let bytes = Read::by_ref(&mut source)
                .take(PIECE_BYTES as u64)
                .read_to_end(&mut piece)?;
            if bytes == 0 {
                return Ok(copy);
            }
            let uri = format!("{}-copy/{:05}", servers.root_uri(), copy.parts.len());
            let (store, path) =
                ObjectStore::from_uri_and_params(copy.registry.clone(), &uri, &copy.params).await?;
            store.put(&path, &piece).await?;
            copy.parts.push((uri, bytes as u64));
        }
    }

    fn new(servers: &Servers, parts: Vec<(String, u64)>) -> Self {
        let mut options: HashMap<String, String> = [
            ("aws_endpoint", servers.s3_endpoint().as_str()),
            ("aws_region", "us-east-1"),
            ("aws_virtual_hosted_style_request", "false"),
            ("allow_http", "true"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        let keys = servers.environment().into_iter();
        options.extend(keys.map(|(name, value)| (name.to_lowercase(), value)));
        Self {
            registry: Arc::new(ObjectStoreRegistry::default()),
            params: ObjectStoreParams {
                storage_options_accessor: Some(Arc::new(StorageOptionsAccessor::with_static_options(
                    options,
                ))),
                ..ObjectStoreParams::default()
            },
            parts,
        }
    }

    /// Copies all of them into one new file, each to its place, and syncs it.
    pub(super) async fn run(&self, to: &Path) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let file = Arc::new(File::create(to)?);
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let (mut copying, mut offset) = (JoinSet::new(), 0);
        for (uri, size) in self.parts.clone() {
            let (file, turns) = (file.clone(), turns.clone());
            let (registry, params) = (self.registry.clone(), self.params.clone());
            copying.spawn(async move {
                let _turn = turns.acquire().await?;
                let bytes = fetch(registry, params, &uri).await?;
                anyhow::ensure!(bytes.len() as u64 == size, "{uri} has {} bytes", bytes.len());
                tokio::task::spawn_blocking(move || file.write_all_at(&bytes, offset)).await??;
                anyhow::Ok(())
            });
            offset += size;
        }
        while let Some(copied) = copying.join_next().await {
            copied??;
        }
        tokio::task::spawn_blocking(move || file.sync_all()).await??;
        let took = started.elapsed();
        std::fs::remove_file(to)?;
        Ok(took)
    }
}

async fn fetch(
    registry: Arc<ObjectStoreRegistry>,
    params: ObjectStoreParams,
    uri: &str,
) -> anyhow::Result<impl AsRef<[u8]> + Send + 'static + std::ops::Deref<Target = [u8]>> {
    let (store, path) = ObjectStore::from_uri_and_params(registry, uri, &params).await?;
    Ok(store.read_one_all(&path).await?)
}

/// Reads a file and writes it to another one on the same disk, synced.
pub(super) fn plain_copy(from: &Path, to: &Path) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    // Not `std::fs::copy`, which may share the blocks.
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        target.write_all(&buffer[..read])?;
    }
    target.sync_all()?;
    let took = started.elapsed();
    std::fs::remove_file(to)?;
    Ok(took)
}
