//! The operator's sight of the cluster: one watch for each kind, filtered by label, kept in memory.
//!
//! Flow: watches → stores, from which every reconcile reads → and for each change the name of the graph it belongs to.
//! A watch that breaks is resumed with a growing delay, and its store keeps what was last seen.
//! Resources themselves are kept as they came ([`DynamicObject`]), so that one of a wrong form does not stop the watch.
//! Owns: which kinds are watched and by which label. Does not own: what a graph's objects mean (`observe`).

mod pod_monitors;

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crds::ReplicatedGraphDB;
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Client, Resource, ResourceExt};
use metrics::counter;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::desired::{GRAPH_LABEL, MANAGED_BY, MANAGED_BY_LABEL};

/// Names a graph.
pub(crate) type GraphRef = ObjectRef<DynamicObject>;

/// Names of graphs that something happened to.
pub(crate) type Triggers = BoxStream<'static, GraphRef>;

/// The kind that the operator serves.
pub fn graph_resource() -> ApiResource {
    ApiResource::erase::<ReplicatedGraphDB>(&())
}

/// Everything that is watched.
pub(crate) struct Watched {
    pub graphs: Store<DynamicObject>,
    pub config_maps: Store<ConfigMap>,
    pub service_accounts: Store<ServiceAccount>,
    pub services: Store<Service>,
    pub deployments: Store<Deployment>,
    pub stateful_sets: Store<StatefulSet>,
    pub disruption_budgets: Store<PodDisruptionBudget>,
    pub network_policies: Store<NetworkPolicy>,
    pub pod_monitors: Store<DynamicObject>,
    pub jobs: Store<Job>,
    pub pods: Store<Pod>,
    pub claims: Store<PersistentVolumeClaim>,
    pod_monitor_installed: Arc<AtomicBool>,
    filled: OnceCell<()>,
}

impl Watched {
    /// Prepares all watches; they run while the stream is polled.
    pub(crate) fn new(client: &Client, namespace: Option<&str>) -> (Arc<Self>, Triggers) {
        let mut triggers = Vec::new();
        let scope = Scope { client, namespace };
        let graphs = scope.graphs(&mut triggers);
        let pod_monitor_installed = Arc::new(AtomicBool::new(false));
        let watched = Self {
            graphs,
            config_maps: scope.owned(&mut triggers),
            service_accounts: scope.owned(&mut triggers),
            services: scope.owned(&mut triggers),
            deployments: scope.owned(&mut triggers),
            stateful_sets: scope.owned(&mut triggers),
            disruption_budgets: scope.owned(&mut triggers),
            network_policies: scope.owned(&mut triggers),
            pod_monitors: scope.pod_monitors(&mut triggers, Arc::clone(&pod_monitor_installed)),
            jobs: scope.owned(&mut triggers),
            // Made by other controllers, from templates: these carry the graph's label in any case.
            pods: scope.labelled(&mut triggers, GRAPH_LABEL.to_owned()),
            claims: scope.labelled(&mut triggers, GRAPH_LABEL.to_owned()),
            pod_monitor_installed,
            filled: OnceCell::new(),
        };
        (Arc::new(watched), stream::select_all(triggers).boxed())
    }

    /// Waits until every store has been filled once: before that, absent does not mean gone.
    ///
    /// A store wakes only the last of those who wait for it, so one waits for all; and nobody here for `graphs`, which
    /// `applier` waits for.
    pub(crate) async fn wait_until_filled(&self) {
        self.filled.get_or_init(|| self.fill()).await;
    }

    async fn fill(&self) {
        let Self {
            graphs: _,
            config_maps,
            service_accounts,
            services,
            deployments,
            stateful_sets,
            disruption_budgets,
            network_policies,
            // That kind may never be installed; it counts as installed once this store is filled.
            pod_monitors: _,
            jobs,
            pods,
            claims,
            pod_monitor_installed: _,
            filled: _,
        } = self;
        // A writer is dropped only when the watches end, and then nothing waits any more.
        let _ = tokio::join!(
            config_maps.wait_until_ready(),
            service_accounts.wait_until_ready(),
            services.wait_until_ready(),
            deployments.wait_until_ready(),
            stateful_sets.wait_until_ready(),
            disruption_budgets.wait_until_ready(),
            network_policies.wait_until_ready(),
            jobs.wait_until_ready(),
            pods.wait_until_ready(),
            claims.wait_until_ready(),
        );
    }

