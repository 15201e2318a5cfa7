//! The resource file as it is read and re-read, and the config that follows from it on this machine.

use std::io;
use std::path::PathBuf;

use crds::{ReplicatedGraphDB, ResourceError, SidecarConfig, Storage};

/// Reads a file again and again and says when its content is another.
///
/// The content is compared, not the time of change: two edits within the clock's resolution are both seen, and it is a
/// small file.
#[derive(Debug)]
pub(super) struct ResourceFile {
    path: PathBuf,
    /// What was last handed out.
    text: String,
    failures: u32,
}

impl ResourceFile {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let text = std::fs::read_to_string(&path)?;
        Ok(Self {
            path,
            text,
            failures: 0,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The new content, if it is another; a failure to read is told when it happens twice in a row, and once, because
    /// editors replace a file by removing it first.
    pub(super) fn poll(&mut self) -> Option<io::Result<&str>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => {
                self.failures = 0;
                (text != self.text).then(|| {
                    self.text = text;
                    Ok(self.text.as_str())
                })
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                (self.failures == 2).then_some(Err(error))
            }
        }
    }
}

/// A resource and the config that the children get.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LocalGraph {
    pub(super) resource: ReplicatedGraphDB,
    pub(super) config: SidecarConfig,
}

impl LocalGraph {
    /// Reads a resource. A storage that is not on this machine is replaced by `store_uri`.
    pub(super) fn read(text: &str, store_uri: &str) -> Result<Self, ResourceError> {
        let resource = ReplicatedGraphDB::from_yaml(text)?;
        let mut config = SidecarConfig::from_resource(&resource)?;
        if !config.storage.uri.starts_with("file://") {
            config.storage = Storage {
                uri: store_uri.to_owned(),
                endpoint: None,
                region: None,
            };
        }
        Ok(Self { resource, config })
    }

    /// Whether the resource's own storage is not the one in use.
    pub(super) fn has_other_storage(&self) -> bool {
        self.resource.spec.storage.uri != self.config.storage.uri
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = include_str!("../../../crds/tests/design.yaml");

    #[test]
    fn storage_elsewhere_is_replaced_and_storage_here_is_kept() {
        let graph = LocalGraph::read(DEBIAN, "file:///data/store").unwrap();
        let here = Storage {
            uri: "file:///data/store".to_owned(),
            endpoint: None,
            region: None,
        };
        assert_eq!((&graph.config.storage, graph.has_other_storage()), (&here, true));
        let text = DEBIAN.replace("s3://graphs/debian", "file:///my/graph");
        let graph = LocalGraph::read(&text, "file:///data/store").unwrap();
        assert_eq!(
            (graph.config.storage.uri.as_str(), graph.has_other_storage()),
            ("file:///my/graph", false)
        );
    }

    #[test]
    fn an_edit_is_seen_once_and_a_missing_file_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("graph.yaml");
        std::fs::write(&path, "a").unwrap();
        let mut file = ResourceFile::open(path.clone()).unwrap();
        assert!(file.poll().is_none());
        std::fs::write(&path, "b").unwrap();
        assert_eq!(file.poll().unwrap().unwrap(), "b");
        assert!(file.poll().is_none());
        std::fs::remove_file(&path).unwrap();
        assert!(file.poll().is_none(), "once is an editor at work");
        assert!(file.poll().unwrap().is_err());
        assert!(file.poll().is_none());
        std::fs::write(&path, "b").unwrap();
        assert!(file.poll().is_none());
    }
}
