//! A new pod template for both roles: replicas roll first, one more than asked for at a time, and the writer last.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{GRAPH, ScenarioError, Scene};
use crate::objects::pods::PodView;
use crate::objects::reader::LoopingReader;
use crate::objects::ready::START;
use crate::objects::small_graph::items;
use crate::objects::{Role, Space};
use crate::report::seconds;
use crate::steps::expect;
use crate::wait::{Look, until_every};

const REPLICAS: usize = 2;
const LOOK: Duration = Duration::from_millis(100);
const ROLLED: Duration = Duration::from_secs(180);

pub(super) async fn run(scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
    scene
        .start(&scene.small_graph(REPLICAS as u32), REPLICAS as u32)
        .await?;
    let space = scene.space.clone();
    space.writer(GRAPH).await?.commit(&items(0..100)).await?;
    let old = Generation::of(&space).await?;
    let reader = LoopingReader::start(space.readers(GRAPH).await?);
    reader.wait_answers(5, START).await?;

    let began = Instant::now();
    let template = json!({"podTemplate": {"metadata": {"annotations": {"example.com/rolled": "yes"}}}});
    space
        .patch_graph(GRAPH, &json!({"spec": {"writer": template, "replica": template}}))
        .await?;
    let fewest = watch_rollout(&space, &old).await?;
    let rolled = began.elapsed();
    expect(
        fewest >= REPLICAS - 1,
        "fewest ready replicas while rolling",
        format!("at least {}", REPLICAS - 1),
        fewest,
    )?;
    scene.passed(format!(
        "replicas first, never fewer than {fewest} ready; the writer last"
    ));
    space.wait_ready(GRAPH, REPLICAS as u32, START).await?;
    reader.expect_no_failure(began, "while the pods were rolled")?;
    scene.passed(format!("{} reads, all answered", reader.seen().answers.len()));
    scene.figure(
        format!("new pod template for {REPLICAS} replicas and the writer, all rolled"),
        seconds(rolled),
    );
    Ok(())
}

/// Pods by their ids.
struct Generation {
    replicas: BTreeSet<String>,
    writer: BTreeSet<String>,
}

impl Generation {
    async fn of(space: &Space) -> Result<Self, ScenarioError> {
        let uids = |pods: Vec<PodView>| pods.into_iter().map(|pod| pod.uid).collect();
        Ok(Self {
            replicas: uids(space.pod_views(GRAPH, Role::Replica).await?),
            writer: uids(space.pod_views(GRAPH, Role::Writer).await?),
        })
    }
}

/// Looks all the time until everything is new and ready; gives the fewest ready replicas seen.
async fn watch_rollout(space: &Space, old: &Generation) -> Result<usize, ScenarioError> {
    let mut fewest = usize::MAX;
    let rolled = until_every(LOOK, "all pods to be new and ready", ROLLED, async || {
        // The writer first: seen new although a replica is still old, it has not waited.
        let writers = space.pod_views(GRAPH, Role::Writer).await;
        let replicas = space.pod_views(GRAPH, Role::Replica).await;
        let (writers, replicas) = match (writers, replicas) {
            (Ok(writers), Ok(replicas)) => (writers, replicas),
            (Err(error), _) | (_, Err(error)) => return Look::NotYet(error.to_string()),
        };
        fewest = fewest.min(replicas.iter().filter(|pod| pod.ready && !pod.leaving).count());
        let is_new = |pod: &PodView| !old.replicas.contains(&pod.uid) && !old.writer.contains(&pod.uid);
        let new_ready = |pods: &[PodView]| {
            pods.iter()
                .filter(|pod| is_new(pod) && pod.ready && !pod.leaving)
                .count()
        };
        let writer_touched = writers.is_empty() || writers.iter().any(|pod| is_new(pod) || pod.leaving);
        if writer_touched && new_ready(&replicas) < REPLICAS {
            let found = format!("{replicas:?}");
            return Look::Found(Err(ScenarioError::wrong(
                "replicas when the writer rolls",
                "all new and ready",
                found,
            )));
        }
        if new_ready(&replicas) == REPLICAS && replicas.len() == REPLICAS && new_ready(&writers) == 1 {
            return Look::Found(Ok(()));
        }
        Look::NotYet(format!("writers {writers:?}, replicas {replicas:?}"))
    });
    rolled.await??;
    Ok(fewest)
}
