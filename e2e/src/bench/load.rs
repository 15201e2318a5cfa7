//! Loading the example's data through the API next to Lance alone.

use std::time::Duration;

use slipstream_e2e::debian::{EDGES, PACKAGE, parquet_file, parquet_rows};
use slipstream_e2e::report::rate;

use super::figure::{Figure, median_seconds};
use super::running_graph::{RunningGraph, metric};
use super::{Effort, lance_alone};

/// At least this much of Lance's own rate.
const TARGET: f64 = 0.4;

/// Each repetition loads into a fresh graph without replicas, which on this machine would take the writer's cores; then, once, with two.
///
/// # Errors
/// When a process or an engine fails.
pub(crate) async fn run(effort: &Effort) -> anyhow::Result<Vec<Figure>> {
    let rows = [PACKAGE, EDGES[0], EDGES[1]].map(|table| parquet_rows(&parquet_file(&effort.example, table)));
    let rows = rows.into_iter().sum::<Result<u64, _>>()?;
    let (mut ratios, mut answered, mut queryable) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lance, mut commits) = (Vec::new(), Vec::new());
    for _ in 0..effort.repetitions {
        let alone = lance_alone::append(&effort.example).await?;
        let graph = RunningGraph::debian(&effort.example).await?;
        let before = metric(&graph.local.writer(), COMMITS).await.unwrap_or_default();
        let through = graph.load_debian(&effort.example).await?;
        commits.push(metric(&graph.local.writer(), COMMITS).await? - before);
        ratios.push(alone.as_secs_f64() / through.answered.as_secs_f64());
        answered.push(through.answered);
        queryable.push(through.queryable);
        lance.push(alone);
    }
    let mut followed = RunningGraph::debian(&effort.example).await?;
    followed.scale(2).await?;
    let with_replicas = followed.load_debian(&effort.example).await?;

    let rate_of = |durations: &[Duration]| rate(rows, Duration::from_secs_f64(median_seconds(durations)));
    let detail = format!("API {}, Lance alone {}", rate_of(&answered), rate_of(&lance));
    let share = super::figure::median(&commits) / median_seconds(&answered);
    Ok(vec![
        Figure::ratio_at_least(
            "loading the demo's data / the same rows appended to Lance",
            &ratios,
            TARGET,
            &detail,
        ),
        Figure::note(
            "… from the first request until the writer's own graph answers from it",
            format!(
                "{:.2} s; all of it committed after {:.2} s",
                median_seconds(&queryable),
                median_seconds(&answered)
            ),
        ),
        Figure::note(
            "… of which in the writer's turns (Lance's manifests, records); the rest receives, decodes, writes data files, validates",
            format!("{:.0} %", share * 100.0),
        ),
        Figure::note(
            "… while two replicas follow on the same machine",
            rate(rows, with_replicas.answered),
        ),
    ])
}

/// Seconds spent in commits.
const COMMITS: &str = "slipstream_commit_duration_seconds_sum";
