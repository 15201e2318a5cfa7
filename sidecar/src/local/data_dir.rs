//! The directory of `slipstream local`: who uses it, and where in it things are.
//!
//! ```text
//! lock            held as long as a supervisor runs; says which process
//! config.yaml     what the children read; replaced as a whole
//! store/          the graph, unless the resource names a file:// storage of its own
//! writer/ replica-<n>/   the local graph of each child; can be thrown away
//! logs/<child>.log       what each child printed, appended
//! ```

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crds::SidecarConfig;

use super::LocalError;

/// How far from a log's end its last line is looked for.
const LAST_LINE_BYTES: u64 = 4096;

/// A directory that is this process's alone while the value lives.
#[derive(Debug)]
pub(super) struct DataDir {
    root: PathBuf,
    /// The operating system lets go of the lock when this is closed, also by SIGKILL.
    _lock: File,
}

impl DataDir {
    /// Creates the directory where there is none, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, LocalError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| LocalError::File { action, path, source }
        };
        std::fs::create_dir_all(path.join("logs")).map_err(failed("create", path))?;
        let root = path.canonicalize().map_err(failed("find", path))?;
        if root.to_string_lossy().contains(['%', '?', '#']) {
            return Err(LocalError::DataDirName { path: root });
        }
        let lock_path = root.join("lock");
        let mut options = File::options();
        let mut lock = options
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                // Who it is, is only for the message.
                let _ = lock.read_to_string(&mut process);
                return Err(LocalError::Locked {
                    path: root,
                    process: process.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()))
            .map_err(failed("write", &lock_path))?;
        Ok(Self { root, _lock: lock })
    }

    /// The root of the graph's storage as a URI, where the resource names none on this machine.
    pub(super) fn store_uri(&self) -> String {
        format!("file://{}", self.root.join("store").display())
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.root.join("config.yaml")
    }

    pub(super) fn child_dir(&self, child: &str) -> PathBuf {
        self.root.join(child)
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(super) fn log_path(&self, child: &str) -> PathBuf {
        self.logs().join(format!("{child}.log"))
    }

    /// Refuses a directory whose config is another graph's: its store would become a mix.
    pub(super) fn check_graph(&self, config: &SidecarConfig) -> Result<(), LocalError> {
        let earlier = std::fs::read_to_string(self.config_path()).ok();
        let Some(earlier) = earlier.and_then(|text| SidecarConfig::from_yaml(&text).ok()) else {
            return Ok(());
        };
        if earlier.graph == config.graph {
            return Ok(());
        }
        let name = |config: &SidecarConfig| format!("{}/{}", config.graph.namespace, config.graph.name);
        Err(LocalError::OtherGraph {
            path: self.root.clone(),
            found: name(&earlier),
            expected: name(config),
        })
    }

    /// Replaces the config as a whole: a reader sees the old text or the new one.
    pub(super) fn write_config(&self, config: &SidecarConfig) -> Result<(), LocalError> {
        let path = self.config_path();
        let failed = |source| LocalError::File {
            action: "write",
            path: path.clone(),
            source,
        };
        let text = config
            .to_yaml()
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let new = self.root.join("config.yaml.new");
        let mut file = File::create(&new).map_err(failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)
    }

    /// The last line that a child printed, if any.
    pub(super) fn last_log_line(&self, child: &str) -> Option<String> {
        let mut file = File::open(self.log_path(child)).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_LINE_BYTES)))
            .ok()?;
        let mut end = Vec::new();
        file.read_to_end(&mut end).ok()?;
        let end = String::from_utf8_lossy(&end);
        end.lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_supervisor_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("(process {})", std::process::id())),
            "{error}"
        );
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn the_last_line_of_a_log_is_the_last_one_with_something_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        assert_eq!(data_dir.last_log_line("writer"), None);
        std::fs::write(
            data_dir.log_path("writer"),
            format!("{}\nerror: fenced\n\n", "x".repeat(9000)),
        )
        .unwrap();
        assert_eq!(data_dir.last_log_line("writer").as_deref(), Some("error: fenced"));
    }
}
