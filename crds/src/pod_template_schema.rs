//! The schema of a user's pod template in the definition: its outline, and the rules of `pod_template_check` in CEL.
//!
//! Everything else is passed on as it is: the full schema of a pod would be larger than the rest of the definition, and
//! would drop fields of a newer Kubernetes. What is wrong inside shows when the operator applies the pod.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

// Bounds keep the cost of the rules within the API server's budget.
const MAX_CONTAINERS: usize = 32;
const MAX_LABELS: usize = 64;

pub(crate) fn pod_template_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "metadata": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"labels": labels(), "annotations": texts()},
            },
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": {
                    "containers": containers("containers"),
                    "initContainers": containers("initContainers"),
                    "restartPolicy": {"type": "string", "enum": ["Always"]},
                    "volumes": list(json!({"name": {"type": "string"}})),
                },
            },
        },
    })
}

fn labels() -> Value {
    let mut labels = texts();
    labels["maxProperties"] = MAX_LABELS.into();
    labels["x-kubernetes-validations"] = json!([{
        "rule": "self.all(k, !k.startsWith('slipstream.dev/') && k != 'app.kubernetes.io/managed-by')",
        "message": "labels: slipstream.dev/* and app.kubernetes.io/managed-by belong to the operator",
    }]);
    labels
}

fn texts() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

fn containers(field: &str) -> Value {
    let mut containers =
        list(json!({"name": {"type": "string", "maxLength": 63}, "image": {"type": "string"}}));
    containers["maxItems"] = MAX_CONTAINERS.into();
    containers["x-kubernetes-validations"] = json!([{
        "rule": "self.all(c, c.name == 'sidecar' || has(c.image))",
        "message": format!("{field}[].image: a container other than `sidecar` needs one"),
    }]);
    containers
}

/// A list of objects with a name.
fn list(properties: Value) -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "required": ["name"],
            "properties": properties,
        },
    })
}
