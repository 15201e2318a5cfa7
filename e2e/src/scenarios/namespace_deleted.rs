//! A namespace is deleted with a running graph in it. There a finalizer cannot start anything any more, and must not wait
//! for it either.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;

use super::{GRAPH, ScenarioError, Scene};
use crate::objects::ready::{LOOK, START};
use crate::objects::writer::LoopingWriter;
use crate::report::seconds;
use crate::wait::{Look, until_every};

const GONE_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    let space = scene.another_space("namespace-to-delete").await?;
    let backends = &scene.stage.backends;
    let graph = crate::objects::SmallGraph::new(backends, &space.namespace, GRAPH, 2).with_nats(backends);
    space.apply(graph.manifest()).await?;
    space.wait_ready(GRAPH, 2, START).await?;
    space.wait_services(GRAPH, true).await?;
    let client = LoopingWriter::start(space.writer(GRAPH).await?, 1);
    client.wait_more(5, START).await?;
    scene.passed("a graph runs and a client writes");

    let deleted = Instant::now();
    space
        .cluster
        .kubectl(["delete", "namespace", &space.namespace, "--wait=false"])
        .await?;
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    until_every(
        LOOK,
        "the namespace to be gone",
        GONE_WITHIN,
        async || match namespaces.get_opt(&space.namespace).await {
            Ok(None) => Look::Found(()),
            Ok(Some(namespace)) => {
                let conditions = namespace
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                let messages: Vec<String> = conditions
                    .into_iter()
                    .filter(|condition| condition.status == "True")
                    .filter_map(|condition| condition.message)
                    .collect();
                Look::NotYet(messages.join("; "))
            }
            Err(error) => Look::NotYet(error.to_string()),
        },
    )
    .await?;
    scene.figure(
        "namespace with a running graph deleted, gone",
        seconds(deleted.elapsed()),
    );
    scene.passed("gone, with everything in it");
    Ok(())
}
