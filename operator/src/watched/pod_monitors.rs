//! `PodMonitor`s: of a kind that a cluster may have, get later, or lose.
//!
//! ```text
//! asked for every minute ─> served ─> watched ─> store filled: installed ─> a list or a write meets 404: not installed ─┐
//!                                        └───────────────────────── the watch goes on trying to list <─────────────────┘
//! ```
//! Owns: whether the kind counts as installed. Does not own: what one contains (`desired`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::Client;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};

use super::{Scope, Triggers, managed_by, strip, touched};
use crate::desired::pod_monitor_resource;
use crate::error::api_code;

/// How often the cluster is asked whether it knows `PodMonitor` by now.
const LOOK_FOR_POD_MONITOR: Duration = Duration::from_secs(60);

impl Scope<'_> {
    /// Watches `PodMonitor`s from when that kind exists. It counts as installed from each filling of the store on, until a list
    /// is answered by 404.
    pub(super) fn pod_monitors(
        &self,
        triggers: &mut Vec<Triggers>,
        installed: Arc<AtomicBool>,
    ) -> Store<DynamicObject> {
        let resource = pod_monitor_resource();
        let writer = Writer::new(resource.clone());
        let store = writer.as_reader();
        let selected = watcher::Config::default().labels(&managed_by());
        let objects = watcher(self.dynamic(&resource), selected)
            .default_backoff()
            .modify(strip)
            .reflect(writer)
            .filter(move |event| {
                let absent = matches!(event, Err(error) if is_absent(error));
                if absent {
                    installed.store(false, Ordering::Relaxed);
                } else if matches!(event, Ok(watcher::Event::InitDone)) {
                    installed.store(true, Ordering::Relaxed);
                }
                std::future::ready(!absent)
            })
            .touched_objects();
        let client = self.client.clone();
        let appeared = async move {
            while !is_served(&client, &resource).await {
                tokio::time::sleep(LOOK_FOR_POD_MONITOR).await;
            }
            tracing::info!("PodMonitor is installed");
        };
        let objects = stream::once(appeared)
            .map(|()| None)
            .chain(objects.map(Some))
            .filter_map(async |object| object);
        triggers.push(touched(objects));
        store
    }
}

/// Whether a watch cannot list because its kind does not exist.
fn is_absent(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(source) if api_code(source) == Some(404))
}

async fn is_served(client: &Client, resource: &ApiResource) -> bool {
    match client.list_api_group_resources(&resource.api_version).await {
        Ok(list) => list.resources.iter().any(|served| served.kind == resource.kind),
        Err(_) => false,
    }
}
