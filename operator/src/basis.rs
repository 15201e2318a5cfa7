//! What a graph's objects follow from, and the objects themselves, by version: while none of it changes, there is nothing to
//! decide or to compare, so most reconciles are spared both.
//!
//! Guarantees: a basis is taken before the objects are looked at, so that a change in between shows as a difference later.
//! Owns: which versions count. Does not own: what is done when they differ (`act`).

use std::collections::BTreeMap;
use std::hash::Hash;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};

use crate::apply::{Applied, Written};
use crate::controller::Subject;
use crate::desired::config_map_name;
use crate::observe::Seen;
use crate::watched::{Watched, of_graph};
use crate::writes::Target;

/// Versions of a graph's resource and objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Basis {
    uid: Option<String>,
    generation: Option<i64>,
    image_before: Option<String>,
    pod_monitor_installed: bool,
    /// By kind and name.
    objects: BTreeMap<String, String>,
}

impl Basis {
    /// As the watches have it now.
    pub(crate) fn of(subject: &Subject, seen: &Seen, watched: &Watched) -> Self {
        let mut objects = Objects {
            subject,
            versions: BTreeMap::new(),
        };
        let name = &subject.name;
        objects.named(&watched.config_maps, &config_map_name(name));
        for role in ["writer", "replica"] {
            let name = format!("{name}-{role}");
            objects.named(&watched.service_accounts, &name);
            objects.named(&watched.disruption_budgets, &name);
        }
        for service in ["writer-headless", "writer", "read"] {
            objects.named(&watched.services, &format!("{name}-{service}"));
        }
        let cluster = &seen.cluster;
        objects.add::<Deployment>(cluster.replica.as_deref());
        objects.add::<StatefulSet>(cluster.writer.as_deref());
        objects.add::<PersistentVolumeClaim>(cluster.data_claim.as_deref());
        objects.labelled(&watched.network_policies, "NetworkPolicy");
        objects.labelled(&watched.pod_monitors, "PodMonitor");
        Self {
            uid: subject.graph.uid(),
            generation: subject.graph.metadata.generation,
            image_before: cluster.image_before.clone(),
            pod_monitor_installed: cluster.pod_monitor_installed,
            objects: objects.versions,
        }
    }

    /// After `applied`, when all objects are as desired and stay so until one of them changes; none when there is more to
    /// do, or when what was written decides what comes next.
    pub(crate) fn after(mut self, applied: &Applied) -> Option<Self> {
        if !applied.refused.is_empty() || !applied.waiting.is_empty() || applied.volume_note.is_some() {
            return None;
        }
        for Written { object, version } in &applied.written {
            let decides = ["Deployment ", "StatefulSet ", "PersistentVolumeClaim "];
            if decides.iter().any(|kind| object.starts_with(kind)) {
                return None;
            }
            match version {
                Some(version) => self.objects.insert(object.clone(), version.clone()),
                None => self.objects.remove(object),
            };
        }
        Some(self)
    }
}

struct Objects<'a> {
    subject: &'a Subject,
    versions: BTreeMap<String, String>,
}

impl Objects<'_> {
    fn named<K>(&mut self, store: &Store<K>, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + 'static,
    {
        self.add(Watched::get(store, &self.subject.namespace, name).as_deref());
    }

    fn add<K>(&mut self, object: Option<&K>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        if let Some(object) = object {
            let target = Target::of::<K>(&self.subject.namespace, &object.name_any());
            self.insert(target.object(), object);
        }
    }

    /// Also those of the graph that should not be there.
    fn labelled<K>(&mut self, store: &Store<K>, kind: &str)
    where
        K: Resource + Clone + 'static,
        K::DynamicType: Eq + Hash + Clone,
    {
        for object in of_graph(store, &self.subject.namespace, &self.subject.name) {
            self.insert(format!("{kind} {}", object.name_any()), object.as_ref());
        }
    }

    fn insert(&mut self, object: String, of: &impl ResourceExt) {
        self.versions
            .insert(object, of.resource_version().unwrap_or_default());
    }
}
