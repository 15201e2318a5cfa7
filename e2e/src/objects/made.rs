//! What the operator made of a graph, in a form in which two graphs can be compared: without what the API server and the
//! controllers of Kubernetes add, and without the graph's own name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Space;
use crate::scenarios::ScenarioError;

/// Every object of a graph by kind and name.
pub type MadeObjects = BTreeMap<String, Value>;

/// Looks at all kinds of objects that the operator makes.
///
/// # Errors
/// What kubectl said, when it failed.
pub async fn made_objects(space: &Space, name: &str) -> Result<MadeObjects, ScenarioError> {
    let kinds =
        "configmaps,serviceaccounts,roles,rolebindings,services,deployments,statefulsets,pdb,networkpolicies";
    let selector = format!("slipstream.dev/graph={name}");
    let text = space
        .kubectl(&["get", kinds, "--selector", &selector, "-o", "json"])
        .await?;
    let list: Value = serde_json::from_str(&text)
        .map_err(|error| ScenarioError::wrong("kubectl get -o json", "JSON", error.to_string()))?;
    let mut found = MadeObjects::new();
    for mut object in list["items"].as_array().cloned().unwrap_or_default() {
        strip(&mut object);
        let text = object.to_string().replace(name, "<graph>");
        let object: Value = serde_json::from_str(&text).unwrap_or_default();
        found.insert(
            format!("{} {}", object["kind"], object["metadata"]["name"]),
            object,
        );
    }
    Ok(found)
}

/// Removes what the API server and the controllers of Kubernetes add.
fn strip(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
            "namespace",
        ] {
            metadata.remove(key);
        }
        if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
            owners.iter_mut().for_each(|owner| owner["uid"] = Value::Null);
        }
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("deployment.kubernetes.io/revision");
            // Hashes of what has the graph's name and uid in it.
            for key in ["slipstream.dev/applied", "slipstream.dev/template-hash"] {
                annotations.entry(key).and_modify(|hash| *hash = "<hash>".into());
            }
        }
    }
    if let Some(Value::Object(spec)) = object.get_mut("spec") {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
}
