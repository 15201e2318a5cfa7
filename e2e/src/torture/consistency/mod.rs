//! Consistency: clients read and write for minutes while things fail; a checker judges the history.
//!
//! ```text
//! sessions (client) ─────────────┐
//! faults ─> cast, or backends ───┼─> Recorder ─> History ─> checker::check ─> report
//! log follower ──────────────────┘
//! ```
//!
//! Twice: nodes fail, over a store in a directory; servers and disks fail, over a real S3 server and a real NATS server.
//!
//! Everything the sidecar does in the background runs with short cadences meanwhile: snapshots, optimizer, scrub. In the end all
//! faults are healed, every node and a fresh replica are read once more, and these reads belong to the history.
//!
//! Owns: the order of the run. Does not own: what clients do (`client`), what goes wrong (`faults`), what is right (`checker`).

mod backends;
mod cast;
mod client;
mod faults;
mod log_follower;
mod report;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::harness::{Harness, READY_WITHIN, quiet_config};
use super::history::Floor;
use super::{Options, PartReport, TortureError, checker};
use crate::wait::{Look, until};
use backends::Backends;
use cast::{Cast, REPLICAS};
use client::Session;
use faults::Faults;
use log_follower::LogFollower;
use shared::Shared;

/// Clients at the same time.
const SESSIONS: usize = 6;
/// How long a run takes unless told otherwise.
const MINUTES: f64 = 3.0;
const MINUTES_SMALL: f64 = 0.4;
/// For a node that everything was right with before.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Two tables with a link between any two registers.
const SCHEMA: &str = "
nodes:
  - name: Register
    primaryKey: name
    properties:
      - {name: name, type: string}
      - {name: value, type: int64, required: true}
edges:
  - {name: LINK, from: Register, to: Register, properties: [{name: value, type: int64, required: true}]}
";

/// Who fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Writers and replicas, over a store in a directory.
    Nodes,
    /// The S3 server, the NATS server, disks; nodes as well.
    Servers,
}

impl Failing {
    /// The part's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "consistency",
            Self::Servers => "servers",
        }
    }
}

/// Carries the part out.
///
/// # Errors
/// When processes cannot be started, or do not come back.
pub async fn run(options: &Options, failing: Failing) -> Result<PartReport, TortureError> {
    let minutes = options
        .minutes
        .unwrap_or(if options.small { MINUTES_SMALL } else { MINUTES });
    let lasts = Duration::from_secs_f64(minutes * 60.0);
    let directory = options.directory.join(failing.name());
    let (mut config, mut environment) = (config(&directory)?, environment());
    let mut backends = match failing {
        Failing::Nodes => None,
        Failing::Servers => Some(Backends::start(&directory.join("servers")).await?),
    };
    if let Some(backends) = &backends {
        (config.storage, config.events) = (backends.storage(), backends.events());
        environment.extend(backends.servers.environment());
    }
    let harness = Harness::with(&directory, &options.binary, config, environment)?;
    if let Some(backends) = &mut backends {
        backends.limit_disk(&harness, REPLICAS[0])?;
    }
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut cast = Cast::start(&harness, failing == Failing::Servers).await?;
    let shared = Arc::new(Shared::new(cast.nodes(), lasts));
    let follower = LogFollower::start(Arc::clone(&shared));
    let mut sessions = JoinSet::new();
    for number in 0..SESSIONS {
        sessions.spawn(Session::new(number, random.next_u64(), Arc::clone(&shared)).run());
    }
    let mut faults = Faults::new(random.next_u64());
    let broken = faults.run(&mut cast, &mut backends, &harness, &shared).await;
    shared.end();
    while sessions.join_next().await.is_some() {}
    broken?;
    cast.heal(&shared).await?;
    read_everything(&mut cast, &harness, &shared).await?;
    let log = follower.finish().await?;
    let history = shared.recorder.finish(log);
    let saved = directory.join("history.ndjson");
    history
        .save(&saved)
        .map_err(TortureError::system(format!("write {}", saved.display())))?;
    let checked = checker::check(&history);
    let run = report::Run {
        failing,
        checked: &checked,
        faults: &faults,
        shared: &shared,
        ended: cast.ended,
        lasted: lasts,
        seed: options.seed,
    };
    let mut report = run.report();
    if !report.failures.is_empty() {
        report
            .failures
            .push(format!("the history is in {}", saved.display()));
        for disk in backends.iter_mut().flat_map(Backends::leave_disks) {
            report.failures.push(format!(
                "its files are on {disk}: umount it when you have seen them"
            ));
        }
    }
    Ok(report)
}

/// Every node at the end, and one that never was there before, `strong`.
async fn read_everything(
    cast: &mut Cast,
    harness: &Harness,
    shared: &Arc<Shared>,
) -> Result<(), TortureError> {
    let mut fresh = harness.start_replica("replica-fresh")?;
    fresh.wait_ready(READY_WITHIN).await?;
    let mut nodes = cast.nodes().all();
    nodes.push(fresh.node());
    let mut reader = Session::new(SESSIONS, 0, Arc::clone(shared));
    for node in nodes {
        let name = &node.name;
        let what = format!("a strong read of {name} after everything was healed");
        until(&what, ANSWERS_WITHIN, async || {
            match reader.read(&node, Floor::Strong, None).await {
                true => Look::Found(()),
                false => Look::NotYet("no answer".to_owned()),
            }
        })
        .await?;
    }
    Ok(())
}

fn config(directory: &std::path::Path) -> Result<crds::SidecarConfig, TortureError> {
    let mut config = quiet_config(&directory.join("store"))?;
    config.schema = serde_yaml::from_str(SCHEMA)?;
    config.snapshots = crds::Snapshots {
        enabled: true,
        every_commits: 300,
        keep_last: 2,
        ..crds::Snapshots::default()
    };
    config.scrub = crds::Scrub {
        enabled: true,
        interval: crds::Duration::from_secs(10),
    };
    config.optimizer = crds::Optimizer {
        interval: crds::Duration::from_secs(5).into(),
        time_travel_window: crds::Duration::from_secs(20),
        ..crds::Optimizer::default()
    };
    Ok(config)
}

/// Old versions are cleaned after seconds, leases end soon, and the log is trimmed while it is written. Requests are not sent again for as
/// long as 1000 commits take, so idempotency keys still hold.
fn environment() -> Vec<(String, String)> {
    let settings =
        "cleaning_min_age_ms=10000,lease_ttl_ms=10000,checkpoint_commits=100,idempotency_commits=1000";
    vec![("SLIPSTREAM_TEST_SETTINGS".to_owned(), settings.to_owned())]
}
