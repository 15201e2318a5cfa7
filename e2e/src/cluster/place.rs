//! Where a cluster keeps what, and how everything of it outside that directory is named.

use std::fs::{File, TryLockError};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::{ClusterError, failed};

/// The benchmarking range: never a real network. Clusters share the addresses, each in a network of its own.
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(super) const PODS: &str = "198.18.1.0/24";
pub(super) const SERVICES: &str = "198.18.16.0/20";
pub(super) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 18, 16, 1);
pub(super) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 18, 16, 10);
pub(super) const NODE_NAME: &str = "node0";

/// Directories of one cluster.
#[derive(Debug, Clone)]
pub struct Place {
    /// Everything the cluster keeps while it runs; only `logs` outlives it. Short, because sockets are in it.
    pub state: PathBuf,
    /// Kept between clusters: programs (`tools/bin`) and images (`images`).
    pub cache: PathBuf,
}

impl Place {
    /// `$SLIPSTREAM_CLUSTER` or `cluster` in the cache; the cache is `$SLIPSTREAM_CACHE` or `~/.cache/slipstream`.
    ///
    /// # Errors
    /// When neither `SLIPSTREAM_CACHE` nor `HOME` is set.
    pub fn from_env() -> Result<Self, ClusterError> {
        let directory = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = directory("SLIPSTREAM_CACHE")
            .or_else(|| directory("HOME").map(|home| home.join(".cache/slipstream")))
            .ok_or_else(|| {
                failed("find the cache: neither SLIPSTREAM_CACHE nor HOME is set")(
                    std::io::ErrorKind::NotFound.into(),
                )
            })?;
        let state = directory("SLIPSTREAM_CLUSTER").unwrap_or_else(|| cache.join("cluster"));
        Self::new(&state, &cache)
    }

    /// # Errors
    /// When a relative path cannot be completed.
    pub fn new(state: &Path, cache: &Path) -> Result<Self, ClusterError> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(failed(format!("complete the path {}", path.display())))
        };
        Ok(Self {
            state: absolute(state)?,
            cache: absolute(cache)?,
        })
    }

    /// The name of the network namespace, below `/run/netns`, and of the control group; from the state directory's path.
    pub fn name(&self) -> String {
        let hash = Sha256::digest(self.state.as_os_str().as_encoded_bytes());
        format!("slipstream-{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2])
    }

    /// The network namespace.
    pub fn network(&self) -> PathBuf {
        Path::new("/run/netns").join(self.name())
    }

    /// Credentials of the cluster's administrator; its server is only reachable inside the network.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }

    /// One file per component.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// A program that `tools.sh` built.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.cache.join("tools/bin").join(name)
    }

    pub(super) fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    pub(super) fn processes(&self) -> PathBuf {
        self.state.join("processes")
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    /// Volumes of claims.
    pub(super) fn volumes(&self) -> PathBuf {
        self.state.join("volumes")
    }

    /// A path in the state directory as text, for the components' configuration.
    pub(super) fn text(&self, name: &str) -> String {
        self.state.join(name).display().to_string()
    }

    /// Marks an image archive as imported into this cluster.
    pub(super) fn imported(&self, archive: &Path) -> PathBuf {
        self.state
            .join("imported")
            .join(archive.file_name().unwrap_or_default())
    }

    /// Excludes other starts and stops of this cluster while the file is held.
    pub(super) fn take_turn(&self) -> Result<File, ClusterError> {
        let path = self.state.with_extension("lock");
        let doing = format!("open {}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed(doing.clone()))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed(doing.clone()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ClusterError::Busy(self.state.clone())),
            Err(TryLockError::Error(error)) => Err(failed(doing)(error)),
        }
    }

    pub(super) fn make_directories(&self) -> Result<(), ClusterError> {
        for directory in [
            self.logs(),
            self.processes(),
            self.keys(),
            self.volumes(),
            self.images(),
            self.state.join("cni"),
            self.state.join("imported"),
        ] {
            std::fs::create_dir_all(&directory).map_err(failed(format!("make {}", directory.display())))?;
        }
        Ok(())
    }
}
