//! A replica's first build of the example's graph next to a bare `COPY`.

use std::time::Duration;

use super::figure::{Figure, median_seconds};
use super::running_graph::{RunningGraph, metric};
use super::{Effort, kuzu_alone};

/// At most so many times a bare copy.
const TARGET: f64 = 2.0;
/// Seconds of all builds of a process; a fresh replica has done one.
const BUILDS: &str = "slipstream_rebuild_duration_seconds";

/// Each repetition adds a replica to the loaded graph; the ones before it have nothing to do.
///
/// # Errors
/// When a process or the engine fails, or a replica did anything but build once.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let mut graph = RunningGraph::debian(&effort.example).await?;
    graph.load_debian(&effort.example).await?;
    let (mut ratios, mut wholes) = (Vec::new(), Vec::new());
    let (mut builds, mut copies) = (Vec::new(), Vec::new());
    for number in (1..).take(effort.repetitions) {
        let example = effort.example.clone();
        let bare = tokio::task::spawn_blocking(move || kuzu_alone::copy(&example)).await??;
        graph.scale(number).await?;
        let replica = graph.local.replica(number);
        let count = metric(&replica, &format!("{BUILDS}_count")).await?;
        anyhow::ensure!(
            count == 1.0,
            "expected one build on {}, found {count}",
            replica.name
        );
        let build = metric(&replica, &format!("{BUILDS}_sum")).await?;
        ratios.push(build / bare.copy.as_secs_f64());
        wholes.push(build / bare.whole.as_secs_f64());
        builds.push(Duration::from_secs_f64(build));
        copies.push(bare.copy);
    }
    let detail = format!(
        "build {:.2} s, COPY {:.2} s",
        median_seconds(&builds),
        median_seconds(&copies)
    );
    Ok(vec![
        Figure::ratio_at_most(
            "a replica's first build / bare Kuzu COPY",
            &ratios,
            TARGET,
            &detail,
        ),
        Figure::note(
            "… / COPY with open, DDL and checkpoint, which the build has as well",
            format!("{:.2}", super::figure::median(&wholes)),
        ),
    ])
}
