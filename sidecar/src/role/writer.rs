//! The writer's process.

use std::sync::Arc;

use super::{Parts, RoleError, RoleOptions, stop};
use crate::events::Publisher;
use crate::graph::Watermark;
use crate::ids::Seq;
use crate::node::{Progress, Role};
use crate::replica::Advancer;
use crate::settings::Settings;
use crate::snapshot::bootstrap;
use crate::store::{Remedy, Store, StoreError, check_conditional_writes};
use crate::writer::RunningWriter;

/// From one try to the next while the store cannot be asked.
const STORE_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// Takes over as the writer and serves until a signal comes or a newer writer fences this one.
///
/// # Errors
/// [`RoleError::Commit`] when fenced: the process must exit non-zero.
pub async fn run_writer(options: &RoleOptions) -> Result<(), RoleError> {
    let parts = Parts::start(Role::Writer, options).await?;
    tokio::select! {
        checked = check_store(&*parts.store, &parts.advancer.progress) => checked?,
        () = parts.shutdown.cancelled() => return stop(parts.shutdown, parts.serving).await,
    }
    let events = parts
        .events
        .map(|(settings, health)| Publisher::start(settings, health));
    let (publisher, publishing) = events.unzip();
    // A supervisor that holds this process restarts it itself; in a pod, the kubelet starts it again at once.
    let ends_on_schema = !options.exit_with_parent;
    let optimizer = parts.file.optimizer();
    tokio::spawn(parts.file.follow(parts.shutdown.clone(), ends_on_schema));
    let taking_over = async {
        let found = match parts.found {
            Some(found) => Some(found),
            None => restored(&parts.advancer, &parts.store, &parts.settings).await,
        };
        let schema = &parts.config.schema;
        RunningWriter::take_over(parts.store, parts.advancer, parts.settings, schema, found).await
    };
    let running = tokio::select! {
        taken = taking_over => taken,
        () = parts.shutdown.cancelled() => return stop(parts.shutdown, parts.serving).await,
    };
    let ended = match running {
        Ok(mut running) => {
            if let Some(publisher) = publisher {
                running.publish_to(publisher);
            }
            running.look_when_rung(parts.wake);
            running.optimize_by(optimizer);
            // Nobody else sets it.
            let _ = parts.writer.set(running.writer.clone());
            running.run(parts.shutdown.clone()).await.map_err(RoleError::from)
        }
        Err(error) => {
            // Nothing is published, so nothing is waited for.
            drop(publisher);
            Err(error.into())
        }
    };
    if let Some(publishing) = publishing {
        publishing.finish().await;
    }
    let stopped = stop(parts.shutdown, parts.serving).await;
    ended.and(stopped)
}

/// What this node's graph holds once the newest usable snapshot is restored; `None` where the takeover is to build it.
async fn restored(advancer: &Advancer, store: &Arc<dyn Store>, settings: &Settings) -> Option<Watermark> {
    let bootstrapped = async {
        match advancer.log.head(Seq(0)).await? {
            Some(head) => bootstrap(advancer, store, &head, Seq(0), &settings.snapshots).await,
            None => Ok(None),
        }
    };
    bootstrapped.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "no snapshot could be restored; the graph is built from its tables");
        None
    })
}

/// Waits for a store that does not answer; what must not hold a graph is an error.
async fn check_store(store: &dyn Store, progress: &Progress) -> Result<(), StoreError> {
    loop {
        match check_conditional_writes(store).await {
            Err(error) if error.remedy() != Remedy::Reject => {
                tracing::warn!(%error, "the store cannot be asked yet");
                progress.store_failed(&error);
                tokio::time::sleep(STORE_WAIT).await;
            }
            decided => return decided,
        }
    }
}
