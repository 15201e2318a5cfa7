//! The resource that most scenarios apply: a graph with one node table and one edge table, and pods that ask for little.

use serde_json::{Value, json};

use crate::cluster::Backends;

/// A resource under construction.
#[derive(Debug, Clone)]
pub struct SmallGraph {
    manifest: Value,
}

impl SmallGraph {
    /// `name` with `replicas`, in the bucket below its namespace and name; by polling alone.
    pub fn new(backends: &Backends, namespace: &str, name: &str, replicas: u32) -> Self {
        let resources = json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}});
        let manifest = json!({
            "apiVersion": "slipstream.dev/v1alpha1",
            "kind": "ReplicatedGraphDB",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "storage": {
                    "uri": uri(backends, namespace, name),
                    "endpoint": backends.s3_endpoint,
                    "region": "us-east-1",
                    "credentialsSecretRef": {"name": "s3"},
                },
                "events": {"pollInterval": "1s"},
                "schema": {
                    "nodes": [{"name": "Item", "primaryKey": "id", "properties": [
                        {"name": "id", "type": "int64"}, {"name": "text", "type": "string"}]}],
                    "edges": [{"name": "NEXT", "from": "Item", "to": "Item", "properties": []}],
                },
                "writer": {"resources": resources, "storage": {"size": "1Gi"}},
                "replica": {"resources": resources, "cache": {"size": "1Gi"}},
            },
        });
        Self { manifest }
    }

    /// With JetStream events.
    pub fn with_nats(self, backends: &Backends) -> Self {
        self.with(&json!({"spec": {"events": {"nats": {"url": backends.nats_url}}}}))
    }

    /// Merged with `patch`, as a JSON merge patch is.
    pub fn with(mut self, patch: &Value) -> Self {
        merge(&mut self.manifest, patch);
        self
    }

    /// The resource.
    pub fn manifest(&self) -> &Value {
        &self.manifest
    }
}

/// Where the graph is.
pub fn uri(backends: &Backends, namespace: &str, name: &str) -> String {
    format!("s3://{}/{namespace}/{name}", backends.bucket)
}

/// A transaction that makes `Item`s with these ids.
pub fn items(ids: impl IntoIterator<Item = i64>) -> Value {
    let rows: Vec<Value> = ids
        .into_iter()
        .map(|id| json!({"id": id, "text": format!("item {id}")}))
        .collect();
    json!({"operations": [{"upsert": {"table": "Item", "rows": rows}}]})
}

/// Counts the `Item`s.
pub const COUNT: &str = "MATCH (i:Item) RETURN count(*)";

/// JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if let Some(object) = target.as_object_mut() {
            if value.is_null() {
                object.remove(key);
            } else {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_changes_adds_and_removes() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(
            &mut target,
            &json!({"a": {"b": null, "e": {"f": 3}}, "d": [2, 3]}),
        );
        assert_eq!(target, json!({"a": {"c": 2, "e": {"f": 3}}, "d": [2, 3]}));
    }
}
