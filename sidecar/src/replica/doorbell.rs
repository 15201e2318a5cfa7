//! What wakes a replica: an event says "look at the log", nothing more. Lost, duplicated or forged ones cost latency only.
//!
//! One interface: [`PollInterval`] alone is enough for correctness; [`FileWatch`] rings at once where the store is a directory
//! on this machine, [`crate::events::JetStreamBell`] where there is a message bus. Acknowledging is not part of it: who has to
//! acknowledge watches the node's [`crate::node::Progress`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
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
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches `<root>/commits`, which is created when missing.
    ///
    /// # Errors
    /// When the system's watch limit is reached, for example; polling goes on alone then.
    pub fn new(root: &Path) -> notify::Result<Self> {
        let ring = Arc::new(Notify::new());
        let watcher = watch_additions(&root.join("commits"), {
            let ring = ring.clone();
            // A failed watch rings too: looking once more is always right.
            move |_| ring.notify_one()
        })?;
        Ok(Self {
            ring,
            _watcher: watcher,
        })
    }
}

/// Calls `noticed` with every addition to `directory`, which is created when missing, and with every failure to watch it.
fn watch_additions(
    directory: &Path,
    noticed: impl Fn(notify::Result<notify::Event>) + Send + 'static,
) -> notify::Result<RecommendedWatcher> {
    std::fs::create_dir_all(directory).map_err(notify::Error::io)?;
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, adds) {
            noticed(event);
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Whether an event may mean a new name in the directory. The system also reports every file that is opened: a replica which
/// such an event wakes reads the log, opens files, and so wakes itself and its neighbours, for ever.
fn adds(event: &notify::Event) -> bool {
    event.need_rescan()
        || matches!(
            event.kind,
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(ModifyKind::Any | ModifyKind::Name(_))
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, Key, Put};

    /// Events of one directory come in order: what the reads caused is noticed before the second record.
    #[tokio::test]
    async fn a_record_is_noticed_and_reading_it_is_not() {
        let root = tempfile::tempdir().unwrap();
        let commits = root.path().join("commits");
        let store = store::open(&format!("file://{}", root.path().display())).unwrap();
        let (noticed, mut events) = tokio::sync::mpsc::unbounded_channel();
        let _watcher = watch_additions(&commits, move |event| noticed.send(event.unwrap()).unwrap()).unwrap();
        let [first, second] = ["commits/1", "commits/2"].map(|name| Key::new(name).unwrap());
        let stored = store.put_if_absent(&first, "record".into()).await.unwrap();
        assert!(matches!(stored, Put::Stored(_)));
        for _ in 0..100 {
            assert!(store.get(&first).await.unwrap().is_some());
            assert_eq!(std::fs::read_dir(&commits).unwrap().count(), 1);
        }
        let stored = store.put_if_absent(&second, "record".into()).await.unwrap();
        assert!(matches!(stored, Put::Stored(_)));
        let mut of_first = 0;
        loop {
            let event = events.recv().await.unwrap();
            if event.paths.contains(&commits.join("2")) {
                break;
            }
            of_first += usize::from(event.paths.contains(&commits.join("1")));
        }
        assert_eq!(of_first, 1, "events of the first record");
    }
}
