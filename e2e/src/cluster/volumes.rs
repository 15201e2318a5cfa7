//! Volumes for claims of the default storage class: directories on the node, made, grown and removed as a CSI driver would.
//!
//! A component of its own (`cluster provision`), because kubelet's node has no other provisioner. Kubernetes binds, mounts,
//! hands the directory to the pod's group and protects volumes in use; this only follows claims and volumes:
//!
//! | seen | done |
//! | --- | --- |
//! | a claim without volume | a directory and a volume that names the claim |
//! | a bound claim that asks for more than its volume has | the volume's and the claim's capacity become what is asked |
//! | a released volume | directory and volume are removed |

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::component::Components;
use super::error::ClusterError;
use super::place::{NODE_NAME, Place};
use super::{Cluster, images};
use crate::wait::Look;

const MANIFEST: &str = include_str!("../../cluster/manifests/storage-class.yaml");
/// As in the manifest.
const CLASS: &str = "directories";
const PROVISIONER: &str = "slipstream.dev/directories";
/// From one look at the cluster to the next.
const PACE: Duration = Duration::from_millis(300);
const STARTED: &str = "following claims";

/// A question to the API server that failed, or a directory that could not be made or removed.
#[derive(Debug, thiserror::Error)]
enum ProvisionError {
    #[error("failed to {doing}: {source}")]
    Api { doing: String, source: kube::Error },
    #[error("failed to {doing}: {source}")]
    Directory { doing: String, source: std::io::Error },
    #[error("failed to describe a volume: {0}")]
    Description(#[from] serde_json::Error),
}

/// Makes the storage class and starts the component.
pub(super) async fn install(cluster: &Cluster, components: &Components<'_>) -> Result<(), ClusterError> {
    let place = &cluster.place;
    cluster.apply(MANIFEST).await?;
    let program = images::built("cluster")?;
    let component = components.start(
        "volumes",
        &program,
        &[
            format!("--state={}", place.state.display()),
            format!("--cache={}", place.cache.display()),
            "provision".into(),
        ],
    )?;
    component
        .ready(
            async || match std::fs::read_to_string(place.logs().join("volumes.log")) {
                Ok(log) if log.contains(STARTED) => Look::Found(()),
                Ok(_) => Look::NotYet("an empty log".into()),
                Err(error) => Look::NotYet(error.to_string()),
            },
        )
        .await
}

/// The component's whole life: follows claims until it is ended. Prints what it does; errors are printed and tried again.
///
/// # Errors
/// When there is no cluster to follow.
pub async fn provision(cluster: &Cluster) -> Result<std::convert::Infallible, ClusterError> {
    let client = cluster.client().await?;
    println!("{STARTED}");
    loop {
        if let Err(error) = run_once(&client, &cluster.place).await {
            eprintln!("{error}");
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn run_once(client: &kube::Client, place: &Place) -> Result<(), ProvisionError> {
    let volumes = Api::<PersistentVolume>::all(client.clone());
    let claims = Api::<PersistentVolumeClaim>::all(client.clone());
    let found = claims
        .list(&ListParams::default())
        .await
        .map_err(api("list claims"))?;
    let existing = volumes
        .list(&ListParams::default())
        .await
        .map_err(api("list volumes"))?;
    for claim in found.items.iter().filter(|claim| is_ours(claim)) {
        let volume_name = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default());
        let volume = existing
            .items
            .iter()
            .find(|volume| volume.metadata.name.as_deref() == Some(&volume_name));
        match volume {
            None if claim.metadata.deletion_timestamp.is_none() => {
                make(&volumes, place, claim, &volume_name).await?
            }
            Some(volume) if is_bound(claim) && capacity(volume) != requested(claim) => {
                grow(client, &volumes, claim, &volume_name).await?;
            }
            _ => {}
        }
    }
    for volume in existing.items.iter().filter(|volume| is_released(volume)) {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        remove_directory(&place.volumes().join(name))?;
        volumes
            .delete(name, &DeleteParams::default())
            .await
            .map_err(api(format!("remove {name}")))?;
        println!("removed {name}");
    }
    Ok(())
}

async fn make(
    volumes: &Api<PersistentVolume>,
    place: &Place,
    claim: &PersistentVolumeClaim,
    name: &str,
) -> Result<(), ProvisionError> {
    let directory = place.volumes().join(name);
    std::fs::create_dir_all(&directory).map_err(|source| ProvisionError::Directory {
        doing: format!("make {}", directory.display()),
        source,
    })?;
    let metadata = &claim.metadata;
    let volume = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "capacity": {"storage": requested(claim)},
            "accessModes": claim.spec.as_ref().and_then(|spec| spec.access_modes.clone()),
            "local": {"path": directory},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}]}
            ]}},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid,
            },
        },
    }))?;
    volumes
        .create(&PostParams::default(), &volume)
        .await
        .map_err(api(format!("make {name}")))?;
    println!("made {name} for {:?}/{:?}", metadata.namespace, metadata.name);
    Ok(())
}

async fn grow(
    client: &kube::Client,
    volumes: &Api<PersistentVolume>,
    claim: &PersistentVolumeClaim,
    name: &str,
) -> Result<(), ProvisionError> {
    let size = requested(claim);
    let doing = format!("grow {name}");
    let params = PatchParams::default();
    let patch = json!({"spec": {"capacity": {"storage": size}}});
    volumes
        .patch(name, &params, &Patch::Merge(patch))
        .await
        .map_err(api(doing.clone()))?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(
        client.clone(),
        claim.metadata.namespace.as_deref().unwrap_or_default(),
    );
    let patch = json!({"status": {"capacity": {"storage": size}, "conditions": null}});
    let claim_name = claim.metadata.name.as_deref().unwrap_or_default();
    claims
        .patch_status(claim_name, &params, &Patch::Merge(patch))
        .await
        .map_err(api(doing))?;
    println!("grew {name}");
    Ok(())
}

fn remove_directory(directory: &Path) -> Result<(), ProvisionError> {
    match std::fs::remove_dir_all(directory) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(ProvisionError::Directory {
            doing: format!("remove {}", directory.display()),
            source,
        }),
        _ => Ok(()),
    }
}

fn is_ours(claim: &PersistentVolumeClaim) -> bool {
    claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
        == Some(CLASS)
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

fn is_released(volume: &PersistentVolume) -> bool {
    let of_class = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
        == Some(CLASS);
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    of_class && phase == Some("Released") && volume.metadata.deletion_timestamp.is_none()
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim
        .spec
        .as_ref()?
        .resources
        .as_ref()?
        .requests
        .as_ref()?
        .get("storage")
}

fn capacity(volume: &PersistentVolume) -> Option<&Quantity> {
    volume.spec.as_ref()?.capacity.as_ref()?.get("storage")
}

fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> ProvisionError {
    let doing = doing.into();
    move |source| ProvisionError::Api { doing, source }
}
