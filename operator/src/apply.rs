//! From the objects that are desired to the ones that exist.
//!
//! Flow: [`Objects`] → for each, is the live one as desired? → if not, server-side apply → [`Applied`].
//! Guarantees: a live object that already holds everything desired is not written; anybody's change of a field that the
//! operator owns is; a field that is no longer desired is removed, since the annotation [`APPLIED_ANNOTATION`] (a hash of what
//! is desired) then differs, and server-side apply drops what its manager leaves out. Fields that others added stay. An object
//! of somebody else that has the name already is not taken over.
//! A crash between two writes leaves a prefix of them; the next reconcile compares again and writes the rest.
//! Owns: the order of writes, and deleting what is opted out of. Does not own: the content (`desired`).

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::desired::{GRAPH_LABEL, MANAGED_BY_LABEL, Objects, VolumeGrowth, pod_monitor_resource};
use crate::drift::first_difference;
use crate::error::Error;
use crate::watched::{Watched, of_graph};
use crate::writes::{Target, Writes};

/// Hash of an object as it is desired.
pub(crate) const APPLIED_ANNOTATION: &str = "slipstream.dev/applied";

/// What came of an [`Objects`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    /// Kind and name of each object that was written.
    pub written: Vec<String>,
    /// The workloads as they are now.
    pub deployment: Option<Deployment>,
    /// See `deployment`.
    pub stateful_set: Option<StatefulSet>,
    /// What a person should know of the volume's size.
    pub volume_note: Option<String>,
    /// Whether the writer's new template waits for the replicas.
    pub writer_waits: bool,
}

/// Makes the cluster hold `objects`.
///
/// # Errors
/// At the first request that fails; what was written before stays.
pub(crate) async fn apply(objects: Objects, watched: &Watched, writes: &Writes) -> Result<Applied, Error> {
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
        sidecar_image: _,
    } = objects;
    let graph = Graph::of(&config_map)?;
    let mut pass = Pass {
        writes,
        written: Vec::new(),
    };
    // What pods refer to comes before the pods, and replicas before the writer.
    pass.object(&watched.config_maps, &config_map).await?;
    pass.object(&watched.service_accounts, &writer_service_account)
        .await?;
    pass.object(&watched.service_accounts, &replica_service_account)
        .await?;
    pass.object(&watched.services, &writer_headless_service).await?;
    pass.object(&watched.services, &writer_service).await?;
    pass.object(&watched.services, &read_service).await?;
    let deployment = pass.object(&watched.deployments, &replica_deployment).await?;
    let stateful_set = pass.object(&watched.stateful_sets, &writer_stateful_set).await?;
    pass.object(&watched.disruption_budgets, &writer_disruption_budget)
        .await?;
    pass.object(&watched.disruption_budgets, &replica_disruption_budget)
        .await?;
    pass.network_policy(watched, &graph, network_policy.as_ref())
        .await?;
    pass.pod_monitor(watched, &graph, pod_monitor.as_ref()).await?;
    let volume_note = pass.volume(volume_growth).await?;
    Ok(Applied {
        written: pass.written,
        deployment,
        stateful_set,
        volume_note,
        writer_waits,
    })
}

/// Makes one object exist as desired, outside the set of [`Objects`]: the cleanup Job.
pub(crate) async fn apply_one<K>(store: &Store<K>, desired: &K, writes: &Writes) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + serde::de::DeserializeOwned
        + 'static,
{
    let mut pass = Pass {
        writes,
        written: Vec::new(),
    };
    pass.object(store, desired).await?;
    Ok(!pass.written.is_empty())
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

struct Pass<'a> {
    writes: &'a Writes,
    written: Vec<String>,
}

