//! One object after the other: is the live one as desired? If not, it is written.
//!
//! Guarantees: a live object that already holds everything desired is not written; anybody's change of a field that the
//! operator owns is; a field that is no longer desired is removed, since the annotation [`APPLIED_ANNOTATION`] (a hash of what
//! is desired) then differs, and server-side apply drops what its manager leaves out. Fields that others added stay. An object
//! of somebody else that has the name already is not taken over.
//! Owns: the comparison, the claim on a name, and telling a refusal of one object from an error that ends the pass.

use std::collections::HashMap;

use k8s_openapi::NamespaceResourceScope;
use kube::api::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::desired::{GRAPH_LABEL, MANAGED_BY_LABEL};
use crate::drift::first_difference;
use crate::error::Error;
use crate::writes::{Target, Writes};

/// Hash of an object as it is desired.
pub(crate) const APPLIED_ANNOTATION: &str = "slipstream.dev/applied";

/// An object that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Kind and name.
    pub object: String,
    /// The resource version that the write made; none after a deletion.
    pub version: Option<String>,
}

/// What became of one object.
pub(super) enum Put {
    /// It is as desired.
    Held,
    /// It was written, and is this now.
    Written(Box<DynamicObject>),
    /// It was refused, now or before.
    Refused,
}

/// The state of one apply.
pub(super) struct Pass<'a> {
    writes: &'a Writes,
    /// Refused before, and not to be tried again yet.
    waiting: &'a HashMap<String, String>,
    pub written: Vec<Written>,
    pub refused: Vec<(String, Error)>,
    pub left_alone: Vec<(String, String)>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(writes: &'a Writes, waiting: &'a HashMap<String, String>) -> Self {
        Self {
            writes,
            waiting,
            written: Vec::new(),
            refused: Vec::new(),
            left_alone: Vec::new(),
        }
    }

    /// Writes `desired` unless the live object holds it; answers with the object as it is now, or none when it is refused.
    pub(super) async fn object<K>(&mut self, store: &Store<K>, desired: &K) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + 'static,
    {
        let live = store.get(&ObjectRef::from_obj(desired));
        let target = Target::of::<K>(&desired.namespace().unwrap_or_default(), &desired.name_any());
        match self.put(&target, desired, live.as_deref()).await? {
            Put::Held => Ok(live.as_deref().cloned()),
            Put::Refused => Ok(None),
            Put::Written(written) => {
                let written = written.try_parse();
                written.map(Some).map_err(|source| unreadable(&target, source))
            }
        }
    }

    /// The same for a kind that is known by name only.
    pub(super) async fn put(
        &mut self,
        target: &Target,
        desired: &impl Serialize,
        live: Option<&impl Serialize>,
    ) -> Result<Put, Error> {
        let desired = stamped(target, desired)?;
        if let Some(live) = live
            && !differs(target, &desired, live)?
        {
            return Ok(Put::Held);
        }
        if self.waits(target) {
            return Ok(Put::Refused);
        }
        let writes = self.writes;
        let written = async {
            if live.is_none() {
                claim(writes, target, &desired).await?;
            }
            writes.apply(target, &desired).await
        };
        let written = written.await;
        self.note(target, written)
    }

    /// Writes an object of which the operator owns no more than what is given.
    pub(super) async fn write(&mut self, target: &Target, desired: &impl Serialize) -> Result<Put, Error> {
        if self.waits(target) {
            return Ok(Put::Refused);
        }
        let desired = typed(target, desired)?;
        let written = self.writes.apply(target, &desired).await;
        self.note(target, written)
    }

    pub(super) async fn delete(&mut self, target: &Target, uid: Option<String>) -> Result<(), Error> {
        self.writes.delete(target, uid).await?;
        self.written.push(Written {
            object: target.object(),
            version: None,
        });
        Ok(())
    }

    fn waits(&mut self, target: &Target) -> bool {
        let object = target.object();
        let why = self.waiting.get(&object).cloned();
        let waits = why.is_some();
        self.left_alone.extend(why.map(|why| (object, why)));
        waits
    }

    fn note(&mut self, target: &Target, written: Result<DynamicObject, Error>) -> Result<Put, Error> {
        match written {
            Ok(written) => {
                self.written.push(Written {
                    object: target.object(),
                    version: written.resource_version(),
                });
                Ok(Put::Written(Box::new(written)))
            }
            Err(error) if error.is_refusal() => {
                self.refused.push((target.object(), error));
                Ok(Put::Refused)
            }
            Err(error) => Err(error),
        }
    }
}

/// Before the first write of an object that is not in sight: the watches see only what carries the operator's labels, and
/// an apply by force would take over whatever has the name.
async fn claim(writes: &Writes, target: &Target, desired: &Value) -> Result<(), Error> {
    match writes.find(target).await? {
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

fn differs(target: &Target, desired: &Value, live: &impl Serialize) -> Result<bool, Error> {
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
fn stamped(target: &Target, desired: &impl Serialize) -> Result<Value, Error> {
    let mut value = typed(target, desired)?;
    // The hash must not depend on the order of keys, which a feature of serde_json decides.
    value.sort_all_objects();
    let hash = hex::encode(&Sha256::digest(value.to_string())[..16]);
    value["metadata"]["annotations"][APPLIED_ANNOTATION] = hash.into();
    Ok(value)
}

fn typed(target: &Target, desired: &impl Serialize) -> Result<Value, Error> {
    let mut value = serde_json::to_value(desired).map_err(|source| unreadable(target, source))?;
    value["apiVersion"] = target.resource.api_version.clone().into();
    value["kind"] = target.resource.kind.clone().into();
    Ok(value)
}

fn unreadable(target: &Target, source: impl std::fmt::Display) -> Error {
    let object = format!("{} {}/{}", target.resource.kind, target.namespace, target.name);
    let source = <serde_json::Error as serde::ser::Error>::custom(source);
    Error::Json { object, source }
}
