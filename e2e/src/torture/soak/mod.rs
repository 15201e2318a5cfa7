//! Soak: 50 transactions a second for half an hour beside readers, snapshots, optimizer and scrub on short cadence; nothing may grow.
//!
//! ```text
//! load (writes at a fixed rate, reads) ─> latencies ─┐
//! sample: /proc, directories, /v1/status ────────────┴─> series ─> slope ─> report
//! end: no more load, a last cleaning ─> the bucket's bytes, next to a fresh copy of its rows (`fresh_copy`)
//! ```
//!
//! The graph keeps its size: rows are replaced, and as many deleted as created. So whatever grows in the second half is a leak, or a
//! cleaning that does not keep up. Owns: the order of the run, and what counts as flat. Does not own: the arithmetic (`slope`).

mod fresh_copy;
mod load;
mod report;
mod sample;
pub mod slope;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::{interval, sleep};

use super::harness::{Harness, NodeProcess, READY_WITHIN, quiet_config};
use super::{Options, PartReport, TortureError};
use load::Load;
use sample::Series;

const REPLICAS: usize = 2;
/// Less does not take the rows of a whole node group in one `COPY`; more is not full after half of the run.
const BUFFER_POOL_BYTES: u64 = 384 << 20;
const MINUTES: f64 = 30.0;
const MINUTES_SMALL: f64 = 0.5;
/// From one sample to the next.
const EVERY: Duration = Duration::from_secs(10);
const EVERY_SMALL: Duration = Duration::from_secs(2);
/// After the load: longer than the time-travel window, the least age of what is cleaned and an optimizer's interval together.
const LAST_CLEANING: Duration = Duration::from_secs(180);
const LAST_CLEANING_SMALL: Duration = Duration::from_secs(30);

/// A node table with texts and an edge table.
const SCHEMA: &str = "
nodes:
  - name: Item
    primaryKey: name
    properties:
      - {name: name, type: string}
      - {name: text, type: string, required: true}
      - {name: value, type: int64, required: true}
edges:
  - {name: NEAR, from: Item, to: Item, properties: [{name: value, type: int64, required: true}]}
";

/// What the run's graph looks like, and how long it lasts.
#[derive(Debug, Clone)]
struct Scale {
    lasts: Duration,
    every: Duration,
    last_cleaning: Duration,
    items: usize,
    /// Rounds of replacing before the load.
    aging: usize,
    optimizer: Duration,
    window: Duration,
    snapshot_commits: u64,
}

impl Scale {
    fn of(options: &Options) -> Self {
        let minutes = options.minutes.unwrap_or(match options.small {
            true => MINUTES_SMALL,
            false => MINUTES,
        });
        let lasts = Duration::from_secs_f64(minutes * 60.0);
        match options.small {
            true => Self {
                lasts,
                every: EVERY_SMALL,
                last_cleaning: LAST_CLEANING_SMALL,
                items: 5_000,
                aging: 2,
                optimizer: Duration::from_secs(5),
                window: Duration::from_secs(5),
                snapshot_commits: 20,
            },
            false => Self {
                lasts,
                every: EVERY,
                last_cleaning: LAST_CLEANING,
                items: 100_000,
                aging: 40,
                optimizer: Duration::from_secs(20),
                window: Duration::from_secs(30),
                snapshot_commits: 1_000,
            },
        }
    }
}

/// The processes of the run.
struct Cast {
    writer: NodeProcess,
    replicas: Vec<NodeProcess>,
}

impl Cast {
    async fn start(harness: &Harness) -> Result<Self, TortureError> {
        let mut writer = harness.start_writer("writer")?;
        writer.wait_ready(READY_WITHIN).await?;
        let mut replicas = Vec::new();
        for number in 1..=REPLICAS {
            replicas.push(harness.start_replica(&format!("replica-{number}"))?);
        }
        for replica in &mut replicas {
            replica.wait_ready(READY_WITHIN).await?;
        }
        Ok(Self { writer, replicas })
    }

    fn all(&self) -> impl Iterator<Item = &NodeProcess> {
        std::iter::once(&self.writer).chain(&self.replicas)
    }

    /// An error if a process has ended.
    fn ensure_running(&mut self) -> Result<(), TortureError> {
        for process in std::iter::once(&mut self.writer).chain(&mut self.replicas) {
            if let Some(status) = process.ended()? {
                return Err(TortureError::Ended {
                    name: process.spec.name.clone(),
                    status,
                });
            }
        }
        Ok(())
    }
}

/// What the writer and the replicas say about their background work at the end.
#[derive(Debug, Default)]
struct Background {
    optimizer: Value,
    /// Of the replica that took the newest one.
    snapshots: Value,
    scrub: Value,
    optimizes: f64,
    freed_bytes: f64,
    trimmed_commits: f64,
    snapshots_taken: f64,
    scrubs: f64,
    divergences: f64,
    rebuilds: f64,
}