    /// Whether the cluster knows `PodMonitor`, and those of the operator are in sight.
    pub(crate) fn pod_monitor_installed(&self) -> bool {
        self.pod_monitor_installed.load(Ordering::Relaxed)
    }

    /// A write found that the cluster does not know `PodMonitor` any more; its watch finds out when it does again.
    pub(crate) fn pod_monitor_is_gone(&self) {
        if self.pod_monitor_installed.swap(false, Ordering::Relaxed) {
            tracing::info!("PodMonitor is not installed any more");
        }
    }

    /// The object of this name, if it exists.
    pub(crate) fn get<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        store.get(&ObjectRef::new(name).within(namespace))
    }
}

/// The objects of a store that belong to a graph.
pub(crate) fn of_graph<K>(store: &Store<K>, namespace: &str, graph: &str) -> Vec<Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store.state_filter(|object| {
        object.namespace().as_deref() == Some(namespace)
            && object.labels().get(GRAPH_LABEL).map(String::as_str) == Some(graph)
    })
}

struct Scope<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
}

impl Scope<'_> {
    fn owned<K>(&self, triggers: &mut Vec<Triggers>) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        K: Send + Sync + 'static,
    {
        self.labelled(triggers, managed_by())
    }

    fn labelled<K>(&self, triggers: &mut Vec<Triggers>, selector: String) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        K: Send + Sync + 'static,
    {
        let api = match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let writer = Writer::<K>::default();
        let store = writer.as_reader();
        triggers.push(touched(watch(api, selector, writer)));
        store
    }

    fn dynamic(&self, resource: &ApiResource) -> Api<DynamicObject> {
        match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    /// Resources trigger by what a person changes: spec, deletion, finalizers; not by the operator's own status.
    fn graphs(&self, triggers: &mut Vec<Triggers>) -> Store<DynamicObject> {
        let writer = Writer::new(graph_resource());
        let store = writer.as_reader();
        let changed = watcher(self.dynamic(&graph_resource()), watcher::Config::default())
            .default_backoff()
            .modify(strip)
            .reflect(writer)
            .applied_objects()
            .predicate_filter(
                predicates::generation.combine(predicates::finalizers),
                PredicateConfig::default(),
            )
            .filter_map(async |object| logged(object))
            .map(|graph| ObjectRef::from_obj_with(&graph, graph_resource()));
        triggers.push(changed.boxed());
        store
    }
}

fn managed_by() -> String {
    format!("{MANAGED_BY_LABEL}={MANAGED_BY}")
}

fn watch<K>(
    api: Api<K>,
    selector: String,
    writer: Writer<K>,
) -> impl Stream<Item = watcher::Result<K>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync + Unpin,
{
    watcher(api, watcher::Config::default().labels(&selector))
        .default_backoff()
        .modify(strip)
        .reflect(writer)
        .touched_objects()
}

/// Nobody reads these, and they are half of an object's size.
fn strip<K: ResourceExt>(object: &mut K) {
    object.managed_fields_mut().clear();
}

/// The graph of each object that was touched.
fn touched<K>(objects: impl Stream<Item = watcher::Result<K>> + Send + 'static) -> Triggers
where
    K: Resource + Send + 'static,
{
    objects
        .filter_map(async |object| graph_of(&logged(object)?))
        .boxed()
}

fn graph_of(object: &impl Resource) -> Option<GraphRef> {
    let graph = object.meta().labels.as_ref()?.get(GRAPH_LABEL)?;
    let namespace = object.meta().namespace.as_deref()?;
    Some(ObjectRef::new_with(graph, graph_resource()).within(namespace))
}

/// A watch goes on by itself after an error, so an error is only told.
fn logged<K>(object: watcher::Result<K>) -> Option<K> {
    object
        .inspect_err(|error| {
            counter!("slipstream_operator_watch_errors_total").increment(1);
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a watch broke and is resumed"
            );
        })
        .ok()
}
