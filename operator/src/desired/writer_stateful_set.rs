//! StatefulSet `<graph>-writer`: one pod with a stable name and a volume of its own.
//!
//! One pod is what a StatefulSet is for here: it never runs two of a name. Should a cut-off node still run an old one,
//! the epoch fences it. The volume holds only what can be built again, so it goes with the StatefulSet, except where the
//! graph's root itself may be on it (`file:`).
//! What the API server refuses to change stays as observed: the claim template, even when the spec asks for more room by
//! now (`volume_growth` sees to that), and what was fixed at creation.

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
            StatefulSetUpdateStrategy,
        },
        core::v1::{
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Observed, Role,
    labels::{IMAGE_ANNOTATION, Labels, TEMPLATE_ANNOTATION, owned, role_labels, role_object, role_selector},
    pod_inputs::DATA_VOLUME,
    replica_deployment::REVISIONS,
    rollout::template_hash,
    services::writer_headless_name,
};
use crate::validate::Validated;

pub(super) fn writer_stateful_set(
    graph: &Validated,
    observed: &Observed,
    template: PodTemplateSpec,
    image: &str,
    waits: bool,
) -> StatefulSet {
    let before = observed.writer.as_deref();
    let held = before.filter(|_| waits).and_then(held);
    let (template, annotations) = held.unwrap_or_else(|| {
        let annotations = owned([
            (IMAGE_ANNOTATION, image),
            (TEMPLATE_ANNOTATION, &template_hash(&template)),
        ]);
        (template, annotations)
    });
    StatefulSet {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..role_object(graph, Role::Writer)
        },
        spec: StatefulSetSpec {
            replicas: Some(1),
            selector: role_selector(graph, Role::Writer),
            service_name: Some(writer_headless_name(graph)),
            // With `OrderedReady`, a pod that never became ready would keep its broken template for ever.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(when_deleted(graph).to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            revision_history_limit: Some(REVISIONS),
            volume_claim_templates: Some(
                before
                    .and_then(claim_templates)
                    .unwrap_or_else(|| vec![claim_template(graph)]),
            ),
            template,
            ..StatefulSetSpec::default()
        },
        status: None,
    }
}

/// The observed template with the annotations that tell what it is.
fn held(before: &StatefulSet) -> Option<(PodTemplateSpec, Labels)> {
    let template = before.spec.template.clone();
    let mut annotations = before.metadata.annotations.clone()?;
    annotations.retain(|key, _| key == IMAGE_ANNOTATION || key == TEMPLATE_ANNOTATION);
    Some((template, annotations))
}

/// What was asked for at creation. Of what the API server filled in, only what decides is kept, so that equal input
/// gives an equal StatefulSet before and after it is made.
fn claim_templates(before: &StatefulSet) -> Option<Vec<PersistentVolumeClaim>> {
    let templates = before.spec.volume_claim_templates.as_ref()?;
    let asked = |claim: &PersistentVolumeClaim| PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: claim.metadata.name.clone(),
            labels: claim.metadata.labels.clone(),
            annotations: claim.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        spec: claim.spec.as_ref().map(|spec| PersistentVolumeClaimSpec {
            volume_mode: None,
            ..spec.clone()
        }),
        status: None,
    };
    Some(templates.iter().map(asked).collect())
}

fn claim_template(graph: &Validated) -> PersistentVolumeClaim {
    let storage = &graph.spec().writer.storage;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA_VOLUME.to_owned()),
            labels: Some(role_labels(graph, Role::Writer)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), storage.size.clone())].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn when_deleted(graph: &Validated) -> &'static str {
    if graph.spec().storage.uri.starts_with("file:") {
        "Retain"
    } else {
        "Delete"
    }
}
