//! The sidecar's config file, re-read when it changes. What can change without a restart is handed out as watches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crds::{Optimizer, Readiness, Scrub, SidecarConfig, Snapshots};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at. A ConfigMap volume is renewed by a symlink swap, which file watches miss.
const LOOK: Duration = Duration::from_millis(500);

/// Why the config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("failed to read the config {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}", path = path.display())]
    Parse {
        path: PathBuf,
        source: crds::ConfigError,
    },
    #[error("{path}: {source}", path = path.display())]
    Schema {
        path: PathBuf,
        source: crds::SchemaErrors,
    },
}

/// A config file and what its readers watch.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    config: SidecarConfig,
    readiness: watch::Sender<Readiness>,
    poll_interval: watch::Sender<Duration>,
    snapshots: watch::Sender<Snapshots>,
    optimizer: watch::Sender<Optimizer>,
    scrub: watch::Sender<Scrub>,
}

impl ConfigFile {
    /// Reads and checks the file.
    pub fn open(path: &Path) -> Result<(Self, SidecarConfig), ConfigFileError> {
        let (text, config) = read(path)?;
        let (readiness, _) = watch::channel(config.readiness.clone());
        let (poll_interval, _) = watch::channel(config.events.poll_interval.into());
        let (snapshots, _) = watch::channel(config.snapshots.clone());
        let (optimizer, _) = watch::channel(config.optimizer.clone());
        let (scrub, _) = watch::channel(config.scrub.clone());
        let file = Self {
            path: path.to_owned(),
            text,
            config: config.clone(),
            readiness,
            poll_interval,
            snapshots,
            optimizer,
            scrub,
        };
        Ok((file, config))
    }

    /// Bounds of `/readyz`.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// `events.pollInterval`.
    pub fn poll_interval(&self) -> watch::Receiver<Duration> {
        self.poll_interval.subscribe()
    }

    /// When snapshots are taken and kept.
    pub fn snapshots(&self) -> watch::Receiver<Snapshots> {
        self.snapshots.subscribe()
    }

    /// When the writer optimizes.
    pub fn optimizer(&self) -> watch::Receiver<Optimizer> {
        self.optimizer.subscribe()
    }

    /// When the graph is compared with its tables.
    pub fn scrub(&self) -> watch::Receiver<Scrub> {
        self.scrub.subscribe()
    }

    /// Follows the file until `shutdown`. An invalid edit keeps the values that hold. A changed schema ends the process where
    /// `ends_on_schema` says so: a writer commits its schema when it starts.
    pub async fn follow(mut self, shutdown: CancellationToken, ends_on_schema: bool) {
        let mut complaint = String::new();
        loop {
            tokio::select! { () = tokio::time::sleep(LOOK) => {}, () = shutdown.cancelled() => return }
            match read(&self.path) {
                Ok((text, _)) if text == self.text => {}
                Ok((text, config)) => {
                    let is_other_schema = self.take(text, config);
                    complaint.clear();
                    if is_other_schema && ends_on_schema {
                        tracing::info!("the schema changed; ending, to take it up at the next start");
                        shutdown.cancel();
                    }
                }
                Err(error) if error.to_string() != complaint => {
                    tracing::warn!(%error, "the changed config is not used");
                    complaint = error.to_string();
                }
                Err(_) => {}
            }
        }
    }

    /// Hands out what changed; true when the schema did.
    fn take(&mut self, text: String, config: SidecarConfig) -> bool {
        let old = std::mem::replace(&mut self.config, config);
        self.text = text;
        let new = &self.config;
        hand_out("readiness", &self.readiness, &old.readiness, &new.readiness);
        hand_out("snapshots", &self.snapshots, &old.snapshots, &new.snapshots);
        hand_out("optimizer", &self.optimizer, &old.optimizer, &new.optimizer);
        hand_out("scrub", &self.scrub, &old.scrub, &new.scrub);
        let (old_poll, new_poll) = (old.events.poll_interval.into(), new.events.poll_interval.into());
        hand_out("events.pollInterval", &self.poll_interval, &old_poll, &new_poll);
        old.schema != new.schema
    }
}

/// Sends a setting that changed to whoever watches it.
fn hand_out<T: Clone + PartialEq + std::fmt::Debug>(
    name: &str,
    watched: &watch::Sender<T>,
    old: &T,
    new: &T,
) {
    if old != new {
        tracing::info!(setting = name, ?old, ?new, "a setting changed");
        watched.send_replace(new.clone());
    }
}

fn read(path: &Path) -> Result<(String, SidecarConfig), ConfigFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let config = SidecarConfig::from_yaml(&text).map_err(|source| ConfigFileError::Parse {
        path: path.to_owned(),
        source,
    })?;
    config.schema.check().map_err(|source| ConfigFileError::Schema {
        path: path.to_owned(),
        source,
    })?;
    Ok((text, config))
}
