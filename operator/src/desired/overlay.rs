//! Laying a user's `podTemplate` over the pod that Slipstream makes.
//!
//! Flow: own template + user's template → merged as the API server merges patches (lists by their keys: containers,
//! variables and volumes by name, ports by number, mounts by path) → the sidecar put where it belongs.
//! Owns: the rules of the merge. Does not own: which templates are refused (`crds`: selector labels, containers without
//! an image, …).
//!
//! The user's word counts: a template may also loosen the security context or replace a volume, in plain sight in the
//! resource. Labels that selectors rely on cannot be changed.
//!
//! **Native sidecar.** When the user adds a container, Slipstream's becomes an init container that keeps running
//! (`restartPolicy: Always`), after the user's own init containers. Its startup probe is then `/readyz`, so that the
//! user's containers start only when the graph has caught up, and stop before it does.

use k8s_openapi::{
    DeepMerge,
    api::core::v1::{Container, PodSpec, PodTemplateSpec, Probe},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::pod::{SIDECAR_CONTAINER, probe};

/// `own` with the user's template over it.
pub(super) fn lay_over(mut own: PodTemplateSpec, user: Option<&PodTemplateSpec>) -> PodTemplateSpec {
    let Some(user) = user.cloned() else { return own };
    own.metadata.merge_from(user.metadata.map(|metadata| ObjectMeta {
        labels: metadata.labels,
        annotations: metadata.annotations,
        ..ObjectMeta::default()
    }));
    own.spec = Some(lay_spec_over(
        own.spec.unwrap_or_default(),
        user.spec.unwrap_or_default(),
    ));
    own
}

fn lay_spec_over(mut own: PodSpec, mut user: PodSpec) -> PodSpec {
    let mut sidecar = own.containers.remove(0);
    // The user may name it in either list: which one it ends up in follows from what else is there.
    let of_user: Vec<_> = [Some(&mut user.containers), user.init_containers.as_mut()]
        .into_iter()
        .flatten()
        .flat_map(|list| list.extract_if(.., |container| container.name == SIDECAR_CONTAINER))
        .collect();
    let stands_alone = user.containers.is_empty();
    if !stands_alone {
        sidecar = native(sidecar);
    }
    for container in of_user {
        lay_container_over(&mut sidecar, container);
    }
    replace_by(&mut own.volumes, &user.volumes, |volume| &volume.name);
    own.merge_from(user);
    if stands_alone {
        own.containers.push(sidecar);
    } else {
        own.init_containers.get_or_insert_default().push(sidecar);
    }
    own.init_containers = own.init_containers.filter(|list| !list.is_empty());
    own
}

/// The sidecar as an init container that keeps running and holds the others back until the graph has caught up.
fn native(mut sidecar: Container) -> Container {
    sidecar.restart_policy = Some("Always".to_owned());
    // A day: a first build of any size, and no restart that would only begin it again.
    sidecar.startup_probe = Some(probe("/readyz", 2, 43_200));
    sidecar
}

fn lay_container_over(own: &mut Container, user: Container) {
    replace_by(&mut own.env, &user.env, |variable| &variable.name);
    for (own, user) in [
        (&mut own.startup_probe, &user.startup_probe),
        (&mut own.liveness_probe, &user.liveness_probe),
        (&mut own.readiness_probe, &user.readiness_probe),
    ] {
        clear_handler(own, user);
    }
    let hook = user.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref());
    if let (Some(own), Some(_)) = (&mut own.lifecycle, hook) {
        own.pre_stop = None;
    }
    own.merge_from(user);
}

/// Takes entries out of `own` that `user` has too: a variable or a volume has one source, and merging would give it two.
fn replace_by<T>(own: &mut Option<Vec<T>>, user: &Option<Vec<T>>, name: impl Fn(&T) -> &String) {
    if let (Some(own), Some(user)) = (own, user) {
        own.retain(|entry| user.iter().all(|other| name(other) != name(entry)));
    }
}

/// A probe asks in one way: a user's way takes the place of ours, a user's number only changes that number.
fn clear_handler(own: &mut Option<Probe>, user: &Option<Probe>) {
    let asks = |probe: &Probe| {
        probe.http_get.is_some() || probe.exec.is_some() || probe.grpc.is_some() || probe.tcp_socket.is_some()
    };
    if let (Some(own), Some(user)) = (own, user)
        && asks(user)
    {
        own.http_get = None;
    }
}
