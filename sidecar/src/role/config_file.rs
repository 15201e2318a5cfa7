//! The sidecar's config file, re-read when it changes. What can change without a restart is handed out as watches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crds::{Readiness, SidecarConfig};
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
}

impl ConfigFile {
    /// Reads and checks the file.
    pub fn open(path: &Path) -> Result<(Self, SidecarConfig), ConfigFileError> {
        let (text, config) = read(path)?;
        let (readiness, _) = watch::channel(config.readiness.clone());
        let (poll_interval, _) = watch::channel(config.events.poll_interval.into());
        let file = Self {
            path: path.to_owned(),
            text,
            config: config.clone(),
            readiness,
            poll_interval,
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
        if old.readiness != new.readiness {
            tracing::info!(old = ?old.readiness, new = ?new.readiness, "readiness bounds changed");
            self.readiness.send_replace(new.readiness.clone());
        }
        if old.events.poll_interval != new.events.poll_interval {
            tracing::info!(old = %old.events.poll_interval, new = %new.events.poll_interval, "poll interval changed");
            self.poll_interval.send_replace(new.events.poll_interval.into());
        }
        old.schema != new.schema
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