/// Carries the part out.
///
/// # Errors
/// When processes cannot be started, or one ends.
pub async fn run(options: &Options) -> Result<PartReport, TortureError> {
    let scale = Scale::of(options);
    let directory = options.directory.join("soak");
    let config = config(&directory, &scale)?;
    let harness = Harness::with(&directory, &options.binary, config, environment(options.small))?;
    let mut cast = Cast::start(&harness).await?;
    let replicas = cast.replicas.iter().map(NodeProcess::node).collect();
    let load = Load::new(cast.writer.node(), replicas, scale.items, options.seed);
    let load = Arc::new(load);
    load.fill(scale.aging).await?;
    let began = Instant::now();
    let tasks = load.start();
    let mut series = Series::default();
    let mut ticks = interval(scale.every);
    ticks.tick().await;
    while began.elapsed() < scale.lasts {
        ticks.tick().await;
        cast.ensure_running()?;
        let sample = sample::take(&cast, &harness, &load, began.elapsed()).await?;
        println!("{}", sample.line());
        series.add(sample);
    }
    load.end();
    tasks.join_all().await;
    sleep(scale.last_cleaning).await;
    cast.ensure_running()?;
    let rested = sample::take(&cast, &harness, &load, began.elapsed()).await?;
    let background = background(&cast).await?;
    println!("{}", rested.line());
    let copied = fresh_copy::of(&cast.replicas[0].node(), options).await?;
    let run = report::Run {
        options,
        series: &series,
        rested: &rested,
        copied: &copied,
        background: &background,
        load: &load,
        lasted: scale.lasts,
    };
    Ok(run.report())
}

async fn background(cast: &Cast) -> Result<Background, TortureError> {
    let mut found = Background::default();
    let writer = cast.writer.node();
    let status = writer.status().await?;
    found.optimizer = status.other.get("optimizer").cloned().unwrap_or_default();
    found.scrub = status.other.get("scrub").cloned().unwrap_or_default();
    found.optimizes = writer.metric_sum("slipstream_optimizes_total").await?;
    found.freed_bytes = writer.metric_sum("slipstream_optimize_freed_bytes_total").await?;
    found.trimmed_commits = writer.metric_sum("slipstream_log_trimmed_commits_total").await?;
    for process in cast.all() {
        let node = process.node();
        found.scrubs += node.metric_sum("slipstream_scrubs_total").await?;
        found.divergences += node.metric_sum("slipstream_divergences_total").await?;
        found.rebuilds += node.metric_sum("slipstream_rebuilds_total").await?;
        let taken = node.metric_sum("slipstream_snapshots_total").await?;
        if taken > 0.0 {
            let mut status = node.status().await?;
            found.snapshots = status.other.remove("snapshots").unwrap_or_default();
        }
        found.snapshots_taken += taken;
    }
    Ok(found)
}

fn config(directory: &std::path::Path, scale: &Scale) -> Result<crds::SidecarConfig, TortureError> {
    let mut config = quiet_config(&directory.join("store"))?;
    config.schema = serde_yaml::from_str(SCHEMA)?;
    config.snapshots = crds::Snapshots {
        enabled: true,
        schedule: "* * * * *".to_owned(),
        every_commits: scale.snapshot_commits,
        keep_last: 2,
        // Only the two newest stay.
        max_age: crds::Duration::from_secs(1),
    };
    config.optimizer = crds::Optimizer {
        interval: crds::Duration::from_millis(millis(scale.optimizer)).into(),
        time_travel_window: crds::Duration::from_millis(millis(scale.window)),
        ..crds::Optimizer::default()
    };
    config.scrub = crds::Scrub {
        enabled: true,
        interval: crds::Duration::from_secs(60),
    };
    let pool = crds::Limits {
        buffer_pool_bytes: Some(BUFFER_POOL_BYTES),
        ..crds::Limits::default()
    };
    config.limits = crds::RoleLimits {
        writer: pool.clone(),
        replica: pool,
    };
    Ok(config)
}

/// Test settings, so that half an hour sees what a week does: versions are cleaned after seconds, and the log is trimmed after some
/// commits; Lance's scans as in the image.
fn environment(small: bool) -> Vec<(String, String)> {
    let (cleaning_min_age_ms, idempotency_commits) = if small { (5_000, 100) } else { (30_000, 1_000) };
    let settings =
        format!("cleaning_min_age_ms={cleaning_min_age_ms},idempotency_commits={idempotency_commits}");
    [
        ("SLIPSTREAM_TEST_SETTINGS", settings.as_str()),
        ("LANCE_DEFAULT_BATCH_SIZE", "8192"),
        ("LANCE_DEFAULT_IO_BUFFER_SIZE", "16777216"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
