//! One graph at a time: observe → validate → desired → apply → status. And what runs that for all graphs.
//!
//! ```text
//! watches ─> names of graphs ─> debounced, 32 at a time, one of a name ─> reconcile ─┬─ ok ──> again in 5 s, to measure
//!                                                                                   └─ error ─> again after a delay that doubles
//! ```
//! An apply that fails waits by itself (`retry`), while the graph goes on being measured.
//! Where many graphs change at once, what is told of them waits for what is done: few statuses are written at a time, and a
//! graph whose turn it is not goes to the end of the queue.
//! Level-triggered: a reconcile derives everything from the API server's objects; the memory here only saves writes.
//! Owns: the order and the cadence. Does not own: what any stage decides, what is told (`report`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crds::ReplicatedGraphDBStatus;
use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt, runtime};
use metrics::{counter, gauge, histogram};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::act::Attempts;
use crate::desired::Installation;
use crate::error::{Error, Failures};
use crate::events::Notices;
use crate::finish;
use crate::observe::observe;
use crate::report::{Findings, Memory};
use crate::settings::Settings;
use crate::watched::{GraphRef, Triggers, Watched, graph_resource};
use crate::writes::{Target, Writes};

/// A reconcile that hangs must not keep its graph, and one of the few places, for ever.
const LONGEST_RECONCILE: Duration = Duration::from_secs(60);

/// Status writes at the same time. The API server takes about as long for one as for an object that a change is about, and
/// two keep it as busy as it should be with what nobody waits for.
const STATUSES_AT_A_TIME: usize = 2;

/// How soon a graph that was sent to the end of the queue is looked at again, and for how long at most that goes on.
const POSTPONED_FOR: Duration = Duration::from_millis(300);
pub(crate) const POSTPONED_AT_MOST: Duration = Duration::from_secs(5);

/// Everything a reconcile needs.
pub struct Context {
    pub(crate) settings: Settings,
    pub(crate) watched: Arc<Watched>,
    pub(crate) writes: Writes,
    pub(crate) notices: Notices,
    pub(crate) installation: Arc<Installation>,
    pub(crate) http: reqwest::Client,
    pub(crate) memory: Mutex<HashMap<GraphRef, Memory>>,
    pub(crate) failures: Failures<GraphRef>,
    /// One permit for each status that may be written at the same time.
    pub(crate) telling: Semaphore,
    pub(crate) attempts: Mutex<HashMap<GraphRef, Attempts>>,
    pub(crate) client: Client,
}

/// The controller, ready to run: its watches have not started yet.
pub struct Controller {
    context: Arc<Context>,
    triggers: Triggers,
}

impl Controller {
    /// Prepares watches through `client`. `instance` names this process in Events, `namespace` is its own.
    pub fn new(
        client: Client,
        http: reqwest::Client,
        settings: Settings,
        instance: String,
        namespace: Option<String>,
    ) -> Self {
        let (watched, triggers) = Watched::new(&client, settings.namespace.as_deref());
        let writes = Writes::new(client.clone());
        let installation = Arc::new(Installation {
            sidecar_image: settings.sidecar_image.clone(),
            namespace,
        });
        let context = Arc::new(Context {
            watched,
            notices: Notices::new(client.clone(), writes.clone(), instance),
            writes,
            installation,
            client,
            http,
            settings,
            failures: Failures::default(),
            telling: Semaphore::new(STATUSES_AT_A_TIME),
            attempts: Mutex::default(),
            memory: Mutex::default(),
        });
        Self { context, triggers }
    }

    /// Reconciles until `shutdown` resolves; then ends what is running, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) {
        let Self { context, triggers } = self;
        let config = runtime::Config::default()
            .debounce(context.settings.debounce)
            .concurrency(context.settings.concurrency);
        let queue = triggers.map(Ok::<_, Infallible>).take_until(shutdown);
        let graphs = context.watched.graphs.clone();
        let reconciler = |graph, context| Box::pin(traced(graph, context));
        runtime::applier(
            reconciler,
            error_policy,
            Arc::clone(&context),
            graphs,
            queue,
            config,
        )
        .for_each(|outcome| {
            // A change of an object whose graph is gone.
            if let Err(controller::Error::ObjectNotFound(graph)) = outcome {
                let gone = ObjectRef::new_with(&graph.name, graph_resource());
                context.forget(&gone.within(graph.namespace.as_deref().unwrap_or_default()));
            }
            std::future::ready(())
        })
        .await;
    }
}

