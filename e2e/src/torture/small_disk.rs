//! A disk of its own for one directory, small enough to be filled: a tmpfs.
//!
//! Owns: the mount; dropping it takes it away. Does not own: what is kept there.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::TortureError;

/// Between two looks whether something freed space on a disk that is to stay full.
const TOP_UP: Duration = Duration::from_millis(50);
/// What fills a disk grows by as much, and by bytes at the end.
const PIECES: [usize; 3] = [1 << 20, 4 << 10, 1];

/// See the module.
#[derive(Debug)]
pub(super) struct SmallDisk {
    path: PathBuf,
    is_left: bool,
}

impl SmallDisk {
    /// Makes `path` a disk of `bytes`; `None`, saying so, where this process may not.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn mount(path: &Path, bytes: u64) -> Result<Option<Self>, TortureError> {
        std::fs::create_dir_all(path).map_err(TortureError::system(format!("make {}", path.display())))?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"])
            .arg(path);
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Some(Self {
                path: path.to_owned(),
                is_left: false,
            })),
            refused => {
                eprintln!(
                    "disks are not filled: it takes root and mount(8) to make a small one: {refused:?}"
                );
                Ok(None)
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it stay mounted when this value is dropped, for whoever looks at what is on it.
    pub(super) fn leave_mounted(&mut self) {
        self.is_left = true;
    }

    /// Keeps it full for that long, also when others free space meanwhile; then gives the space back.
    ///
    /// # Errors
    /// When it cannot be filled.
    pub(super) async fn keep_full(&self, lasts: Duration) -> Result<(), TortureError> {
        let until = Instant::now() + lasts;
        let mut ballast = Ballast::new(self.path.join("ballast"))?;
        loop {
            ballast.fill()?;
            if Instant::now() >= until {
                return Ok(());
            }
            sleep(TOP_UP).await;
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        // Lazily: a process that still ends may have files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// The file that fills the disk; dropping it gives the space back.
struct Ballast {
    path: PathBuf,
    file: File,
}

impl Ballast {
    fn new(path: PathBuf) -> Result<Self, TortureError> {
        let file = File::create(&path).map_err(TortureError::system("make the file that fills a disk"))?;
        Ok(Self { path, file })
    }

    fn fill(&mut self) -> Result<(), TortureError> {
        for piece in PIECES {
            let zeros = vec![0; piece];
            loop {
                match self.file.write(&zeros) {
                    Ok(written) if written > 0 => {}
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(TortureError::system("fill a disk")(error)),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // A disk that stays full is seen by what comes next.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_that_is_kept_full_takes_nothing_and_has_room_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(&directory.path().join("disk"), 256 << 10).unwrap() else {
            return;
        };
        let freed = disk.path().join("freed");
        std::fs::write(&freed, vec![7; 64 << 10]).unwrap();
        let late = disk.path().join("late");
        let filling = disk.keep_full(Duration::from_millis(400));
        let looking = async {
            std::fs::remove_file(&freed).unwrap();
            // By then what was freed is taken again.
            sleep(4 * TOP_UP).await;
            std::fs::write(&late, [1; 8192])
        };
        let (filled, written) = tokio::join!(filling, looking);
        filled.unwrap();
        assert_eq!(written.unwrap_err().kind(), ErrorKind::StorageFull);
        std::fs::write(&late, vec![1; 200 << 10]).unwrap();
    }
}
