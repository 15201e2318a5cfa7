//! What must hold on a real cluster, one scenario per file, each in a namespace of its own.
//!
//! ```text
//! bin/e2e ─> Stage (cluster, backends, images, chart) ─> play ─> Scene (a namespace) ─> one scenario
//!        └─> Programme (who plays when)                     └──> on failure: logs of operator and pods
//! ```
//!
//! Owns: what is done to the cluster and what must hold then. Does not own: how the cluster runs (`cluster`), how the
//! API server is asked (`objects`).

mod background;
mod bad_resources;
mod beside;
mod burst;
mod chart;
mod chart_upgrade;
mod deletion;
mod error;
mod figures;
mod frozen;
mod hot_cadence;
mod hpa;
mod install;
mod logs;
mod metrics_stub;
mod namespace_deleted;
mod namespaced;
mod operator_killed;
mod operator_killed_deleting;
mod operator_process;
mod outage;
mod programme;
mod pvc_grows;
mod replica_deleted;
mod rolling;
mod scale;
mod scene;
mod stage;
mod suspend;
mod traces;
mod two_graphs;
mod two_operators;
mod user_container;
mod writer_killed;

use std::time::{Duration, Instant};

pub use error::ScenarioError;
pub use programme::Programme;
pub use scene::{GRAPH, Scene};
pub use stage::Stage;

/// No scenario takes longer; the sum of what each waits for is below.
const LONGEST: Duration = Duration::from_secs(420);

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Install,
    Scale,
    Hpa,
    WriterKilled,
    ReplicaDeleted,
    Frozen,
    OperatorKilled,
    OperatorKilledDeleting,
    TwoOperators,
    BadResources,
    ChartUpgrade,
    TwoGraphs,
    UserContainer,
    HotCadence,
    Background,
    Rolling,
    PvcGrows,
    Suspend,
    Traces,
    Deletion,
    Namespaced,
    NamespaceDeleted,
    Outage,
    Figures,
}

/// What became of a scenario.
#[derive(Debug)]
pub struct Played {
    pub scenario: Scenario,
    pub took: Duration,
    pub figures: Vec<(String, String)>,
    /// Why it failed, with the ends of logs.
    pub failure: Option<String>,
}

