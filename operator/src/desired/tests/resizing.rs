//! The writer's volume grows where it can.

use std::sync::Arc;

use k8s_openapi::{
    api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::json;

use super::{FULL, changed, empty_cluster};
use crate::desired::{VolumeGrowth, data_claim_name, desired, storage_class_to_read};

fn claim(size: &str, class: Option<&str>) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": "data-debian-writer-0"},
        "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}},
        "status": {"phase": "Bound"},
    }))
    .expect("a claim")
}

fn class(allows: Option<bool>) -> StorageClass {
    StorageClass {
        allow_volume_expansion: allows,
        ..StorageClass::default()
    }
}

/// What is decided when the spec asks for `wanted`, and the class that had to be read for it.
fn decide(
    wanted: &str,
    claim: Option<PersistentVolumeClaim>,
    class: Option<StorageClass>,
) -> (VolumeGrowth, Option<String>) {
    let graph = changed(
        FULL,
        "{size: 20Gi, storageClassName: fast}",
        &format!("{{size: {wanted}}}"),
    );
    let to_read = storage_class_to_read(&graph, claim.as_ref()).map(str::to_owned);
    let mut observed = empty_cluster();
    observed.data_claim = claim.map(Arc::new);
    observed.storage_class = class.map(Arc::new);
    (desired(&graph, &observed).volume_growth, to_read)
}

#[test]
fn a_claim_grows_when_its_class_allows_it() {
    let (growth, read) = decide("40Gi", Some(claim("20Gi", Some("fast"))), Some(class(Some(true))));
    assert_eq!(read.as_deref(), Some("fast"));
    let VolumeGrowth::Grow(claim) = growth else {
        panic!("{growth:?}")
    };
    assert_eq!(claim.metadata.name.as_deref(), Some("data-debian-writer-0"));
    assert_eq!(claim.metadata.namespace.as_deref(), Some("graphs"));
    let spec = claim.spec.expect("a spec");
    let resources = spec.resources.clone().expect("resources");
    assert_eq!(
        resources.requests.expect("requests")["storage"],
        Quantity("40Gi".to_owned())
    );
    assert_eq!(
        (spec.storage_class_name, spec.access_modes),
        (None, None),
        "only the size is applied"
    );
}

#[test]
fn a_claim_that_is_not_bound_waits() {
    let mut pending = claim("20Gi", Some("fast"));
    pending.status = None;
    let (growth, _) = decide("40Gi", Some(pending), Some(class(Some(true))));
    assert_eq!(growth, VolumeGrowth::None);
}

#[test]
fn nothing_is_done_and_no_class_is_read_when_there_is_nothing_to_grow() {
    for claim in [
        None,
        Some(claim("20Gi", Some("fast"))),
        Some(claim("20480Mi", Some("fast"))),
    ] {
        assert_eq!(decide("20Gi", claim, None), (VolumeGrowth::None, None));
    }
}

#[test]
fn a_size_that_cannot_be_had_is_refused_with_the_reason_and_a_way_out() {
    let fast = || Some(claim("20Gi", Some("fast")));
    for (wanted, claim, class, says) in [
        (
            "40Gi",
            fast(),
            Some(class(Some(false))),
            "storage class fast does not allow expansion",
        ),
        (
            "40Gi",
            fast(),
            Some(class(None)),
            "storage class fast does not allow expansion",
        ),
        (
            "40Gi",
            fast(),
            None,
            "storage class fast does not allow expansion",
        ),
        ("40Gi", Some(claim("20Gi", None)), None, "it has no storage class"),
        (
            "40Gi",
            Some(claim("20Gi", Some(""))),
            None,
            "it has no storage class",
        ),
        (
            "10Gi",
            fast(),
            Some(class(Some(true))),
            "a volume cannot shrink: set the size to 20Gi or more",
        ),
    ] {
        let (growth, _) = decide(wanted, claim, class);
        let VolumeGrowth::Refused(text) = growth else {
            panic!("{growth:?}")
        };
        assert!(text.contains(says), "{says} in: {text}");
        assert!(
            text.starts_with(&format!(
                "spec.writer.storage.size asks for {wanted}, volume claim data-debian-writer-0 has 20Gi"
            )),
            "{text}"
        );
    }
}

#[test]
fn the_claim_has_the_name_that_the_stateful_set_controller_gives_it() {
    let graph = super::graph(FULL);
    let objects = desired(&graph, &empty_cluster());
    let template = &objects
        .writer_stateful_set
        .spec
        .volume_claim_templates
        .expect("a claim")[0];
    let pod = format!("{}-0", objects.writer_stateful_set.metadata.name.expect("a name"));
    let expected = format!("{}-{pod}", template.metadata.name.as_deref().unwrap_or_default());
    assert_eq!(data_claim_name(&graph), expected);
}
