//! Takes the steps that `finalize` decides, one per reconcile.
//!
//! Owns: the requests of a deletion. Does not own: their order and bounds (`finalize`), the Job's account (`account`).

mod account;

use std::time::Duration;

use crds::DeletionPolicy;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::apply::apply_one;
use crate::controller::{Context, LOOK_AGAIN, Subject};
use crate::desired::{cleanup_job, cleanup_job_name};
use crate::error::{Error, Remedy};
use crate::events::Notice;
use crate::finalize::{Ending, FINALIZER, JobState, Situation, Step, job_state, next_step};
use crate::observe::Seen;
use crate::report::{Findings, Measured};
use crate::status::{Rollout, Standing};
use crate::validate::{Invalid, Validated};
use crate::watched::graph_resource;
use crate::writes::Target;

/// Brings a deleted graph one step closer to its end.
///
/// # Errors
/// As the API server answers; the next reconcile starts over, within the same bounds, and soon: a delay that grows would
/// outgrow them.
pub(crate) async fn finish(
    context: &Context,
    subject: &Subject,
    seen: &Seen,
    resource: Result<&Validated, &Invalid>,
) -> Result<Action, Error> {
    let done = step(context, subject, seen, resource).await;
    done.map_err(|error| error.again_after(LOOK_AGAIN))
}

async fn step(
    context: &Context,
    subject: &Subject,
    seen: &Seen,
    resource: Result<&Validated, &Invalid>,
) -> Result<Action, Error> {
    let deletes_data =
        resource.is_ok_and(|resource| resource.spec().deletion_policy == DeletionPolicy::Delete);
    let situation = situation(subject, seen, deletes_data);
    let step = next_step(&situation);
    tracing::debug!(?situation, ?step, "deletion");
    let comes_to_the_job = !matches!(step, Step::Done | Step::Release(_) | Step::RunJob);
    if comes_to_the_job
        && let Err(error) = account::keep(context, subject, seen, resource).await
        && !error.is_namespace_gone()
    {
        // Not worth holding up the pods' end for: the Job's own step tries again, and tells.
        tracing::warn!(%error, "the account of the cleanup Job could not be kept");
    }
    let (waits_for, done) = match &step {
        Step::Done => return Ok(Action::await_change()),
        Step::Release(ending) => return release(context, subject, seen, resource, ending).await,
        Step::DeleteWorkloads => (
            "the pods are being stopped",
            delete_workloads(context, subject, seen).await,
        ),
        Step::AwaitPods => ("pods are ending", Ok(())),
        Step::DeleteOldJob => (
            "an old cleanup Job is being removed",
            delete_job(context, subject, seen).await,
        ),
        Step::AwaitJob => ("the cleanup Job is running", Ok(())),
        Step::RunJob => match run_job(context, subject, seen, resource).await {
            Ok(()) => ("the cleanup Job is starting", Ok(())),
            Err(CannotRun::Ever(why)) => {
                let ending = Ending::LeftBehind(why);
                return release(context, subject, seen, resource, &ending).await;
            }
            Err(CannotRun::Now(error)) => ("the cleanup Job is starting", Err(error)),
        },
    };
    match done {
        Ok(()) => {}
        Err(error) if error.is_namespace_gone() => {
            return release(context, subject, seen, resource, &Ending::Nothing).await;
        }
        Err(error) => return Err(error),
    }
    tell(context, subject, seen, waits_for).await?;
    Ok(Action::requeue(LOOK_AGAIN))
}

fn situation(subject: &Subject, seen: &Seen, deletes_data: bool) -> Situation {
    let deleted_at = subject
        .graph
        .metadata
        .deletion_timestamp
        .as_ref()
        .map(|time| time.0);
    let elapsed = deleted_at
        .and_then(|deleted_at| Duration::try_from(Timestamp::now().duration_since(deleted_at)).ok());
    // What is on its way out already need not be deleted again.
    let stands = |metadata: &kube::api::ObjectMeta| metadata.deletion_timestamp.is_none();
    let writer = seen
        .cluster
        .writer
        .as_ref()
        .is_some_and(|object| stands(&object.metadata));
    let replica = seen
        .cluster
        .replica
        .as_ref()
        .is_some_and(|object| stands(&object.metadata));
    Situation {
        elapsed: elapsed.unwrap_or_default(),
        finalizers: subject.graph.finalizers().to_vec(),
        workloads: writer || replica,
        pods: seen.all_pods,
        job: job_state(seen.job.as_deref(), deleted_at),
        deletes_data,
    }
}

