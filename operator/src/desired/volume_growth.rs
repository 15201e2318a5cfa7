//! The size of the writer's volume: it grows when the spec asks for more and its class allows that.
//!
//! A StatefulSet's claim template is immutable, so the claim itself is changed; the volume's driver does the rest, with
//! the pod running. Owns: the decision. Does not own: telling a person about a refusal (`status`).

use crds::bytes;
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{Observed, Role, labels::role_name, pod_inputs::DATA_VOLUME};
use crate::validate::Validated;

/// What to do about the claim of the writer's volume.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeGrowth {
    /// Nothing: it does not exist yet, or has the size asked for.
    None,
    /// Apply this: name, namespace and the new size, nothing else. The claim exists.
    Grow(Box<PersistentVolumeClaim>),
    /// The size asked for cannot be had; the text says why and what to do. The graph runs on with the size it has.
    Refused(String),
}

/// Name of the claim: the StatefulSet controller makes it from the claim template.
pub fn data_claim_name(graph: &Validated) -> String {
    format!("{DATA_VOLUME}-{}-0", role_name(graph, Role::Writer))
}

/// The storage class that must be read to decide; none where nothing is to grow, so that most reconciles read none.
pub fn storage_class_to_read<'a>(
    graph: &Validated,
    claim: Option<&'a PersistentVolumeClaim>,
) -> Option<&'a str> {
    let claim = claim?;
    let (found, wanted) = sizes(graph, claim)?;
    (bytes(wanted).ok()? > bytes(found).ok()?).then(|| class_of(claim))?
}

pub(super) fn volume_growth(graph: &Validated, observed: &Observed) -> VolumeGrowth {
    let Some(claim) = observed.data_claim.as_deref() else {
        return VolumeGrowth::None;
    };
    let Some((found, wanted)) = sizes(graph, claim) else {
        return VolumeGrowth::None;
    };
    // Both were read before: the spec's by the check, the claim's by the API server.
    let (Ok(found_bytes), Ok(wanted_bytes)) = (bytes(found), bytes(wanted)) else {
        return VolumeGrowth::None;
    };
    let name = data_claim_name(graph);
    let asks = format!(
        "spec.writer.storage.size asks for {}, volume claim {name} has {}",
        wanted.0, found.0
    );
    if wanted_bytes < found_bytes {
        return VolumeGrowth::Refused(format!(
            "{asks}; a volume cannot shrink: set the size to {} or more",
            found.0
        ));
    }
    if wanted_bytes == found_bytes {
        return VolumeGrowth::None;
    }
    // The API server lets only a bound claim grow.
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase != Some("Bound") {
        return VolumeGrowth::None;
    }
    let class = class_of(claim);
    let allows = observed
        .storage_class
        .as_deref()
        .is_some_and(|class| class.allow_volume_expansion == Some(true));
    if !allows {
        let class = class.map_or_else(
            || "it has no storage class".to_owned(),
            |class| format!("storage class {class} does not allow expansion"),
        );
        return VolumeGrowth::Refused(format!(
            "{asks}, and {class}: set the size back, or delete claim and pod to have them made anew"
        ));
    }
    VolumeGrowth::Grow(Box::new(resized(graph, name, wanted)))
}

fn resized(graph: &Validated, name: String, size: &Quantity) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(graph.namespace().to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size.clone())].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// The size the claim asks for, and the one the spec asks for.
fn sizes<'a>(graph: &'a Validated, claim: &'a PersistentVolumeClaim) -> Option<(&'a Quantity, &'a Quantity)> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some((requests.get("storage")?, &graph.spec().writer.storage.size))
}

fn class_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let class = claim.spec.as_ref()?.storage_class_name.as_deref()?;
    (!class.is_empty()).then_some(class)
}
