//! Whether a live object still holds everything that is desired of it.
//!
//! Flow: desired JSON, live JSON → the first path where the live object differs, if any.
//! The rule is containment: what the API server defaults and what others add is theirs, what is desired must be there as
//! desired. Removing a field from what is desired does not show here; the hash annotation tells that (`apply`).
//! Owns: containment, the keys by which lists of objects are matched, equality of quantities.
//! Does not own: what is done about a difference.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Map, Value};

/// Fields that name an element of a list, tried in this order; as in the API's own merge keys.
const KEYS: [&str; 7] = [
    "name",
    "containerPort",
    "port",
    "mountPath",
    "uid",
    "topologyKey",
    "type",
];

/// Parents of quantities: `1000m` there is `1`, and the API server writes it so.
const QUANTITY_MAPS: [&str; 4] = ["requests", "limits", "capacity", "hard"];

/// Fields in which nothing is not the same as `false`, `0` or `""`: the API server keeps these as they are written. It drops
/// zero values of all others, and then says nothing.
const MEANT: [&str; 11] = [
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "fsGroup",
    "hostUsers",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "storageClassName",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
];

/// The path of the first difference, for example `spec.template.spec.containers[0].image`; none when `live` holds all of `desired`.
pub(crate) fn first_difference(desired: &Value, live: &Value) -> Option<String> {
    let mut path = String::new();
    differs(desired, Some(live), &mut path, false).then_some(path)
}

/// Leaves `path` at the difference, when there is one.
fn differs(desired: &Value, live: Option<&Value>, path: &mut String, is_quantity: bool) -> bool {
    match (desired, live) {
        (Value::Null, _) => false,
        (desired, None) => {
            let key = path.rsplit('.').next().unwrap_or_default();
            !is_nothing(key, desired)
        }
        (Value::Object(fields), Some(Value::Object(live))) => fields
            .iter()
            .any(|(key, value)| field_differs(key, value, live, path)),
        (Value::Array(items), Some(Value::Array(live))) => list_differs(items, live, path),
        (Value::String(wanted), Some(found)) if is_quantity => !same_quantity(wanted, found),
        (desired, Some(live)) => !same_scalar(desired, live),
    }
}

/// Whether the API server may leave out this value of the field `key`, because it means the same as nothing.
fn is_nothing(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value && !MEANT.contains(&key),
        Value::String(text) => text.is_empty() && !MEANT.contains(&key),
        Value::Number(number) => number.as_f64() == Some(0.0) && !MEANT.contains(&key),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.iter().all(|(key, value)| is_nothing(key, value)),
    }
}

fn field_differs(key: &str, desired: &Value, live: &Map<String, Value>, path: &mut String) -> bool {
    let length = path.len();
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
    let parent = path[..length].rsplit('.').next().unwrap_or_default();
    let is_quantity = QUANTITY_MAPS.contains(&parent) || key == "sizeLimit";
    let differs = differs(desired, live.get(key), path, is_quantity);
    if !differs {
        path.truncate(length);
    }
    differs
}

fn list_differs(desired: &[Value], live: &[Value], path: &mut String) -> bool {
    let length = path.len();
    for (index, item) in desired.iter().enumerate() {
        path.push_str(&format!("[{index}]"));
        let found: Vec<_> = match key_of(item) {
            Some((key, value)) => live
                .iter()
                .filter(|other| other.get(key) == Some(value))
                .collect(),
            None => live.get(index).into_iter().collect(),
        };
        // One key may be there twice: a port for TCP and for UDP.
        let held = |other: &&Value| !differs(item, Some(other), &mut path.clone(), false);
        if !found.iter().any(held) {
            if let Some(other) = found.first() {
                differs(item, Some(other), path, false);
            }
            return true;
        }
        path.truncate(length);
    }
    // A list without keys is one value: an element more is a difference.
    let is_one_value = desired.iter().any(|item| key_of(item).is_none());
    is_one_value && live.len() > desired.len()
}

fn key_of(item: &Value) -> Option<(&'static str, &Value)> {
    KEYS.iter().find_map(|key| Some((*key, item.get(*key)?)))
}

fn same_scalar(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => desired == live,
    }
}

