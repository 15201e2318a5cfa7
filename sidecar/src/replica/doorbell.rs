//! What wakes a replica: an event says "look at the log", nothing more. Lost, duplicated or forged ones cost latency only.
//!
//! One interface: [`PollInterval`] alone is enough for correctness; [`FileWatch`] rings at once where the store is a directory
//! on this machine, [`crate::events::JetStreamBell`] where there is a message bus. Acknowledging is not part of it: who has to
//! acknowledge watches the node's [`crate::node::Progress`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};

/// Rings when the log may have grown.
#[async_trait]
pub trait Doorbell: Send {
    /// Waits for the next ring. Rings between two calls are remembered, as one.
    async fn rung(&mut self);
}

/// Rings every `spec.events.pollInterval`; follows changes of it.
pub struct PollInterval(pub watch::Receiver<Duration>);

#[async_trait]
impl Doorbell for PollInterval {
    async fn rung(&mut self) {
        let interval = *self.0.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            // A shorter interval counts from now; when the sender is gone the last interval stays.
            Ok(()) = self.0.changed() => {}
        }
    }
}

/// Rings when something is created in the `commits/` directory of a file store.
pub struct FileWatch {
    ring: Arc<Notify>,
    _watcher: notify::RecommendedWatcher,
}

impl FileWatch {
    /// Watches `<root>/commits`, which is created when missing.
    ///
    /// # Errors
    /// When the system's watch limit is reached, for example; polling goes on alone then.
    pub fn new(root: &Path) -> notify::Result<Self> {
        let commits = root.join("commits");
        std::fs::create_dir_all(&commits).map_err(notify::Error::io)?;
        let ring = Arc::new(Notify::new());
        let mut watcher = notify::recommended_watcher({
            let ring = ring.clone();
            // A failed watch rings too: looking once more is always right.
            move |_: notify::Result<notify::Event>| ring.notify_one()
        })?;
        watcher.watch(&commits, RecursiveMode::NonRecursive)?;
        Ok(Self {
            ring,
            _watcher: watcher,
        })
    }
}

#[async_trait]
impl Doorbell for FileWatch {
    async fn rung(&mut self) {
        self.ring.notified().await;
    }
}

/// Rings when asked to by this process: a `strong` read wants the log read now.
pub struct Wake(pub Arc<Notify>);

#[async_trait]
impl Doorbell for Wake {
    async fn rung(&mut self) {
        self.0.notified().await;
    }
}
