//! Removing a directory of the `file` backend in bounded steps, whatever is in it. Follows no links.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Removes up to `limit` files below `dir`, and the directories that are empty then; gives how many files.
pub(super) fn remove(dir: &Path, limit: usize) -> io::Result<usize> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        if removed == limit {
            return Ok(removed);
        }
        if entry.file_type()?.is_dir() {
            removed += remove(&entry.path(), limit - removed)?;
        } else {
            match fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(error)
        }
        _ => Ok(removed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_goes_in_steps_with_everything_that_is_in_it_and_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("lance");
        for name in [
            "a.lance/_versions/1.manifest",
            "a.lance/data/x.lance",
            "a.lance/.hidden",
            "b.lance/y",
        ] {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(root.path().join("lance.json"), "x").unwrap();
        std::os::unix::fs::symlink(root.path().join("lance.json"), dir.join("link")).unwrap();
        let mut steps = Vec::new();
        loop {
            match remove(&dir, 2).unwrap() {
                0 => break,
                count => steps.push(count),
            }
        }
        assert_eq!(steps, [2, 2, 1]);
        assert!(!dir.exists() && root.path().join("lance.json").exists());
        assert_eq!(remove(&dir, 2).unwrap(), 0, "again");
    }
}
