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
    /// Reads a resource. With `store_uri` nothing outside this machine is used: a storage elsewhere is replaced by it, and
    /// NATS by polling. Without, storage and NATS are the resource's.
    pub(super) fn read(text: &str, store_uri: Option<&str>) -> Result<Self, ResourceError> {
        let resource = ReplicatedGraphDB::from_yaml(text)?;
        let mut config = SidecarConfig::from_resource(&resource)?;
        if let Some(store_uri) = store_uri {
            config.events.nats = None;
            if !config.storage.uri.starts_with("file://") {
                config.storage = Storage {
                    uri: store_uri.to_owned(),
                    endpoint: None,
                    region: None,
                };
            }
        }
        Ok(Self { resource, config })
    }

    /// What is not as the resource says, for people; one line each.
    pub(super) fn differences(&self) -> Vec<String> {
        let spec = &self.resource.spec;
        let mut replaced = Vec::new();
        if spec.storage.uri != self.config.storage.uri {
            replaced.push(format!("storage {}", spec.storage.uri));
        }
        let nats = spec.events.nats.as_ref();
        if let Some(nats) = nats.filter(|_| self.config.events.nats.is_none()) {
            replaced.push(format!("NATS {}", nats.url));
        }
        if !replaced.is_empty() {
            return vec![format!(
                "(nothing outside this machine is used; with --remote, the resource's {})",
                replaced.join(" and ")
            )];
        }
        let mut sources = Vec::new();
        if spec.storage.credentials_secret_ref.is_some() {
            sources.push(
                "S3 keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the AWS default chain finds",
            );
        }
        if nats.is_some_and(|nats| nats.credentials_secret_ref.is_some()) {
            sources.push("NATS credentials come from the directory that SLIPSTREAM_NATS_DIR names");
        }
        if sources.is_empty() {
            return Vec::new();
        }
        vec![format!("(Secrets are not read here: {})", sources.join("; "))]
    }

    /// Whether the processes would have to be started again to follow `other`: they read these settings only once.
    pub(super) fn has_other_servers(&self, other: &Self) -> bool {
        (&self.config.storage, &self.config.events.nats) != (&other.config.storage, &other.config.events.nats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = include_str!("../../../crds/tests/design.yaml");

    #[test]
    fn what_is_elsewhere_is_replaced_and_storage_here_is_kept() {
        let graph = LocalGraph::read(DEBIAN, Some("file:///data/store")).unwrap();
        let here = Storage {
            uri: "file:///data/store".to_owned(),
            endpoint: None,
            region: None,
        };
        assert_eq!((&graph.config.storage, &graph.config.events.nats), (&here, &None));
        assert_eq!(
            graph.differences(),
            [
                "(nothing outside this machine is used; with --remote, the resource's storage s3://graphs/debian and \
                 NATS nats://nats:4222)"
            ]
        );
        let text = DEBIAN.replace("s3://graphs/debian", "file:///my/graph");
        let graph = LocalGraph::read(&text, Some("file:///data/store")).unwrap();
        assert_eq!(graph.config.storage.uri, "file:///my/graph");
        assert_eq!(graph.config.events.nats, None);
    }

    #[test]
    fn with_remote_everything_is_the_resources_but_its_secrets() {
        let graph = LocalGraph::read(DEBIAN, None).unwrap();
        let spec = &graph.resource.spec;
        assert_eq!(graph.config.storage.uri, spec.storage.uri);
        assert_eq!(graph.config.storage.endpoint, spec.storage.endpoint);
        assert_eq!(
            graph.config.events.nats.as_ref().map(|nats| nats.url.as_str()),
            Some("nats://nats:4222")
        );
        assert_eq!(
            graph.differences(),
            [
                "(Secrets are not read here: S3 keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the \
                 AWS default chain finds; NATS credentials come from the directory that SLIPSTREAM_NATS_DIR names)"
            ]
        );
        let text = DEBIAN.replace(", credentialsSecretRef: {name: s3}", "");
        let text = text.replace(", credentialsSecretRef: {name: nats}", "");
        assert_eq!(LocalGraph::read(&text, None).unwrap().differences(), [""; 0]);
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
