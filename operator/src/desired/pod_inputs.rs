//! What a pod is given: variables, volumes and where they are mounted.
//!
//! Owns: config, credentials and room for files. The operator names Secrets and never reads one. Secrets for S3 arrive as
//! variables, because the default credential chain looks there; the one for NATS arrives as files.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
};

use super::{Role, config_map::config_map_name};
use crate::validate::Validated;

/// Name of the volume for Kuzu: a claim on the writer, room on the node's disk on a replica.
pub(super) const DATA_VOLUME: &str = "data";
pub(super) const DATA_DIRECTORY: &str = "/var/lib/slipstream";
pub(super) const CONFIG_DIRECTORY: &str = "/etc/slipstream";
pub(super) const CONFIG_VOLUME: &str = "config";
const NATS_VOLUME: &str = "nats";
const NATS_DIRECTORY: &str = "/etc/slipstream-nats";
const TEMPORARY_VOLUME: &str = "tmp";

/// The pod's name, and credentials from the Secrets that the resource names.
pub(super) fn environment(graph: &Validated) -> Vec<EnvVar> {
    let mut environment = vec![EnvVar {
        name: "POD_NAME".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "metadata.name".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        value: None,
    }];
    if let Some(secret) = &graph.spec().storage.credentials_secret_ref {
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            environment.push(EnvVar {
                name: key.to_owned(),
                value_from: Some(EnvVarSource {
                    secret_key_ref: Some(SecretKeySelector {
                        name: secret.name.clone(),
                        key: key.to_owned(),
                        optional: None,
                    }),
                    ..EnvVarSource::default()
                }),
                value: None,
            });
        }
    }
    if nats_secret(graph).is_some() {
        environment.push(EnvVar {
            name: "SLIPSTREAM_NATS_DIR".to_owned(),
            value: Some(NATS_DIRECTORY.to_owned()),
            value_from: None,
        });
    }
    environment
}

/// Where the sidecar finds config, data, temporary files and credentials.
pub(super) fn mounts(graph: &Validated) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount(CONFIG_VOLUME, CONFIG_DIRECTORY, true),
        mount(DATA_VOLUME, DATA_DIRECTORY, false),
        mount(TEMPORARY_VOLUME, "/tmp", false),
    ];
    mounts.extend(nats_secret(graph).map(|_| mount(NATS_VOLUME, NATS_DIRECTORY, true)));
    mounts
}

/// The writer's data volume comes from its claim template, so it is not among these.
pub(super) fn volumes(graph: &Validated, role: Role) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: CONFIG_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map_name(graph.name()),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    if role == Role::Replica {
        let mut cache = empty_directory(DATA_VOLUME);
        if let Some(directory) = &mut cache.empty_dir {
            directory.size_limit = Some(graph.spec().replica.cache.size.clone());
        }
        volumes.push(cache);
    }
    volumes.push(empty_directory(TEMPORARY_VOLUME));
    volumes.extend(nats_secret(graph).map(|secret| Volume {
        name: NATS_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }));
    volumes
}

fn empty_directory(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn nats_secret(graph: &Validated) -> Option<&str> {
    let nats = graph.spec().events.nats.as_ref()?;
    Some(nats.credentials_secret_ref.as_ref()?.name.as_str())
}