async fn delete_workloads(context: &Context, subject: &Subject, seen: &Seen) -> Result<(), Error> {
    if let Some(writer) = &seen.cluster.writer {
        let target = Target::of::<StatefulSet>(&subject.namespace, &writer.name_any());
        context.writes.delete(&target, writer.uid()).await?;
    }
    if let Some(replica) = &seen.cluster.replica {
        let target = Target::of::<Deployment>(&subject.namespace, &replica.name_any());
        context.writes.delete(&target, replica.uid()).await?;
    }
    Ok(())
}

async fn delete_job(context: &Context, subject: &Subject, seen: &Seen) -> Result<(), Error> {
    let Some(job) = &seen.job else { return Ok(()) };
    let target = Target::of::<Job>(&subject.namespace, &cleanup_job_name(&subject.name));
    context.writes.delete(&target, job.uid()).await
}

enum CannotRun {
    /// Trying again does not help; why.
    Ever(String),
    Now(Error),
}

async fn run_job(
    context: &Context,
    subject: &Subject,
    seen: &Seen,
    resource: Result<&Validated, &Invalid>,
) -> Result<(), CannotRun> {
    let unusable = |why: &dyn std::fmt::Display| {
        CannotRun::Ever(format!(
            "the resource cannot be used, so nothing was cleaned: {why}"
        ))
    };
    let usable = resource.map_err(|why| unusable(why))?;
    let job = cleanup_job(usable, &seen.cluster).map_err(|why| unusable(&why))?;
    let made = async {
        // The pod of a Job without its account is refused.
        account::keep(context, subject, seen, resource).await?;
        apply_one(&context.watched.jobs, &job, &context.writes).await
    };
    match made.await {
        Ok(()) => Ok(()),
        Err(error) if error.remedy() == Remedy::Refused || matches!(error, Error::NotOurs(_)) => {
            Err(CannotRun::Ever(error.to_string()))
        }
        Err(error) => Err(CannotRun::Now(error)),
    }
}

/// Says how it ended, and lets the API server remove the resource.
async fn release(
    context: &Context,
    subject: &Subject,
    seen: &Seen,
    resource: Result<&Validated, &Invalid>,
    ending: &Ending,
) -> Result<Action, Error> {
    let notice = match ending {
        Ending::CleanedUp => Some(Notice::CleanedUp),
        Ending::Nothing => None,
        Ending::LeftBehind(why) => Some(Notice::LeftBehind(why.clone())),
    };
    if let Some(notice) = notice {
        context
            .notices
            .publish(&subject.graph.object_ref(&graph_resource()), &notice)
            .await;
    }
    let unfinished = seen
        .job
        .as_deref()
        .is_some_and(|job| job_state(Some(job), None) == JobState::Running);
    if unfinished && let Err(error) = delete_job(context, subject, seen).await {
        tracing::warn!(%error, "the cleanup Job could not be removed");
    }
    // An orphaned graph's account has lost its owner to those who orphaned it.
    if *ending != Ending::Nothing {
        account::give_back(context, seen, resource).await;
    }
    let mut finalizers = subject.graph.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    let version = subject.graph.resource_version().unwrap_or_default();
    context
        .writes
        .set_finalizers(&subject.target, &version, &finalizers)
        .await?;
    context.forget(&kube::runtime::reflector::ObjectRef::from_obj_with(
        &subject.graph,
        graph_resource(),
    ));
    Ok(Action::await_change())
}

/// The status of a graph that ends; not worth failing for.
async fn tell(context: &Context, subject: &Subject, seen: &Seen, waits_for: &str) -> Result<(), Error> {
    let standing = Standing::Deleting(format!("the graph is being deleted; {waits_for}"));
    let findings = Findings {
        seen,
        resource: None,
        standing: &standing,
        rollout: &Rollout::default(),
        measured: &Measured::default(),
        image: None,
    };
    match context.tell(subject, &findings).await {
        Err(error) if error.remedy() != Remedy::Wait => Err(error),
        _ => Ok(()),
    }
}
