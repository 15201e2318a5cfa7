//! All graphs of `figures` are changed at once: the time from each change to its ConfigMap.
//!
//! Owns: the changes, and seeing what comes of them without being in their way. Does not own: the graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::ReplicatedGraphDB;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::ScenarioError;
use super::figures::{GRAPHS, RECONCILED, has_text, name};
use crate::objects::Space;
use crate::report::Latencies;
use crate::steps::expect_equal;

/// Who change them.
const CLIENTS: usize = 8;

/// Changes all of them as fast as the API server takes it. One `kubectl get --watch` sees what comes of it, from before the
/// first change on: two hundred waiting clients would measure each other. Answers with the time from each request to its
/// ConfigMap, and how long the API server took to accept all requests.
pub(super) async fn change_all(
    space: &Space,
    interval: &str,
) -> Result<(Latencies, Duration), ScenarioError> {
    let (watches, mut watching) = oneshot::channel();
    let mut seen = tokio::spawn(see_all(space.clone(), watches));
    tokio::select! {
        _ = &mut watching => {}
        early = &mut seen => { early.map_err(broken)??; }
    }
    let patch = Arc::new(Patch::Merge(
        json!({"spec": {"events": {"pollInterval": interval}}}),
    ));
    let clients = Arc::new(Semaphore::new(CLIENTS));
    let (mut changes, first) = (JoinSet::new(), Instant::now());
    for number in 0..GRAPHS {
        let (graphs, patch) = (space.api::<ReplicatedGraphDB>(), Arc::clone(&patch));
        let clients = Arc::clone(&clients);
        changes.spawn(async move {
            let _permit = clients.acquire_owned().await;
            let (graph, began) = (name(number), Instant::now());
            graphs.patch(&graph, &PatchParams::default(), &*patch).await?;
            Ok::<_, kube::Error>((format!("{graph}-config"), began))
        });
    }
    let mut changed = BTreeMap::new();
    while let Some(change) = changes.join_next().await {
        let (map, began) = change.map_err(broken)??;
        changed.insert(map, began);
    }
    let accepted = first.elapsed();
    let seen = seen.await.map_err(broken)??;
    let mut latencies = Latencies::default();
    for (map, began) in changed {
        let found = seen.get(&map);
        let found = found.ok_or_else(|| ScenarioError::wrong(map, "a new config", "the old one"))?;
        latencies.add(found.saturating_duration_since(began));
    }
    // Each of them changed; this is whether to what was asked for.
    let text = format!("pollInterval: {interval}");
    let maps = space.api::<ConfigMap>().list(&ListParams::default()).await?.items;
    let changed = maps.iter().filter(|map| has_text(map, &text)).count();
    expect_equal(format!("ConfigMaps with `{text}`"), &changed, &GRAPHS)?;
    Ok((latencies, accepted))
}

fn broken(error: JoinError) -> ScenarioError {
    ScenarioError::wrong("a measurement", "an end", error.to_string())
}

/// When each graph's ConfigMap was first changed. `watches` is told once all are in sight.
async fn see_all(
    space: Space,
    watches: oneshot::Sender<()>,
) -> Result<BTreeMap<String, Instant>, ScenarioError> {
    let args = [
        "--namespace",
        &space.namespace,
        "get",
        "configmaps",
        "--watch",
        "--output=name",
    ];
    let mut kubectl = space.cluster.kubectl_command(args);
    let kubectl = kubectl.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let failed =
        |error: std::io::Error| ScenarioError::wrong("kubectl get --watch", "lines", error.to_string());
    let mut kubectl = kubectl.map_err(failed)?;
    let output = kubectl.stdout.take();
    let output = output.ok_or_else(|| ScenarioError::wrong("kubectl get --watch", "an output", "none"))?;
    let mut lines = BufReader::new(output).lines();
    let (mut listed, mut changed) = (BTreeSet::new(), BTreeMap::new());
    let mut watches = Some(watches);
    let all = async {
        while changed.len() < GRAPHS {
            let Some(line) = lines.next_line().await? else {
                break;
            };
            let map = line.trim_start_matches("configmap/").to_owned();
            // Every name comes once as it is, and then with each change.
            if map.ends_with("-config") && !listed.insert(map.clone()) {
                changed.entry(map).or_insert_with(Instant::now);
            }
            if listed.len() == GRAPHS
                && let Some(watches) = watches.take()
            {
                let _ = watches.send(());
            }
        }
        Ok(())
    };
    // What is missing then, is missing in what is returned.
    if let Ok(ended) = tokio::time::timeout(RECONCILED, all).await {
        ended.map_err(failed)?;
    }
    Ok(changed)
}
