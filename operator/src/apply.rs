//! From the objects that are desired to the ones that exist.
//!
//! Flow: [`Objects`] → for each, is the live one as desired? → if not, server-side apply → [`Applied`].
//! A refusal of one object does not keep the others from being written, except that pods are left as they are while something
//! that they refer to is refused.
//! A crash between two writes leaves a prefix of them; the next reconcile compares again and writes the rest.
//! Owns: the order of writes, and deleting what is opted out of. Does not own: the content (`desired`), how one object is
//! compared and written (`pass`).

mod pass;

use std::collections::HashMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::DynamicObject;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::desired::{GRAPH_LABEL, Objects, VolumeGrowth, pod_monitor_resource};
use crate::error::Error;
use crate::watched::{Watched, of_graph};
use crate::writes::{Target, Writes};

use pass::Pass;
pub(crate) use pass::Written;

/// What came of an [`Objects`].
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Each object that was written, or deleted.
    pub written: Vec<Written>,
    /// Kind and name of each object that the API server refused just now, and why.
    pub refused: Vec<(String, Error)>,
    /// Kind and name of each object that is not as desired and was left alone, because it was refused before; and why.
    pub waiting: Vec<(String, String)>,
    /// The workloads as they are now.
    pub deployment: Option<Deployment>,
    /// See `deployment`.
    pub stateful_set: Option<StatefulSet>,
    /// What a person should know of the volume's size.
    pub volume_note: Option<String>,
    /// Whether the writer's new template waits for the replicas.
    pub writer_waits: bool,
    /// The sidecars' image.
    pub sidecar_image: Option<String>,
}

/// Makes the cluster hold `objects`. Those in `waiting` (by kind and name, with why) are not written.
///
/// # Errors
/// At the first request that fails and is no refusal of its object; what was written before stays.
pub(crate) async fn apply(
    objects: Objects,
    watched: &Watched,
    writes: &Writes,
    waiting: &HashMap<String, String>,
) -> Result<Applied, Error> {
    let Objects {
        config_map,
        writer_service_account,
        replica_service_account,
        writer_headless_service,
        writer_service,
        read_service,
        replica_deployment,
        writer_stateful_set,
        writer_disruption_budget,
        replica_disruption_budget,
        network_policy,
        pod_monitor,
        volume_growth,
        writer_waits,
        sidecar_image,
    } = objects;
    let graph = Graph::of(&config_map)?;
    let mut pass = Pass::new(writes, waiting);
    // What pods refer to comes before the pods, and replicas before the writer.
    let accounts = &watched.service_accounts;
    let config_map = pass.object(&watched.config_maps, &config_map).await?;
    let writer_account = pass.object(accounts, &writer_service_account).await?;
    let replica_account = pass.object(accounts, &replica_service_account).await?;
    pass.object(&watched.services, &writer_headless_service).await?;
    pass.object(&watched.services, &writer_service).await?;
    pass.object(&watched.services, &read_service).await?;
    let (mut deployment, mut stateful_set) = (None, None);
    if config_map.is_some() && writer_account.is_some() && replica_account.is_some() {
        deployment = pass.object(&watched.deployments, &replica_deployment).await?;
        stateful_set = pass.object(&watched.stateful_sets, &writer_stateful_set).await?;
    }
    let budgets = &watched.disruption_budgets;
    pass.object(budgets, &writer_disruption_budget).await?;
    pass.object(budgets, &replica_disruption_budget).await?;
    apply_network_policy(&mut pass, watched, &graph, network_policy.as_ref()).await?;
    apply_pod_monitor(&mut pass, watched, &graph, pod_monitor.as_ref()).await?;
    let volume_note = apply_volume(&mut pass, volume_growth).await?;
    Ok(Applied {
        deployment,
        stateful_set,
        volume_note,
        writer_waits,
        sidecar_image: Some(sidecar_image),
        written: pass.written,
        refused: pass.refused,
        waiting: pass.left_alone,
    })
}

/// Makes one object exist as desired, outside the set of [`Objects`]: the cleanup Job and its account.
///
/// # Errors
/// Also when the API server refuses it.
pub(crate) async fn apply_one<K>(store: &Store<K>, desired: &K, writes: &Writes) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + 'static,
{
    let none_waits = HashMap::new();
    let mut pass = Pass::new(writes, &none_waits);
    pass.object(store, desired).await?;
    match pass.refused.pop() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

struct Graph {
    namespace: String,
    name: String,
}

impl Graph {
    /// Every object carries the graph's name and namespace; the ConfigMap is always there.
    fn of(object: &impl ResourceExt) -> Result<Self, Error> {
        Ok(Self {
            namespace: object.namespace().ok_or(Error::Incomplete("namespace"))?,
            name: object
                .labels()
                .get(GRAPH_LABEL)
                .cloned()
                .ok_or(Error::Incomplete("graph label"))?,
        })
    }
}

async fn apply_network_policy(
    pass: &mut Pass<'_>,
    watched: &Watched,
    graph: &Graph,
    desired: Option<&NetworkPolicy>,
) -> Result<(), Error> {
    if let Some(desired) = desired {
        return pass.object(&watched.network_policies, desired).await.map(|_| ());
    }
    for extra in of_graph(&watched.network_policies, &graph.namespace, &graph.name) {
        let target = Target::of::<NetworkPolicy>(&graph.namespace, &extra.name_any());
        pass.delete(&target, extra.uid()).await?;
    }
    Ok(())
}

async fn apply_pod_monitor(
    pass: &mut Pass<'_>,
    watched: &Watched,
    graph: &Graph,
    desired: Option<&DynamicObject>,
) -> Result<(), Error> {
    // Not wanted means that the kind is not installed: there is nothing to delete.
    let Some(desired) = desired else { return Ok(()) };
    let target = Target::dynamic(pod_monitor_resource(), &graph.namespace, &desired.name_any());
    let live = of_graph(&watched.pod_monitors, &graph.namespace, &graph.name);
    let live = live.into_iter().find(|live| live.name_any() == target.name);
    match pass.put(&target, desired, live.as_deref()).await {
        // The namespace exists, so it is the kind that does not, any more: nobody scrapes.
        Err(error) if error.code() == Some(404) && !error.is_namespace_gone() => {
            watched.pod_monitor_is_gone();
            Ok(())
        }
        put => put.map(|_| ()),
    }
}

/// Answers with what a person has to do, when the volume cannot have the size asked for.
async fn apply_volume(pass: &mut Pass<'_>, growth: VolumeGrowth) -> Result<Option<String>, Error> {
    let claim = match growth {
        VolumeGrowth::None => return Ok(None),
        VolumeGrowth::Refused(why) => return Ok(Some(why)),
        VolumeGrowth::Grow(claim) => claim,
    };
    let target =
        Target::of::<PersistentVolumeClaim>(&claim.namespace().unwrap_or_default(), &claim.name_any());
    pass.write(&target, &claim).await?;
    Ok(None)
}
