//! Temporary files of the `file` backend that a crash left behind: found and removed by whoever writes there next.
//!
//! A put that is still under way, in whatever process, has written to its file within the last moments; so only files that
//! nobody touched for far longer go. Nothing here is needed for correctness: leftovers are neither read nor listed.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Names of temporary files begin with this; no key does.
pub(super) const TEMP_PREFIX: &str = ".tmp-";
/// Far longer than a put takes, also one of a process that was stopped meanwhile: removing its file would fail that put.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Removes leftovers of crashed puts in `dir`, not below it; gives how many. What cannot be looked at or removed stays.
pub(super) fn sweep(dir: &Path, now: SystemTime) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let leftovers = entries.flatten().filter(|entry| {
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(TEMP_PREFIX));
        is_ours && is_abandoned(entry, now)
    });
    let removed = leftovers
        .filter(|entry| fs::remove_file(entry.path()).is_ok())
        .count();
    if removed > 0 {
        tracing::info!(directory = %dir.display(), files = removed, "removed what interrupted writes left behind");
    }
    removed
}

fn is_abandoned(entry: &fs::DirEntry, now: SystemTime) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age >= ABANDONED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_once_nobody_can_be_writing_them() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".tmp-a", ".tmp-b", "1.json", ".locks"] {
            fs::write(dir.path().join(name), "half a rec").unwrap();
        }
        let now = SystemTime::now();
        assert_eq!(sweep(dir.path(), now), 0, "their writers may be at it");
        assert_eq!(
            sweep(dir.path(), now - ABANDONED * 2),
            0,
            "a clock that went back"
        );
        assert_eq!(sweep(dir.path(), now + ABANDONED * 2), 2);
        assert!(dir.path().join("1.json").exists() && dir.path().join(".locks").exists());
        assert_eq!(sweep(&dir.path().join("nowhere"), now), 0);
    }
}