fn same_quantity(wanted: &str, found: &Value) -> bool {
    let Some(found) = found.as_str() else { return false };
    wanted == found
        || match (milli(wanted), milli(found)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
}

/// Thousandths of the unit; `crds::bytes` rounds up to whole units, so a milli amount is read apart.
fn milli(text: &str) -> Option<u128> {
    let whole = |text: &str| crds::bytes(&Quantity(text.to_owned())).ok().map(u128::from);
    match text.strip_suffix('m') {
        Some(thousandths) => whole(thousandths),
        None => match text.split_once('.') {
            // 0.5 and 500m are the same: shift the point by asking for a thousand times the amount.
            Some((units, fraction))
                if fraction.bytes().all(|byte| byte.is_ascii_digit()) && fraction.len() <= 3 =>
            {
                whole(&format!("{units}{fraction:0<3}"))
            }
            _ => whole(text).map(|amount| amount * 1000),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_adds_is_no_difference() {
        for (desired, live) in [
            (json!({"a": 1}), json!({"a": 1, "b": 2})),
            (json!({"a": null}), json!({})),
            (json!({"emptyDir": {}}), json!({})),
            (json!({"args": []}), json!({})),
            (
                json!({"env": [{"name": "A", "value": ""}]}),
                json!({"env": [{"name": "A"}]}),
            ),
            (
                json!({"hostNetwork": false, "tty": false, "readOnly": false}),
                json!({}),
            ),
            (
                json!({"readinessProbe": {"initialDelaySeconds": 0}}),
                json!({"readinessProbe": {}}),
            ),
            (json!({"emptyDir": {"medium": ""}}), json!({})),
            (
                json!({"ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}),
                json!({"ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}),
            ),
            (
                json!({"containers": [{"name": "sidecar", "image": "x"}]}),
                json!({"containers": [{"name": "injected"}, {"name": "sidecar", "image": "x", "imagePullPolicy": "Always"}]}),
            ),
            (
                json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}),
                json!({"volumeClaimTemplates": [{"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "status": {"phase": "Pending"}}]}),
            ),
        ] {
            assert_eq!(first_difference(&desired, &live), None, "{desired} in {live}");
        }
    }

    #[test]
    fn quantities_are_compared_by_amount() {
        let limits = |amount: &str| json!({"resources": {"limits": {"cpu": amount}}});
        for (one, other, same) in [
            ("1000m", "1", true),
            ("0.5", "500m", true),
            ("1024Mi", "1Gi", true),
            ("1500m", "2", false),
            ("1Gi", "2Gi", false),
        ] {
            let found = first_difference(&limits(one), &limits(other));
            assert_eq!(found.is_none(), same, "{one} {other}");
        }
        let name = |text: &str| json!({ "name": text });
        assert!(first_difference(&name("1000m"), &name("1")).is_some());
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        for (desired, live, path) in [
            (
                json!({"spec": {"replicas": 2}}),
                json!({"spec": {"replicas": 3}}),
                "spec.replicas",
            ),
            (json!({"data": {"config.yaml": "a"}}), json!({}), "data"),
            (
                json!({"automountServiceAccountToken": false}),
                json!({}),
                "automountServiceAccountToken",
            ),
            (
                json!({"enableServiceLinks": false}),
                json!({}),
                "enableServiceLinks",
            ),
            (
                json!({"securityContext": {"allowPrivilegeEscalation": false}}),
                json!({}),
                "securityContext",
            ),
            (
                json!({"hostNetwork": false}),
                json!({"hostNetwork": true}),
                "hostNetwork",
            ),
            (
                json!({"ports": [{"port": 53, "protocol": "UDP"}]}),
                json!({"ports": [{"port": 53, "protocol": "TCP"}]}),
                "ports[0].protocol",
            ),
            (json!({"env": [{"value": ""}]}), json!({"env": []}), "env[0]"),
            (
                json!({"containers": [{"name": "sidecar", "image": "x"}]}),
                json!({"containers": [{"name": "sidecar", "image": "y"}]}),
                "containers[0].image",
            ),
            (
                json!({"containers": [{"name": "sidecar"}]}),
                json!({"containers": [{"name": "other"}]}),
                "containers[0]",
            ),
            (
                json!({"command": ["a", "b"]}),
                json!({"command": ["a", "c"]}),
                "command[1]",
            ),
            (
                json!({"command": ["a"]}),
                json!({"command": ["a", "b"]}),
                "command",
            ),
        ] {
            assert_eq!(first_difference(&desired, &live).as_deref(), Some(path));
        }
    }
}
