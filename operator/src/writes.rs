//! Every write to the API server, in one place.
//!
//! Guarantees: server-side apply by the one field manager, with force, so that a write repeated after a crash changes
//! nothing; each write is counted, bounded in time, and stands behind the fail point `operator::before_api_write`, so that a
//! test can end the process before any of them.
//! Owns: how an object is written, and the look at a name before its first write. Does not own: what is written, and whether it has to be.

use std::future::Future;
use std::time::Duration;

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use kube::{Client, ResourceExt};
use metrics::counter;
use serde_json::{Value, json};

use crate::error::{Error, api_code};

/// Owner of every field that the operator sets.
pub const FIELD_MANAGER: &str = "slipstream-operator";

/// Longest time for one request; a hung connection must not hold a graph for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Which object a write is about.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub resource: ApiResource,
    pub namespace: String,
    pub name: String,
}

impl Target {
    /// An object of kind `K`.
    pub(crate) fn of<K: kube::Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Self {
        Self::dynamic(ApiResource::erase::<K>(&()), namespace, name)
    }

    /// An object whose kind is not among the compiled ones.
    pub(crate) fn dynamic(resource: ApiResource, namespace: &str, name: &str) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self {
            resource,
            namespace,
            name,
        }
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), &self.namespace, &self.resource)
    }

    /// Kind and name.
    pub(crate) fn object(&self) -> String {
        format!("{} {}", self.resource.kind, self.name)
    }

    fn action(&self, verb: &str) -> String {
        format!("{verb} {} {}/{}", self.resource.kind, self.namespace, self.name)
    }
}

/// The writing half of the API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writes {
    client: Client,
}

impl Writes {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The object as it is, for before a first write. A list of one: reading every object by name is a right that the operator
    /// does without.
    pub(crate) async fn find(&self, target: &Target) -> Result<Option<DynamicObject>, Error> {
        let named = ListParams::default().fields(&format!("metadata.name={}", target.name));
        let api = target.api(&self.client);
        let action = target.action("find");
        match tokio::time::timeout(REQUEST_TIMEOUT, api.list(&named)).await {
            Ok(Ok(list)) => Ok(list
                .items
                .into_iter()
                .find(|object| object.name_any() == target.name)),
            // The kind is not known: the write will say so.
            Ok(Err(error)) if api_code(&error) == Some(404) => Ok(None),
            Ok(Err(error)) => Err(Error::api(action)(error)),
            Err(_) => Err(Error::Task(format!("{action}: no answer in {REQUEST_TIMEOUT:?}"))),
        }
    }

    /// Server-side apply. `object` is the whole of what the operator wants of it.
    pub(crate) async fn apply(&self, target: &Target, object: &Value) -> Result<DynamicObject, Error> {
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let api = target.api(&self.client);
        let patch = Patch::Apply(object);
        let request = api.patch(&target.name, &parameters, &patch);
        self.send("apply", target, request).await
    }

    /// Server-side apply of the status subresource.
    pub(crate) async fn apply_status(&self, target: &Target, status: Value) -> Result<DynamicObject, Error> {
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let object = json!({
            "apiVersion": target.resource.api_version,
            "kind": target.resource.kind,
            "metadata": {"name": target.name},
            "status": status,
        });
        let api = target.api(&self.client);
        let patch = Patch::Apply(&object);
        let request = api.patch_status(&target.name, &parameters, &patch);
        self.send("apply_status", target, request).await
    }

    /// Replaces `metadata.finalizers`; refused (409) when the object is not at `resource_version` any more.
    pub(crate) async fn set_finalizers(
        &self,
        target: &Target,
        resource_version: &str,
        finalizers: &[String],
    ) -> Result<DynamicObject, Error> {
        let patch = json!({"metadata": {"resourceVersion": resource_version, "finalizers": finalizers}});
        self.merge(target, &patch).await
    }

    /// A merge patch, for the few fields that are not the operator's own.
    pub(crate) async fn merge(&self, target: &Target, patch: &Value) -> Result<DynamicObject, Error> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = target.api(&self.client);
        let patch = Patch::Merge(patch);
        let request = api.patch(&target.name, &parameters, &patch);
        self.send("merge", target, request).await
    }

    /// Deletes the object, if it is still the one with this uid; its dependents follow. Gone already is as good.
    pub(crate) async fn delete(&self, target: &Target, uid: Option<String>) -> Result<(), Error> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = target.api(&self.client);
        let request = async {
            match api.delete(&target.name, &parameters).await {
                Err(error) if api_code(&error) == Some(404) => Ok(()),
                other => other.map(|_| ()),
            }
        };
        self.send("delete", target, request).await
    }

    /// Before any write that goes through another client, such as an Event's.
    pub(crate) fn before(&self, verb: &'static str, kind: &str) {
        crash_point();
        counter!("slipstream_operator_api_writes_total", "verb" => verb, "kind" => kind.to_owned())
            .increment(1);
    }

    async fn send<T>(
        &self,
        verb: &'static str,
        target: &Target,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.before(verb, &target.resource.kind);
        tracing::debug!(verb, kind = target.resource.kind, name = target.name, "write");
        let action = target.action(verb);
        match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
            Ok(answer) => answer.map_err(Error::api(action)),
            Err(_) => Err(Error::Task(format!("{action}: no answer in {REQUEST_TIMEOUT:?}"))),
        }
    }
}

/// `FAILPOINTS="operator::before_api_write=3*off->return"` ends the process, as a kill would, before the fourth write.
fn crash_point() {
    fail::fail_point!("operator::before_api_write", |_| -> () { std::process::abort() });
}

/// The object's resource version as a number, to tell which of two sightings is newer; 0 when it is none.
pub(crate) fn version_of(object: &impl ResourceExt) -> u64 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}
