//! Server-side apply, as far as the operator needs it: fields the manager leaves out go, the rest is merged, lists of named
//! elements by name.

use serde_json::{Map, Value};

/// `live` after its manager, who applied `before` the last time, applies `now`.
pub(crate) fn apply(live: &mut Value, before: &Value, now: &Value) {
    remove_dropped(live, before, now);
    merge(live, now);
}

/// RFC 7386, for merge patches.
pub(crate) fn merge_patch(live: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *live = patch.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    for (key, value) in fields {
        if value.is_null() {
            live.as_object_mut().unwrap().remove(key);
        } else {
            merge_patch(&mut live[key], value);
        }
    }
}

fn merge(live: &mut Value, now: &Value) {
    match (live, now) {
        (Value::Object(live), Value::Object(now)) => {
            for (key, value) in now {
                merge(live.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(live), Value::Array(now))
            if !now.is_empty() && now.iter().all(|item| name(item).is_some()) =>
        {
            for item in now {
                match live.iter_mut().find(|other| name(other) == name(item)) {
                    Some(other) => merge(other, item),
                    None => live.push(item.clone()),
                }
            }
        }
        (live, now) => *live = now.clone(),
    }
}

fn remove_dropped(live: &mut Value, before: &Value, now: &Value) {
    match (live, before) {
        (Value::Object(live), Value::Object(before)) => {
            for (key, was) in before {
                match (now.get(key), live.get_mut(key)) {
                    (None, _) => drop(live.remove(key)),
                    (Some(now), Some(live)) => remove_dropped(live, was, now),
                    (Some(_), None) => {}
                }
            }
        }
        (Value::Array(live), Value::Array(before)) => {
            for was in before.iter().filter(|was| name(was).is_some()) {
                let now = now
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|now| name(now) == name(was));
                match now {
                    None => live.retain(|item| name(item) != name(was)),
                    Some(now) => {
                        if let Some(item) = live.iter_mut().find(|item| name(item) == name(was)) {
                            remove_dropped(item, was, now);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

fn name(item: &Value) -> Option<&Value> {
    item.get("name")
}