impl Scenario {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Scale => "scale",
            Self::Hpa => "hpa",
            Self::WriterKilled => "writer_killed",
            Self::ReplicaDeleted => "replica_deleted",
            Self::Frozen => "frozen",
            Self::OperatorKilled => "operator_killed",
            Self::OperatorKilledDeleting => "operator_killed_deleting",
            Self::TwoOperators => "two_operators",
            Self::BadResources => "bad_resources",
            Self::ChartUpgrade => "chart_upgrade",
            Self::TwoGraphs => "two_graphs",
            Self::UserContainer => "user_container",
            Self::HotCadence => "hot_cadence",
            Self::Background => "background",
            Self::Rolling => "rolling",
            Self::PvcGrows => "pvc_grows",
            Self::Suspend => "suspend",
            Self::Traces => "traces",
            Self::Deletion => "deletion",
            Self::Namespaced => "namespaced",
            Self::NamespaceDeleted => "namespace_deleted",
            Self::Outage => "outage",
            Self::Figures => "figures",
        }
    }

    /// What it proves, in one line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Install => "helm install, the Debian example is loaded and queried through the Services",
            Self::Scale => {
                "kubectl scale 2→4→1→0→2: reads never fail while a replica is ready, leases are released"
            }
            Self::Hpa => "an autoscaler drives the scale subresource and sees replica pods only",
            Self::WriterKilled => {
                "the writer is deleted with force, and killed: no acknowledged commit is lost, epoch +1"
            }
            Self::ReplicaDeleted => "a deleted replica comes back ready only when it has caught up",
            Self::Frozen => "Degraded names a frozen replica within 15 s and clears when it goes on",
            Self::OperatorKilled => {
                "the operator dies before each of its writes and still arrives at the same objects"
            }
            Self::OperatorKilledDeleting => {
                "the operator dies before each write of a removal, which the next one finishes"
            }
            Self::TwoOperators => "the leading operator is killed, the other one leads within 20 s",
            Self::BadResources => "bad resources are refused by the API server, which names the field",
            Self::ChartUpgrade => "a new operator image changes no pod template and restarts nothing",
            Self::TwoGraphs => "two graphs of one name in two namespaces do not touch each other",
            Self::UserContainer => "a user's container starts only when the sidecar beside it has caught up",
            Self::HotCadence => "a new cadence reaches running pods without a restart",
            Self::Background => {
                "snapshots, optimizer and scrubs follow the resource; a new replica starts from a snapshot"
            }
            Self::Rolling => {
                "a new pod template rolls replicas first, never below N-1 ready, the writer last"
            }
            Self::PvcGrows => "the writer's volume claim grows",
            Self::Suspend => "a suspended graph is left as it is, and goes on afterwards",
            Self::Traces => "one trace from a client's write through the event to each replica's apply",
            Self::Namespaced => "an operator with rights in one namespace serves graphs there and no others",
            Self::Deletion => "a deleted graph leaves its data, or nothing, as the resource asks",
            Self::NamespaceDeleted => "a namespace is deleted while a graph in it runs: nothing hangs",
            Self::Outage => {
                "S3 and then NATS are gone for a minute: reads go on, the status says so, all recovers"
            }
            Self::Figures => "200 resources: time from a change to applied objects, the operator's memory",
        }
    }

    /// Plays it, whole, and removes its namespaces; those of one that failed stay if `keep`.
    pub async fn play(self, stage: &Stage, keep: bool) -> Played {
        let started = Instant::now();
        println!("▶ {}: {}", self.name(), self.about());
        let mut played = Played {
            scenario: self,
            took: Duration::ZERO,
            figures: Vec::new(),
            failure: None,
        };
        match Scene::open(stage, self.name()).await {
            Err(error) => played.failure = Some(error.to_string()),
            Ok(mut scene) => {
                let outcome = tokio::time::timeout(LONGEST, self.run(&mut scene)).await;
                let outcome = outcome.map_err(|_| format!("not done after {} s", LONGEST.as_secs()));
                if let Err(error) = outcome.and_then(|outcome| outcome.map_err(|error| full(&error))) {
                    let logs = logs::ends(stage, &scene).await;
                    played.failure = Some(format!("{error}\n{logs}"));
                }
                played.figures = scene.figures().to_vec();
                if played.failure.is_none() || !keep {
                    logs::remove_spaces(&scene).await;
                }
            }
        }
        played.took = started.elapsed();
        let mark = if played.failure.is_none() { "✓" } else { "✗" };
        let mut end = format!("{mark} {} [{}]", self.name(), crate::report::seconds(played.took));
        if let Some(failure) = &played.failure {
            end = format!("{end}\n{failure}");
        }
        // At once, so that no line of a scenario beside this one gets in between.
        println!("{end}");
        played
    }

    async fn run(self, scene: &mut Scene<'_>) -> Result<(), ScenarioError> {
        match self {
            Self::Install => install::run(scene).await,
            Self::Scale => scale::run(scene).await,
            Self::Hpa => hpa::run(scene).await,
            Self::WriterKilled => writer_killed::run(scene).await,
            Self::ReplicaDeleted => replica_deleted::run(scene).await,
            Self::Frozen => frozen::run(scene).await,
            Self::OperatorKilled => operator_killed::run(scene).await,
            Self::OperatorKilledDeleting => operator_killed_deleting::run(scene).await,
            Self::TwoOperators => two_operators::run(scene).await,
            Self::BadResources => bad_resources::run(scene).await,
            Self::ChartUpgrade => chart_upgrade::run(scene).await,
            Self::TwoGraphs => two_graphs::run(scene).await,
            Self::UserContainer => user_container::run(scene).await,
            Self::HotCadence => hot_cadence::run(scene).await,
            Self::Background => background::run(scene).await,
            Self::Rolling => rolling::run(scene).await,
            Self::PvcGrows => pvc_grows::run(scene).await,
            Self::Suspend => suspend::run(scene).await,
            Self::Traces => traces::run(scene).await,
            Self::Deletion => deletion::run(scene).await,
            Self::Namespaced => namespaced::run(scene).await,
            Self::NamespaceDeleted => namespace_deleted::run(scene).await,
            Self::Outage => outage::run(scene).await,
            Self::Figures => figures::run(scene).await,
        }
    }
}

/// An error with its causes.
fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
