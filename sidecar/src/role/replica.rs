//! A replica's process.

use super::{Parts, RoleError, RoleOptions, stop};
use crate::events::JetStreamBell;
use crate::node::Role;
use crate::replica::{Doorbell, FileWatch, LeaseKeeper, PollInterval, Replica, Wake};
use crate::snapshot::Snapshotter;

/// Follows the log and serves until a signal comes; then leaves: its lease and its durable consumer go.
pub async fn run_replica(options: &RoleOptions) -> Result<(), RoleError> {
    let parts = Parts::start(Role::Replica, options).await?;
    let mut doorbells: Vec<Box<dyn Doorbell>> = vec![
        Box::new(PollInterval(parts.file.poll_interval())),
        Box::new(Wake(parts.wake.clone())),
    ];
    if let Some(root) = parts.store.local_dir() {
        match FileWatch::new(root) {
            Ok(watch) => doorbells.push(Box::new(watch)),
            Err(error) => tracing::warn!(%error, "the store's directory cannot be watched; polling alone"),
        }
    }
    let bell = parts.events.map(|(settings, health)| {
        let (bell, task) = JetStreamBell::start(
            settings,
            &parts.settings.holder,
            parts.advancer.progress.clone(),
            health,
            parts.shutdown.clone(),
        );
        doorbells.push(Box::new(bell));
        task
    });
    let snapshots = parts.snapshot_inbox.map(|inbox| {
        Snapshotter::new(
            parts.store.clone(),
            &parts.settings.holder,
            parts.settings.snapshots,
            parts.file.snapshots(),
            inbox,
            parts.shutdown.child_token(),
        )
    });
    tokio::spawn(parts.file.follow(parts.shutdown.clone(), false));
    let clock = parts.advancer.progress.clock().clone();
    let lease = LeaseKeeper::new(&parts.settings.holder, parts.settings.lease_ttl, clock)?;
    let mut replica = Replica::new(
        parts.advancer,
        parts.store,
        lease,
        parts.found,
        parts.settings.coalesce,
        parts.settings.checkpoint_commits,
    );
    if let Some(snapshots) = snapshots {
        replica = replica.with_snapshots(snapshots, parts.settings.snapshots);
    }
    replica.run(doorbells, parts.shutdown.clone()).await;
    if let Some(bell) = bell {
        bell.finish().await;
    }
    stop(parts.shutdown, parts.serving).await
}
