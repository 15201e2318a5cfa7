//! Job `<graph>-cleanup`: removes what a graph leaves outside the cluster, when its resource is deleted.
//!
//! The operator reads no Secret and talks to no store; the sidecar's image with the graph's credentials does it.
//! The Job stands alone on purpose. It has no owner reference, and brings its config along as an annotation: a deletion
//! in the foreground removes everything that is owned, the ConfigMap and an owned Job included, before the resource
//! itself goes. It removes itself five minutes after it has finished, and gives up after five. Its pod's account is kept for it
//! (`service_accounts`); all else that the pod refers to is the user's: Secrets, and what `podTemplate` names.
//! Owns: the Job. Does not own: when it is made, how long its end is waited for.

use crds::{DeletionPolicy, GraphSchema, SidecarConfig};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Container, DownwardAPIVolumeFile, DownwardAPIVolumeSource, ObjectFieldSelector, PodSpec,
            PodTemplateSpec, ResourceRequirements, Volume,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{
    Observed, Role,
    config_map::CONFIG_KEY,
    image,
    labels::{graph_labels, graph_object, owned},
    pod::{self, SIDECAR_CONTAINER},
    pod_inputs::{CONFIG_DIRECTORY, CONFIG_VOLUME, DATA_VOLUME},
};
use crate::validate::{Invalid, Validated};

const CONFIG_ANNOTATION: &str = "slipstream.dev/config";
const DEADLINE_SECONDS: i64 = 300;

/// Where a quota counts compute, a pod without these is refused. It lists and deletes, a page at a time.
fn resources() -> ResourceRequirements {
    let of = |cpu: &str, memory: &str| {
        let of = |amount: &str| Quantity(amount.to_owned());
        Some([("cpu".to_owned(), of(cpu)), ("memory".to_owned(), of(memory))].into())
    };
    ResourceRequirements {
        requests: of("50m", "64Mi"),
        limits: of("1", "512Mi"),
        ..ResourceRequirements::default()
    }
}

/// Name of a graph's cleanup Job; it can be found by this name when the resource itself is no longer usable.
pub fn cleanup_job_name(graph: &str) -> String {
    format!("{graph}-cleanup")
}

/// The Job, for a resource that is being deleted.
///
/// # Errors
/// Not for any config that can be built; kept because the serializer reports one.
pub fn cleanup_job(graph: &Validated, observed: &Observed) -> Result<Job, Invalid> {
    // Without the tables: nothing here needs them, and an annotation has little room.
    let config = SidecarConfig {
        schema: GraphSchema::default(),
        ..graph.config().clone()
    };
    let mut labels = graph_labels(graph);
    // Not one of the roles: no Service, budget or scale may count this pod.
    labels.insert("app.kubernetes.io/component".to_owned(), "cleanup".to_owned());
    Ok(Job {
        metadata: ObjectMeta {
            owner_references: None,
            ..graph_object(graph, cleanup_job_name(graph.name()))
        },
        spec: Some(JobSpec {
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            backoff_limit: Some(4),
            ttl_seconds_after_finished: Some(300),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(owned([(CONFIG_ANNOTATION, &config.to_yaml()?)])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(graph, &image::sidecar_image(graph, observed))),
            },
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// The writer's pod without what serves: so a user's `podTemplate` (pull secrets, tolerations, variables) counts here too.
fn pod(graph: &Validated, image: &str) -> PodSpec {
    let mut pod = pod::template(graph, Role::Writer, image, None)
        .spec
        .unwrap_or_default();
    let sidecar = [Some(&mut pod.containers), pod.init_containers.as_mut()]
        .into_iter()
        .flatten()
        .flat_map(std::mem::take)
        .find(|container| container.name == SIDECAR_CONTAINER);
    let container = container(graph, sidecar.unwrap_or_default());
    let mounted = |volume: &Volume| {
        let mut mounts = container.volume_mounts.iter().flatten();
        mounts.any(|mount| mount.name == volume.name)
    };
    let mut volumes = pod.volumes.unwrap_or_default();
    volumes.retain(|volume| volume.name != CONFIG_VOLUME && mounted(volume));
    volumes.push(config_volume());
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        containers: vec![container],
        init_containers: None,
        topology_spread_constraints: None,
        volumes: Some(volumes),
        ..pod
    }
}

fn container(graph: &Validated, sidecar: Container) -> Container {
    let mut args = vec![
        "cleanup".to_owned(),
        format!("--config={CONFIG_DIRECTORY}/{CONFIG_KEY}"),
    ];
    if graph.spec().deletion_policy == DeletionPolicy::Delete {
        args.push("--delete-data".to_owned());
    }
    let mut mounts = sidecar.volume_mounts.unwrap_or_default();
    mounts.retain(|mount| mount.name != DATA_VOLUME);
    Container {
        name: SIDECAR_CONTAINER.to_owned(),
        image: sidecar.image,
        image_pull_policy: sidecar.image_pull_policy,
        command: sidecar.command,
        args: Some(args),
        env: sidecar.env,
        env_from: sidecar.env_from,
        security_context: sidecar.security_context,
        resources: Some(resources()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// The config as a file, from the pod's own annotation.
fn config_volume() -> Volume {
    Volume {
        name: CONFIG_VOLUME.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: CONFIG_KEY.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: format!("metadata.annotations['{CONFIG_ANNOTATION}']"),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    }
}
