//! Listing the `file` backend in key order, reading only the directories that can hold what was asked for.
//!
//! Cost: the names of each directory touched are read once and sorted after `prefix` and `after` have filtered them;
//! only objects that are returned are looked at further.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::{Entry, Key};

/// See [`super::Store::list`].
pub(super) fn list(root: &Path, prefix: &str, after: Option<&Key>, limit: usize) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    if can_begin_keys(prefix) {
        Walk {
            root,
            prefix,
            after: after.map_or("", Key::as_str),
            limit,
        }
        .walk(dir_of(prefix), &mut found)?;
    }
    Ok(found)
}

/// Whether there can be keys that begin with this. Another prefix could, as a path, lead out of the root.
pub(super) fn can_begin_keys(prefix: &str) -> bool {
    let dir = dir_of(prefix);
    dir.is_empty() || Key::new(dir.trim_end_matches('/')).is_ok_and(|key| key.as_str().len() + 1 == dir.len())
}

/// Empty, or up to and with the last '/'.
fn dir_of(prefix: &str) -> &str {
    prefix.rfind('/').map_or("", |slash| &prefix[..=slash])
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    /// Empty for none: every key is greater.
    after: &'a str,
    limit: usize,
}

impl Walk<'_> {
    /// Adds what is below `dir_key` (empty, or ending in '/') in key order, until `limit` is reached.
    fn walk(&self, dir_key: &str, found: &mut Vec<Entry>) -> io::Result<()> {
        for child in self.children(dir_key)? {
            if found.len() >= self.limit {
                break;
            }
            if child.ends_with('/') {
                self.walk(&child, found)?;
            } else if let Ok(key) = Key::new(child) {
                match fs::metadata(self.root.join(key.as_str())) {
                    Ok(metadata) => found.push(Entry {
                        key,
                        size: metadata.len(),
                    }),
                    Err(error) if error.kind() == ErrorKind::NotFound => {} // deleted meanwhile
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Keys of the files and, with '/' at the end, of the directories in a directory. With that '/', sorting them by
    /// name sorts everything below them: `a-b` < `a/…` < `a0`.
    fn children(&self, dir_key: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(dir_key)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut children = Vec::new();
        for entry in entries {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            // Names that are not UTF-8 are no keys; hidden ones are ours (locks, temporary files).
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let child = match () {
                () if kind.is_file() => format!("{dir_key}{name}"),
                () if kind.is_dir() => format!("{dir_key}{name}/"),
                () => continue,
            };
            let may_hold_later_keys =
                *child > *self.after || (kind.is_dir() && self.after.starts_with(&child));
            if child.starts_with(self.prefix) && may_hold_later_keys {
                children.push(child);
            }
        }
        children.sort_unstable();
        Ok(children)
    }
}