impl Pass<'_> {
    /// Writes `desired` unless the live object holds it; answers with the object as it is now.
    async fn object<K>(&mut self, store: &Store<K>, desired: &K) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Serialize
            + serde::de::DeserializeOwned
            + 'static,
    {
        let live = store.get(&ObjectRef::from_obj(desired));
        let target = Target::of::<K>(&desired.namespace().unwrap_or_default(), &desired.name_any());
        let desired = stamped(&target, desired)?;
        match &live {
            Some(live) if !self.differs(&target, &desired, live.as_ref())? => {
                return Ok(Some(live.as_ref().clone()));
            }
            Some(_) => {}
            None => self.claim(&target, &desired).await?,
        }
        let written = self.write(&target, &desired).await?;
        let written = written
            .try_parse()
            .map_err(|source| unreadable(&target, source))?;
        Ok(Some(written))
    }

    /// Before the first write of an object that is not in sight: the watches see only what carries the operator's labels, and
    /// an apply by force would take over whatever has the name.
    async fn claim(&self, target: &Target, desired: &Value) -> Result<(), Error> {
        match self.writes.find(target).await? {
            Some(found) if !is_ours(&found, desired) => {
                let Target { namespace, name, .. } = target;
                Err(Error::NotOurs(format!(
                    "{} {namespace}/{name}",
                    target.resource.kind
                )))
            }
            _ => Ok(()),
        }
    }

    fn differs(&self, target: &Target, desired: &Value, live: &impl Serialize) -> Result<bool, Error> {
        let live = serde_json::to_value(live).map_err(|source| unreadable(target, source))?;
        let difference = first_difference(desired, &live);
        if let Some(path) = &difference {
            tracing::info!(
                kind = target.resource.kind,
                name = target.name,
                path,
                "differs from what is desired"
            );
        }
        Ok(difference.is_some())
    }

    async fn write(&mut self, target: &Target, desired: &Value) -> Result<DynamicObject, Error> {
        let object = self.writes.apply(target, desired).await?;
        self.written
            .push(format!("{} {}", target.resource.kind, target.name));
        Ok(object)
    }

    async fn network_policy(
        &mut self,
        watched: &Watched,
        graph: &Graph,
        desired: Option<&NetworkPolicy>,
    ) -> Result<(), Error> {
        if let Some(desired) = desired {
            return self.object(&watched.network_policies, desired).await.map(|_| ());
        }
        for extra in of_graph(&watched.network_policies, &graph.namespace, &graph.name) {
            let target = Target::of::<NetworkPolicy>(&graph.namespace, &extra.name_any());
            self.delete(&target, extra.uid()).await?;
        }
        Ok(())
    }

    async fn pod_monitor(
        &mut self,
        watched: &Watched,
        graph: &Graph,
        desired: Option<&DynamicObject>,
    ) -> Result<(), Error> {
        let live = of_graph(&watched.pod_monitors, &graph.namespace, &graph.name);
        // Not wanted means that the kind is not installed: there is nothing to delete.
        let Some(desired) = desired else { return Ok(()) };
        let target = Target::dynamic(pod_monitor_resource(), &graph.namespace, &desired.name_any());
        let live = live.into_iter().find(|live| live.name_any() == target.name);
        let desired = stamped(&target, desired)?;
        match live {
            Some(live) if !self.differs(&target, &desired, live.as_ref())? => return Ok(()),
            Some(_) => {}
            None => self.claim(&target, &desired).await?,
        }
        match self.write(&target, &desired).await {
            // The namespace exists, so it is the kind that does not, any more: nobody scrapes.
            Err(error) if error.code() == Some(404) && !error.is_namespace_gone() => {
                watched.pod_monitor_is_gone();
                Ok(())
            }
            written => written.map(|_| ()),
        }
    }

    /// Answers with what a person has to do, when the volume cannot have the size asked for.
    async fn volume(&mut self, growth: VolumeGrowth) -> Result<Option<String>, Error> {
        let claim = match growth {
            VolumeGrowth::None => return Ok(None),
            VolumeGrowth::Refused(why) => return Ok(Some(why)),
            VolumeGrowth::Grow(claim) => claim,
        };
        let target =
            Target::of::<PersistentVolumeClaim>(&claim.namespace().unwrap_or_default(), &claim.name_any());
        let mut size = serde_json::to_value(&claim).map_err(|source| unreadable(&target, source))?;
        size["apiVersion"] = target.resource.api_version.clone().into();
        size["kind"] = target.resource.kind.clone().into();
        self.write(&target, &size).await?;
        Ok(None)
    }

    async fn delete(&mut self, target: &Target, uid: Option<String>) -> Result<(), Error> {
        self.writes.delete(target, uid).await?;
        self.written
            .push(format!("{} {} (deleted)", target.resource.kind, target.name));
        Ok(())
    }
}

/// Whether `found` belongs to the graph for which `desired` is: by its controller, or else by the labels that only the operator
/// sets, which is how an orphaned object is found again.
fn is_ours(found: &DynamicObject, desired: &Value) -> bool {
    let owner = &desired["metadata"]["ownerReferences"][0]["uid"];
    let controller = found
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    let is_label = |label: &str| {
        let wanted = desired["metadata"]["labels"][label].as_str();
        wanted.is_some() && found.labels().get(label).map(String::as_str) == wanted
    };
    controller.is_some_and(|controller| *owner == controller.uid)
        || (is_label(GRAPH_LABEL) && is_label(MANAGED_BY_LABEL))
}

/// The object as it is applied: with kind, API version and the hash of all the rest.
fn stamped<K: Serialize>(target: &Target, desired: &K) -> Result<Value, Error> {
    let mut value = serde_json::to_value(desired).map_err(|source| unreadable(target, source))?;
    value["apiVersion"] = target.resource.api_version.clone().into();
    value["kind"] = target.resource.kind.clone().into();
    // The hash must not depend on the order of keys, which a feature of serde_json decides.
    value.sort_all_objects();
    let hash = hex::encode(&Sha256::digest(value.to_string())[..16]);
    value["metadata"]["annotations"][APPLIED_ANNOTATION] = hash.into();
    Ok(value)
}

fn unreadable(target: &Target, source: impl std::fmt::Display) -> Error {
    let object = format!("{} {}/{}", target.resource.kind, target.namespace, target.name);
    let source = <serde_json::Error as serde::ser::Error>::custom(source);
    Error::Json { object, source }
}
