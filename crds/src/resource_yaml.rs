//! Reading a resource from a YAML file, for people: every refusal names its place.
//!
//! Owns: what the API server would otherwise do for a file: kind, unknown fields, the whole check.
//! Does not own: the check's rules (`resource_check`).

use kube::Resource;
use serde_yaml::Value;

use crate::{field_error::SchemaErrors, resource::ReplicatedGraphDB};

/// A file that is not a usable resource.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// Not YAML, a missing or unknown field, or a value of the wrong type; the text has field, line and column.
    #[error("failed to read the resource: {0}")]
    Parse(#[from] serde_yaml::Error),
    /// Another kind of object.
    #[error("failed to read the resource: {field} is `{found}`, expected `{expected}`")]
    OtherKind {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What the file says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// Fields that would be ignored.
    #[error("failed to read the resource: unknown field {}", .0.join(", "))]
    UnknownFields(Vec<String>),
    /// Fields with values that are wrong; one line each.
    #[error("{0}")]
    Invalid(#[from] SchemaErrors),
}

impl ReplicatedGraphDB {
    /// Reads one resource and checks it whole ([`ReplicatedGraphDB::check`]).
    ///
    /// # Errors
    /// The first place that cannot be read, or every field that is wrong.
    pub fn from_yaml(text: &str) -> Result<Self, ResourceError> {
        let document: Value = serde_yaml::from_str(text)?;
        expect("apiVersion", &document, &Self::api_version(&()))?;
        expect("kind", &document, &Self::kind(&()))?;
        let resource: Self = serde_yaml::from_str(text)?;

        // Our own types refuse unknown fields, but metadata, pod templates and the top level are Kubernetes types that
        // skip them. What is lost on the way back was unknown.
        let mut lost = Vec::new();
        collect_lost(&mut lost, "", &document, &serde_yaml::to_value(&resource)?);
        if !lost.is_empty() {
            return Err(ResourceError::UnknownFields(lost));
        }
        resource.check()?;
        Ok(resource)
    }
}

fn expect(field: &'static str, document: &Value, expected: &str) -> Result<(), ResourceError> {
    let found = document.get(field).and_then(Value::as_str).unwrap_or("(nothing)");
    if found == expected {
        return Ok(());
    }
    Err(ResourceError::OtherKind {
        field,
        found: found.to_owned(),
        expected: expected.to_owned(),
    })
}

/// Paths of mapping keys in `before` that `after` lacks; a null or an empty mapping or list counts as not given.
fn collect_lost(lost: &mut Vec<String>, path: &str, before: &Value, after: &Value) {
    match (before, after) {
        (Value::Mapping(before), after) => {
            for (key, value) in before {
                let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match after.get(&*key) {
                    Some(after) => collect_lost(lost, &path, value, after),
                    None if is_nothing(value) => {}
                    None => lost.push(path),
                }
            }
        }
        (Value::Sequence(before), Value::Sequence(after)) => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                collect_lost(lost, &format!("{path}[{index}]"), before, after);
            }
        }
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Mapping(mapping) => mapping.is_empty(),
        Value::Sequence(sequence) => sequence.is_empty(),
        _ => false,
    }
}
