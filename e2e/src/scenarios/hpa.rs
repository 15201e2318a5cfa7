//! A HorizontalPodAutoscaler on the resource's scale subresource. What pods use is made up by a stub of the metrics API;
//! the writer's pod is made to use a lot, which must not count: `status.selector` names replicas only.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::metrics_stub::MetricsStub;
use super::{GRAPH, ScenarioError, Scene};
use crate::objects::ready::START;
use crate::report::seconds;
use crate::steps::expect_equal;

/// An autoscaler looks every few seconds, and Kubernetes' own default is 15 s.
const SCALES: Duration = Duration::from_secs(120);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    scene.start(&scene.small_graph(1), 1).await?;
    let space = scene.space.clone();
    let stub = MetricsStub::start(&space, GRAPH).await?;
    let outcome = follow_load(scene, &stub).await;
    // Left there, an API group that does not answer would keep namespaces from going away.
    stub.stop(&space).await?;
    outcome?;
    space.wait_ready(GRAPH, 1, START).await?;
    Ok(())
}

async fn follow_load(scene: &mut Scene<'_>, stub: &MetricsStub) -> Result<(), ScenarioError> {
    let space = scene.space.clone();
    space.apply(&autoscaler()).await?;
    // 100m for each replica is asked for, so 280m are work for three.
    for (load, replicas) in [(280, 3), (60, 1)] {
        let began = Instant::now();
        stub.set_load(load);
        space.wait_replicas(GRAPH, replicas, SCALES).await?;
        let asked = space.graph(GRAPH).await?.spec.replicas;
        expect_equal(
            "spec.replicas, set by the autoscaler",
            &(asked as usize),
            &replicas,
        )?;
        scene.passed(format!(
            "{load}m used by replicas (and 5 CPUs by the writer): {replicas} replicas"
        ));
        scene.figure(
            format!("autoscaler to {replicas} ready replicas"),
            seconds(began.elapsed()),
        );
    }
    Ok(())
}

fn autoscaler() -> Value {
    let at_once = json!({"stabilizationWindowSeconds": 0});
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": GRAPH},
        "spec": {
            "scaleTargetRef": {"apiVersion": "slipstream.dev/v1alpha1", "kind": "ReplicatedGraphDB", "name": GRAPH},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "AverageValue", "averageValue": "100m"}}}],
            "behavior": {"scaleUp": at_once, "scaleDown": at_once},
        },
    })
}
