//! Resources that are wrong: the API server refuses them and says which field; what only the operator can see it says in
//! the status, and goes on with all others.

use std::time::Duration;

use serde_json::{Value, json};

use super::two_operators::wait_config;
use super::{GRAPH, ScenarioError, Scene};
use crate::objects::ready::{START, conditions};
use crate::objects::{SmallGraph, Space};
use crate::steps::expect;

const SAID_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    // No replica: nothing here needs running pods.
    let space = scene.space.clone();
    let good = scene.small_graph(0);
    let created = new_ones();
    for (patch, field) in &created {
        let name = patch["metadata"]["name"].as_str().unwrap_or("bad");
        let bad = SmallGraph::new(&scene.stage.backends, &space.namespace, name, 0).with(patch);
        refused(&space, bad.manifest(), patch, field).await?;
    }
    scene.passed(format!(
        "{} new resources refused, each by the name of its field",
        created.len()
    ));

    space.apply(good.manifest()).await?;
    let changed = changes();
    for (patch, field) in &changed {
        refused(&space, good.clone().with(patch).manifest(), patch, field).await?;
    }
    scene.passed(format!("{} changes of immutable fields refused", changed.len()));

    let hourly = SmallGraph::new(&scene.stage.backends, &space.namespace, "hourly", 0)
        .with(&json!({"spec": {"snapshots": {"schedule": "every hour"}}}));
    space.apply(hourly.manifest()).await?;
    let graph = space
        .wait_graph(
            "hourly",
            "a condition names spec.snapshots.schedule",
            SAID_WITHIN,
            |graph| conditions(graph).contains("spec.snapshots.schedule"),
        )
        .await?;
    let ready = crate::objects::ready::condition(&graph, "Ready");
    expect(
        ready.0 == "False",
        "Ready of a resource that cannot be used",
        "False",
        &ready,
    )?;
    let (_, reason, message) = crate::objects::ready::condition(&graph, "Degraded");
    scene.passed(format!(
        "what only the operator can see is in the status, {reason}: {message}"
    ));
    wait_config(&space, "pollInterval: 1s", START).await?;
    space
        .patch_graph(GRAPH, &json!({"spec": {"events": {"pollInterval": "4s"}}}))
        .await?;
    wait_config(&space, "pollInterval: 4s", START).await?;
    scene.passed("and blocks no other graph");
    Ok(())
}

/// Merged into a good resource that is not there yet; and what the refusal must name.
fn new_ones() -> Vec<(Value, &'static str)> {
    let item = |properties: Value, key: &str| json!({"spec": {"schema": {"nodes": [{"name": "Item", "primaryKey": key, "properties": properties}], "edges": []}}});
    let id = json!({"name": "id", "type": "int64"});
    vec![
        (json!({"spec": {"storage": null}}), "spec.storage"),
        (
            json!({"spec": {"storage": {"uri": "ftp://graphs/x"}}}),
            "spec.storage.uri",
        ),
        (
            json!({"spec": {"storage": {"endpoint": "s3:9000"}}}),
            "spec.storage.endpoint",
        ),
        (json!({"spec": {"replicas": -1}}), "spec.replicas"),
        (json!({"spec": {"replicas": 1001}}), "spec.replicas"),
        (json!({"spec": {"replcas": 2}}), "spec.replcas"),
        (
            json!({"spec": {"events": {"pollInterval": "0s"}}}),
            "spec.events.pollInterval",
        ),
        (
            json!({"spec": {"events": {"pollInterval": "soon"}}}),
            "spec.events.pollInterval",
        ),
        (
            json!({"spec": {"events": {"nats": {"url": "http://nats"}}}}),
            "spec.events.nats.url",
        ),
        (
            json!({"spec": {"snapshots": {"keepLast": 0}}}),
            "spec.snapshots.keepLast",
        ),
        (json!({"spec": {"deletionPolicy": "Burn"}}), "spec.deletionPolicy"),
        (json!({"metadata": {"name": "9lives"}}), "metadata.name"),
        (item(json!([id]), "key"), "spec.schema.nodes[0].primaryKey"),
        (
            item(json!([id, {"name": "x", "type": "text"}]), "id"),
            "spec.schema.nodes[0].properties[1].type",
        ),
        (
            item(json!([id, {"name": "x", "type": "vector"}]), "id"),
            "spec.schema.nodes[0].properties[1].dimension",
        ),
        (
            item(json!([id, {"name": "_x", "type": "string"}]), "id"),
            "spec.schema.nodes[0].properties[1].name",
        ),
        (
            json!({"spec": {"schema": {"edges": [{"name": "NEXT", "from": "Item", "to": "Itm"}]}}}),
            "spec.schema.edges",
        ),
        (
            json!({"spec": {"writer": {"storage": {"size": "much"}}}}),
            "spec.writer.storage.size",
        ),
    ]
}

/// Merged into the good resource that is there.
fn changes() -> Vec<(Value, &'static str)> {
    let nodes = |nodes: Value| json!({"spec": {"schema": {"nodes": nodes}}});
    let text = json!({"name": "text", "type": "string"});
    vec![
        (
            json!({"spec": {"storage": {"uri": "s3://graphs/elsewhere"}}}),
            "spec.storage.uri",
        ),
        (
            nodes(
                json!([{"name": "Item", "primaryKey": "text", "properties": [{"name": "id", "type": "int64"}, text]}]),
            ),
            "spec.schema.nodes[0].primaryKey",
        ),
        (
            nodes(
                json!([{"name": "Item", "primaryKey": "id", "properties": [{"name": "id", "type": "int64"}]}]),
            ),
            "spec.schema.nodes[0].properties",
        ),
        (
            nodes(json!([{"name": "Item", "primaryKey": "id",
                "properties": [{"name": "id", "type": "int64"}, {"name": "text", "type": "bool"}]}])),
            "spec.schema.nodes[0].properties[1].type",
        ),
        (
            nodes(
                json!([{"name": "Thing", "primaryKey": "id", "properties": [{"name": "id", "type": "int64"}]}]),
            ),
            "spec.schema.nodes",
        ),
        (json!({"spec": {"schema": {"edges": []}}}), "spec.schema.edges"),
    ]
}

async fn refused(space: &Space, manifest: &Value, patch: &Value, field: &str) -> Result<(), ScenarioError> {
    let what = format!("kubectl apply with {patch}");
    match space.apply(manifest).await {
        Ok(said) => Err(ScenarioError::wrong(
            what,
            format!("a refusal that names {field}"),
            said,
        )),
        Err(error) => {
            let said = error.to_string();
            // Strict decoding quotes the path of an unknown field; the API server names all others as they are.
            expect(
                said.contains(field),
                what,
                format!("a refusal that names {field}"),
                &said,
            )?;
            Ok(())
        }
    }
}
