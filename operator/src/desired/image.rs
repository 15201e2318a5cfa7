//! Which sidecar image a graph runs.
//!
//! It is decided once, written on the workloads as an annotation, and kept: a newer operator must not restart pods. A
//! person changes it with `spec.image`; taking that away again leaves the image as it is. When the workloads are gone, as for the
//! cleanup Job, the resource's status still has it.

use super::{Observed, labels::IMAGE_ANNOTATION};
use crate::validate::Validated;

/// The sidecar image of the graph: the one asked for; else the one it already has, or had; else the operator's.
pub(super) fn sidecar_image(graph: &Validated, observed: &Observed) -> String {
    // The Deployment first: it is the first to get a new image, while the StatefulSet may still wait with the old one.
    let of_replica = observed.replica.as_ref().map(|workload| &workload.metadata);
    let of_writer = observed.writer.as_ref().map(|workload| &workload.metadata);
    let kept = [of_replica, of_writer]
        .into_iter()
        .flatten()
        .find_map(|metadata| metadata.annotations.as_ref()?.get(IMAGE_ANNOTATION));
    graph
        .spec()
        .image
        .as_ref()
        .or(kept)
        .or(observed.image_before.as_ref())
        .unwrap_or(&observed.installation.sidecar_image)
        .clone()
}
