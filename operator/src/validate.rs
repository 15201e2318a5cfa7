//! From a resource as the API server gives it to one that the rest of the operator may rely on.
//!
//! Flow: [`read`] (raw object → [`ReplicatedGraphDB`]) → [`validate`] → [`Validated`], the only thing `desired` takes.
//! Owns: the decision "usable or refused", with every wrong field named. Does not own: the rules (`crds`), and what the
//! operator does about a refusal: it keeps the graph as it last was, and says so in its status.

use crds::{ConfigError, ReplicatedGraphDB, ReplicatedGraphDBSpec, SchemaErrors, SidecarConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, core::DynamicObject};

/// Why a resource cannot be used. The text is for people: one line per field.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A field has the wrong type, or is unknown; the text names it.
    #[error("failed to read the resource: {0}")]
    Unreadable(#[source] serde_yaml::Error),
    /// Fields have values that are wrong.
    #[error("{0}")]
    Fields(#[from] SchemaErrors),
    /// The API server always sets these; without them nothing can be owned.
    #[error("failed to identify the resource: metadata.{0} is missing")]
    NoIdentity(&'static str),
    /// The config that follows from the resource cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A resource that passed every check, with what follows from it.
#[derive(Clone, Debug)]
pub struct Validated {
    name: String,
    namespace: String,
    owner: OwnerReference,
    spec: ReplicatedGraphDBSpec,
    config: SidecarConfig,
    config_yaml: String,
}

impl Validated {
    /// `metadata.name`: the graph's name, at most 40 characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `metadata.namespace`: where all of the graph's objects are.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The reference that makes the garbage collector remove an object together with the resource.
    pub fn owner(&self) -> &OwnerReference {
        &self.owner
    }

    /// The spec, checked.
    pub fn spec(&self) -> &ReplicatedGraphDBSpec {
        &self.spec
    }

    /// The sidecars' config.
    pub fn config(&self) -> &SidecarConfig {
        &self.config
    }

    /// The sidecars' config as it is written to the ConfigMap.
    pub fn config_yaml(&self) -> &str {
        &self.config_yaml
    }
}

/// Reads a resource from an object whose fields nobody has looked at yet, so that one object of a wrong form cannot
/// break a watch of all of them.
///
/// # Errors
/// The first field that has a wrong type, a wrong value of a fixed list, or is unknown, with its path.
pub fn read(object: &DynamicObject) -> Result<ReplicatedGraphDB, Invalid> {
    // JSON is YAML, and the YAML reader's errors name the path of the field.
    let value = serde_yaml::to_string(object).map_err(Invalid::Unreadable)?;
    serde_yaml::from_str(&value).map_err(Invalid::Unreadable)
}

/// Checks a resource whole.
///
/// # Errors
/// Every field that is wrong.
pub fn validate(resource: &ReplicatedGraphDB) -> Result<Validated, Invalid> {
    let config = SidecarConfig::from_resource(resource)?;
    let metadata = &resource.metadata;
    let name = metadata.name.clone().ok_or(Invalid::NoIdentity("name"))?;
    let namespace = metadata
        .namespace
        .clone()
        .ok_or(Invalid::NoIdentity("namespace"))?;
    let owner = OwnerReference {
        // A deletion in the foreground waits until the objects are gone too.
        block_owner_deletion: Some(true),
        ..resource
            .controller_owner_ref(&())
            .ok_or(Invalid::NoIdentity("uid"))?
    };
    Ok(Validated {
        name,
        namespace,
        owner,
        spec: resource.spec.clone(),
        config_yaml: config.to_yaml()?,
        config,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "slipstream.dev/v1alpha1",
            "kind": "ReplicatedGraphDB",
            "metadata": {"name": "small", "namespace": "default", "uid": "u", "generation": 3},
            "spec": spec,
        }))
        .unwrap()
    }

    fn usable() -> Value {
        json!({"storage": {"uri": "s3://graphs/small"}})
    }

    #[test]
    fn a_usable_resource_is_known_by_name_and_owned_by_uid() {
        let resource = read(&object(usable())).unwrap();
        let graph = validate(&resource).unwrap();
        assert_eq!((graph.name(), graph.namespace()), ("small", "default"));
        let owner = graph.owner();
        assert_eq!(
            (
                owner.kind.as_str(),
                owner.uid.as_str(),
                owner.controller,
                owner.block_owner_deletion
            ),
            ("ReplicatedGraphDB", "u", Some(true), Some(true))
        );
        assert_eq!(graph.config().generation, 3);
        assert_eq!(
            SidecarConfig::from_yaml(graph.config_yaml()).unwrap(),
            *graph.config()
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_path_of_the_field() {
        for (field, value, says) in [
            ("replicas", json!("two"), "spec.replicas"),
            ("sheme", json!({}), "`sheme`"),
            ("deletionPolicy", json!("Keep"), "spec.deletionPolicy"),
            (
                "writer",
                json!({"podTemplate": {"spec": {"containers": "one"}}}),
                "spec.writer.podTemplate.spec.containers",
            ),
            (
                "schema",
                json!({"nodes": [{"name": "A", "primaryKey": "k", "properties": [{"name": "k", "type": "uuid"}]}]}),
                "spec.schema.nodes[0].properties[0].type",
            ),
        ] {
            let mut spec = usable();
            spec[field] = value;
            let error = read(&object(spec)).unwrap_err();
            assert!(matches!(error, Invalid::Unreadable(_)), "{error:?}");
            assert!(error.to_string().contains(says), "{says} in: {error}");
        }
        let error = read(&object(json!({}))).unwrap_err().to_string();
        assert!(error.contains("missing field `storage`"), "{error}");
    }

    #[test]
    fn what_can_be_read_and_not_used_is_refused_with_every_field() {
        let mut spec = usable();
        spec["storage"]["uri"] = json!("gs://graphs");
        spec["snapshots"] = json!({"schedule": "often"});
        spec["replica"] = json!({"podTemplate": {"spec": {"containers": [{"name": "api"}]}}});
        let error = validate(&read(&object(spec)).unwrap()).unwrap_err().to_string();
        let fields: Vec<_> = error
            .lines()
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(
            fields,
            [
                "spec.storage.uri",
                "spec.snapshots.schedule",
                "spec.replica.podTemplate.spec.containers[0].image"
            ]
        );
    }

    #[test]
    fn a_resource_that_no_api_server_has_seen_cannot_own_anything() {
        let mut resource = read(&object(usable())).unwrap();
        resource.metadata.uid = None;
        assert!(
            validate(&resource)
                .unwrap_err()
                .to_string()
                .contains("metadata.uid")
        );
        resource.metadata.namespace = None;
        assert!(
            validate(&resource)
                .unwrap_err()
                .to_string()
                .contains("metadata.namespace")
        );
    }
}
