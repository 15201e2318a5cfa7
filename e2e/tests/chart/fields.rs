//! Every field that is rendered is one that Kubernetes knows: what the API server would drop or refuse is found without one.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::CASES;
use crate::helm::{Helm, objects, values};

/// What remains of an object that was read as its type; a field that is no field is lost on the way.
fn read_as<T: Serialize + DeserializeOwned>(object: &Value) -> Value {
    let read: T =
        serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error} in {object}"));
    serde_json::to_value(read).unwrap()
}

fn known(object: &Value) -> Option<Value> {
    Some(match object["kind"].as_str().unwrap() {
        "ClusterRole" => read_as::<ClusterRole>(object),
        "ClusterRoleBinding" => read_as::<ClusterRoleBinding>(object),
        "ConfigMap" => read_as::<ConfigMap>(object),
        "Deployment" => read_as::<Deployment>(object),
        "Pod" => read_as::<Pod>(object),
        "PodDisruptionBudget" => read_as::<PodDisruptionBudget>(object),
        "PriorityClass" => read_as::<PriorityClass>(object),
        "Role" => read_as::<Role>(object),
        "RoleBinding" => read_as::<RoleBinding>(object),
        "Service" => read_as::<Service>(object),
        "ServiceAccount" => read_as::<ServiceAccount>(object),
        // Defined by themselves: the CRD by its own tests, the others by the Prometheus Operator.
        "CustomResourceDefinition" | "PrometheusRule" | "ServiceMonitor" => return None,
        other => panic!("the chart renders a {other}: say here what it is read as"),
    })
}

/// Collects the paths of `rendered` that `read` lacks.
fn lost(rendered: &Value, read: &Value, path: &str, found: &mut Vec<String>) {
    match (rendered, read) {
        (Value::Object(rendered), Value::Object(read)) => {
            for (name, value) in rendered {
                let path = format!("{path}.{name}");
                match read.get(name) {
                    Some(other) => lost(value, other, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(rendered), Value::Array(read)) => {
            for (index, (value, other)) in rendered.iter().zip(read).enumerate() {
                lost(value, other, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_rendered_field_is_one_that_kubernetes_knows() {
    let helm = Helm::new();
    let mut found = Vec::new();
    for case in CASES {
        for object in objects(&helm.template(&values(case)).unwrap()) {
            let object: Value = serde_json::to_value(object).unwrap();
            if let Some(read) = known(&object) {
                let name = format!("{case}: {}", object["kind"].as_str().unwrap());
                lost(&object, &read, &name, &mut found);
            }
        }
    }
    assert!(found.is_empty(), "no fields of Kubernetes: {found:#?}");
}
