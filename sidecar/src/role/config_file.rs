//! The sidecar's config file, re-read when it changes. What can change without a restart is handed out as watches.
//!
//! Flow: look at the file twice a second -> read, parse, check -> hand out each setting that changed, logged with old and new
//! value -> say in `/v1/status` (`settings`) and as `slipstream_config_rejected` whether the file as it is now is used.
//!
//! Owns: which config holds, what of it takes effect now and what at the next start. Does not own: what a setting does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crds::{Optimizer, Readiness, Scrub, SidecarConfig, Snapshots};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::node::{Progress, Reports, Role};

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
    Values {
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
    /// What the process was started with: settings that it cannot change are compared with these.
    started_with: SidecarConfig,
    /// Why the file as it was seen last is not used.
    complaint: Option<String>,
    reports: Reports,
    role: Option<Role>,
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
            started_with: config.clone(),
            complaint: None,
            reports: Reports::default(),
            role: None,
            readiness,
            poll_interval,
            snapshots,
            optimizer,
            scrub,
        };
        Ok((file, config))
    }

    /// From now on what becomes of the file is said in the reports of the node whose process follows it.
    pub fn report_to(&mut self, node: &Progress) {
        self.reports = node.reports().clone();
        self.role = Some(node.role);
        self.report();
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
        loop {
            tokio::select! { () = tokio::time::sleep(LOOK) => {}, () = shutdown.cancelled() => return }
            if self.look() && ends_on_schema {
                tracing::info!("the schema changed; ending, to take it up at the next start");
                shutdown.cancel();
            }
        }
    }

    /// Looks at the file once; true when it brought another schema.
    fn look(&mut self) -> bool {
        match read(&self.path) {
            Ok((text, config)) => {
                if self.complaint.take().is_some() {
                    tracing::info!("the config can be used again");
                    self.report();
                }
                text != self.text && self.take(text, config)
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(%error, "the changed config is not used; the settings that hold stay");
                    self.complaint = Some(complaint);
                    self.report();
                }
                false
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
        let other_schema = old.schema != new.schema;
        for setting in self.fixed().filter(|setting| setting.differs(&old, new)) {
            let (setting, old, new) = (setting.name, setting.value(&old), setting.value(new));
            tracing::warn!(
                setting,
                old,
                new,
                "a setting changed that takes effect at the next start"
            );
        }
        self.report();
        other_schema
    }

    /// The settings that this process cannot change; the limits of the other role are none of its own.
    fn fixed(&self) -> impl Iterator<Item = &'static Fixed> {
        let role = self.role;
        FIXED
            .iter()
            .filter(move |setting| setting.role.is_none() || role.is_none() || setting.role == role)
    }

    fn report(&self) {
        let pending = self
            .fixed()
            .filter(|setting| setting.differs(&self.started_with, &self.config))
            .map(|setting| format!("{}: takes effect at the next start", setting.name))
            .collect();
        self.reports.update(|view| {
            view.settings.generation = self.config.generation;
            view.settings.error = self.complaint.clone();
            view.settings.pending = pending;
        });
        let rejected = if self.complaint.is_some() { 1.0 } else { 0.0 };
        metrics::gauge!("slipstream_config_rejected").set(rejected);
    }
}

/// A setting that a running process cannot change.
struct Fixed {
    name: &'static str,
    /// Whose it is; of both where none is named.
    role: Option<Role>,
    of: fn(&SidecarConfig) -> String,
}

impl Fixed {
    fn value(&self, config: &SidecarConfig) -> String {
        (self.of)(config)
    }

    fn differs(&self, old: &SidecarConfig, new: &SidecarConfig) -> bool {
        self.value(old) != self.value(new)
    }
}

/// All of them. The schema is none: a replica follows the log's, and the writer is started again for it.
const FIXED: [Fixed; 5] = [
    Fixed {
        name: "graph",
        role: None,
        of: |config| format!("{}/{}", config.graph.namespace, config.graph.name),
    },
    Fixed {
        name: "storage",
        role: None,
        of: |config| format!("{:?}", config.storage),
    },
    Fixed {
        name: "events.nats",
        role: None,
        of: |config| format!("{:?}", config.events.nats),
    },
    Fixed {
        name: "limits.writer",
        role: Some(Role::Writer),
        of: |config| format!("{:?}", config.limits.writer),
    },
    Fixed {
        name: "limits.replica",
        role: Some(Role::Replica),
        of: |config| format!("{:?}", config.limits.replica),
    },
];

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
    config.check().map_err(|source| ConfigFileError::Values {
        path: path.to_owned(),
        source,
    })?;
    Ok((text, config))
}