/// One reconcile in a task and a span of its own, counted.
async fn traced(graph: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, Error> {
    let (namespace, name) = (graph.namespace().unwrap_or_default(), graph.name_any());
    let span = tracing::info_span!(parent: None, "reconcile", namespace, graph = name);
    let started = Instant::now();
    let task = reconcile(Arc::clone(&graph), Arc::clone(&context)).instrument(span);
    let task = AbortOnDropHandle::new(tokio::spawn(task));
    let outcome = match tokio::time::timeout(LONGEST_RECONCILE, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(Error::Task(error.to_string())),
        Err(_) => Err(Error::Task(format!("it took more than {LONGEST_RECONCILE:?}"))),
    };
    histogram!("slipstream_operator_reconcile_duration_seconds").record(started.elapsed());
    let word = if outcome.is_ok() { "ok" } else { "error" };
    counter!("slipstream_operator_reconciles_total", "outcome" => word).increment(1);
    gauge!("slipstream_operator_graphs").set(context.watched.graphs.len() as f64);
    if outcome.is_ok() {
        context.failures.reset(&reference(&graph));
    }
    outcome
}

fn error_policy(graph: Arc<DynamicObject>, error: &Error, context: Arc<Context>) -> Action {
    let delay = context.failures.failed(reference(&graph), error);
    counter!("slipstream_operator_reconcile_errors_total", "kind" => error.kind()).increment(1);
    let (namespace, name) = (graph.namespace().unwrap_or_default(), graph.name_any());
    tracing::warn!(namespace, graph = name, %error, retry_in = ?delay, "reconcile failed");
    Action::requeue(delay)
}

pub(crate) fn reference(graph: &DynamicObject) -> GraphRef {
    ObjectRef::from_obj_with(graph, graph_resource())
}

/// The table of contents.
async fn reconcile(graph: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, Error> {
    context.watched.wait_until_filled().await;
    let subject = Subject::of(graph)?;
    let seen = observe(&context, &subject);
    let resource = context.resource(&subject);
    // Remembered for the end: by then it may be gone.
    context.writer_account(&subject, &seen);
    if subject.graph.metadata.deletion_timestamp.is_some() {
        return finish::finish(&context, &subject, &seen, resource.as_ref().as_ref()).await;
    }
    let acted = context.act(&subject, &seen, &resource).await?;
    if acted.failure.is_none() && context.is_rushed(&subject) {
        return Ok(Action::requeue(POSTPONED_FOR));
    }
    let resource = resource.as_ref().as_ref().ok();
    let measured = context.measure(&subject, &seen, resource).await;
    let findings = Findings {
        seen: &seen,
        resource,
        standing: &acted.standing,
        rollout: &seen.rollout(&acted.applied),
        measured: &measured,
        image: acted.applied.sidecar_image.as_deref(),
    };
    context.tell(&subject, &findings).await?;
    let measure_every = context.settings.measure_every;
    let next = acted
        .again_in
        .map_or(measure_every, |again| again.min(measure_every));
    match acted.failure {
        Some(error) => Err(error.again_after(next)),
        None => Ok(Action::requeue(next)),
    }
}

/// The graph that a reconcile is about.
pub(crate) struct Subject {
    pub graph: Arc<DynamicObject>,
    pub namespace: String,
    pub name: String,
    pub target: Target,
    /// The status in the watch's memory; none also where it has an unknown form.
    pub status: Option<ReplicatedGraphDBStatus>,
}

impl Subject {
    fn of(graph: Arc<DynamicObject>) -> Result<Self, Error> {
        let namespace = graph.namespace().ok_or(Error::Incomplete("namespace"))?;
        let name = graph.metadata.name.clone().ok_or(Error::Incomplete("name"))?;
        Ok(Self {
            target: Target::dynamic(graph_resource(), &namespace, &name),
            status: graph
                .data
                .get("status")
                .and_then(|status| ReplicatedGraphDBStatus::deserialize(status).ok()),
            graph,
            namespace,
            name,
        })
    }
}

/// How soon a deletion is looked at again; changes of its objects are seen at once.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(2);
