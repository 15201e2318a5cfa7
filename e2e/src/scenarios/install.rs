//! What a new user does: install the chart, apply the Debian example, load it through the writer's Service, ask through the
//! read Service. And, because its graph is large enough to measure on: a new replica, a killed writer.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use super::{ScenarioError, Scene};
use crate::client::{ClientError, Node, Query};
use crate::debian::{Debian, EDGES, PACKAGE, parquet_file, parquet_rows};
use crate::local_process::find_binary;
use crate::objects::ready::START;
use crate::objects::{Role, Space, small_graph};
use crate::report::{grouped, rate, seconds};
use crate::steps::{expect, expect_equal};
use crate::wait::{Look, until};

const NAME: &str = "debian";
/// For the writer to take over and serve the whole graph again.
const TAKEOVER: Duration = Duration::from_secs(120);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let (stage, space) = (scene.stage, scene.space.clone());
    stage.chart.test(&stage.cluster).await?;
    scene.passed("helm test");
    let began = Instant::now();
    space.apply(&resource(scene)?).await?;
    space.wait_ready(NAME, 2, START).await?;
    scene.figure(
        "examples/debian applied, ready with 2 replicas (no data)",
        seconds(began.elapsed()),
    );
    let columns = space.kubectl(&["get", "rgdb", NAME]).await?;
    for column in ["NAME", "READY", "REPLICAS", "HEAD", "LAG", "AGE"] {
        expect(
            columns.contains(column),
            "columns of kubectl get rgdb",
            column,
            &columns,
        )?;
    }
    for row in columns.lines() {
        scene.say(row);
    }

    space.wait_services(NAME, true).await?;
    let model = Debian::read(&stage.example)?;
    load(scene, &space).await?;
    ask(&space, &model).await?;
    scene.passed("every count read through the read Service is that of the files");
    for kind in ["poddisruptionbudgets", "events"] {
        let found = space.kubectl(&["get", kind, "-o", "name"]).await?;
        expect(
            !found.trim().is_empty(),
            format!("{kind} in the namespace"),
            "some",
            found,
        )?;
    }
    new_replica(scene, &space).await?;
    killed_writer(scene, &space).await
}

/// The example, with this cluster's backends and small requests.
fn resource(scene: &Scene<'_>) -> Result<Value, ScenarioError> {
    let (backends, file) = (&scene.stage.backends, scene.stage.example.join("debian.yaml"));
    let text =
        std::fs::read_to_string(&file).map_err(ScenarioError::system(format!("read {}", file.display())))?;
    let mut resource: Value = serde_yaml::from_str(&text)
        .map_err(|error| ScenarioError::wrong(file.display().to_string(), "YAML", error.to_string()))?;
    let resources = json!({"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}});
    let patch = json!({"spec": {
        "storage": {
            "uri": small_graph::uri(backends, &scene.space.namespace, NAME),
            "endpoint": backends.s3_endpoint,
            "credentialsSecretRef": {"name": "s3"},
        },
        "events": {"nats": {"url": backends.nats_url, "credentialsSecretRef": {"name": "nats"}}},
        "writer": {"resources": resources, "storage": {"size": "2Gi"}},
        "replica": {"resources": resources, "cache": {"size": "2Gi"}},
    }});
    small_graph::merge(&mut resource, &patch);
    Ok(resource)
}

/// `slipstream load` for each file, to the writer's Service.
async fn load(scene: &mut Scene<'_>, space: &Space) -> Result<(), ScenarioError> {
    let (writer, binary) = (
        space.service_url(&format!("{NAME}-writer")).await?,
        find_binary()?,
    );
    let (mut total, began) = (0, Instant::now());
    for table in [PACKAGE, EDGES[0], EDGES[1]] {
        let file = parquet_file(&scene.stage.example, table);
        total += parquet_rows(&file)?;
        load_one(&binary, table, &file, &writer).await?;
    }
    scene.passed(format!("{} rows loaded by slipstream load", grouped(total)));
    scene.figure(
        "slipstream load through the writer's Service",
        rate(total, began.elapsed()),
    );
    Ok(())
}

async fn load_one(binary: &Path, table: &str, file: &Path, writer: &str) -> Result<(), ScenarioError> {
    let mut command = Command::new(binary);
    command
        .args(["load", table])
        .arg(file)
        .args(["--writer", writer])
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .map_err(ScenarioError::system("run slipstream load"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    expect(
        output.status.success(),
        format!("slipstream load {table}"),
        "exit status 0",
        said,
    )?;
    Ok(())
}

async fn ask(space: &Space, model: &Debian) -> Result<(), ScenarioError> {
    let readers = space.readers(NAME).await?;
    let counts = model.counts();
    let queries = [
        "MATCH (p:Package) RETURN count(*)",
        "MATCH ()-[d:DEPENDS]->() RETURN count(*)",
        "MATCH ()-[r:RECOMMENDS]->() RETURN count(*)",
    ];
    for (query, expected) in queries.into_iter().zip(counts) {
        let found = readers.count(&Query::new(query).strong()).await?;
        expect_equal(query, &found, &expected)?;
    }
    Ok(())
}

/// How long a pod takes from being made to being ready, on this graph.
async fn new_replica(scene: &mut Scene<'_>, space: &Space) -> Result<(), ScenarioError> {
    space.wait_ready(NAME, 2, START).await?;
    space.kubectl(&["scale", "rgdb", NAME, "--replicas=3"]).await?;
    space
        .wait_pods(NAME, Role::Replica, "a third one", START, |pods| pods.len() == 3)
        .await?;
    let made = Instant::now();
    space.wait_replicas(NAME, 3, START).await?;
    scene.figure(
        "replica pod from schedule to Ready (Debian graph, 373k rows)",
        seconds(made.elapsed()),
    );
    space.kubectl(&["scale", "rgdb", NAME, "--replicas=1"]).await?;
    Ok(())
}

async fn killed_writer(scene: &mut Scene<'_>, space: &Space) -> Result<(), ScenarioError> {
    space.wait_replicas(NAME, 1, START).await?;
    let writer = space.writer(NAME).await?;
    let killed = Instant::now();
    let pod = format!("{NAME}-writer-0");
    let old = space.pod_views(NAME, Role::Writer).await?;
    space
        .kubectl(&["delete", "pod", &pod, "--force", "--grace-period=0"])
        .await?;
    space
        .wait_pods(NAME, Role::Writer, "a new one", TAKEOVER, |pods| {
            pods.iter().any(|pod| old.iter().all(|old| old.uid != pod.uid))
        })
        .await?;
    let tx_id = until("a commit of the new writer", TAKEOVER, async || {
        match commit(&writer).await {
            Ok(tx_id) => Look::Found(tx_id),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    scene.figure(
        "recovery of a killed writer (Debian graph): kill to next commit",
        seconds(killed.elapsed()),
    );
    let query = Query::new("MATCH (p:Package {name: 'slipstream'}) RETURN count(*)").min_tx(&tx_id);
    let found = space.readers(NAME).await?.count(&query).await?;
    expect_equal(
        "the package that the new writer committed, on a replica",
        &found,
        &1,
    )?;
    scene.passed("a new writer took over and a replica follows it");
    Ok(())
}

async fn commit(writer: &Node) -> Result<String, ClientError> {
    let row = json!({"name": "slipstream", "section": "database"});
    let transaction = json!({"operations": [{"upsert": {"table": PACKAGE, "rows": [row]}}]});
    Ok(writer.commit(&transaction).await?.tx_id)
}
