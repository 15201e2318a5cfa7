//! What is done for one graph in one reconcile, before it is measured: desired → apply, unless the graph is to be left alone.
//!
//! Guarantees: a failed apply does not keep the graph from being measured and told of; see `retry` for when it is tried again.
//! Owns: what precedes an apply (the finalizer, an old Job). Does not own: what is desired, how it is applied.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use kube::ResourceExt;

use crate::apply::{Applied, apply};
use crate::controller::{Context, Subject, reference};
use crate::desired::{cleanup_job_name, desired};
use crate::error::Error;
use crate::finalize::FINALIZER;
use crate::observe::Seen;
use crate::retry::Retry;
use crate::status::Standing;
use crate::validate::{Invalid, Validated};
use crate::writes::Target;

/// What came of it.
pub(crate) struct Acted {
    pub standing: Standing,
    pub applied: Applied,
    /// The error of an apply that failed just now and is told.
    pub failure: Option<Error>,
    /// When the next apply is due at the latest; none when nothing waits for one.
    pub again_in: Option<Duration>,
}

impl Acted {
    fn of(standing: Standing) -> Self {
        Self {
            standing,
            applied: Applied::default(),
            failure: None,
            again_in: None,
        }
    }
}

impl Context {
    /// desired → apply, unless the graph is to be left alone or an apply that failed is to wait.
    ///
    /// # Errors
    /// What may pass by itself: the reconcile is tried again soon, and nothing is told yet.
    pub(crate) async fn act(
        &self,
        subject: &Subject,
        seen: &Seen,
        resource: &Result<Validated, Invalid>,
    ) -> Result<Acted, Error> {
        let resource = match resource {
            Ok(resource) if resource.spec().suspend => return Ok(Acted::of(Standing::Suspended)),
            Ok(resource) => resource,
            Err(why) => return Ok(Acted::of(Standing::Invalid(why.to_string()))),
        };
        let generation = subject.graph.metadata.generation;
        if let Some((why, left)) = self.retry(subject, |retry| retry.waits(generation, Instant::now())) {
            return Ok(Acted {
                again_in: Some(left),
                ..Acted::of(Standing::ApplyFailed(why))
            });
        }
        match self.apply(subject, seen, resource).await {
            Ok(applied) => {
                self.retry(subject, Retry::succeeded);
                if !applied.written.is_empty() {
                    tracing::info!(objects = applied.written.join(", "), "applied");
                }
                Ok(Acted {
                    applied,
                    ..Acted::of(Standing::Applied)
                })
            }
            Err(error) => {
                let now = Instant::now();
                let delay = self.retry(subject, |retry| retry.failed(&error, generation, now));
                let Some(delay) = delay else { return Err(error) };
                Ok(Acted {
                    again_in: Some(delay),
                    applied: Applied::default(),
                    standing: Standing::ApplyFailed(error.to_string()),
                    failure: Some(error),
                })
            }
        }
    }

    async fn apply(&self, subject: &Subject, seen: &Seen, resource: &Validated) -> Result<Applied, Error> {
        self.hold(subject).await?;
        self.remove_old_job(subject, seen).await?;
        let seen = seen.clone().with_storage_class(&self.client, resource).await?;
        let objects = desired(resource, &seen.cluster);
        apply(objects, &self.watched, &self.writes).await
    }

    fn retry<T>(&self, subject: &Subject, f: impl FnOnce(&mut Retry) -> T) -> T {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        f(retries.entry(reference(&subject.graph)).or_default())
    }

    /// Sees to it that the graph's end is waited for, before anything outside can come into being.
    async fn hold(&self, subject: &Subject) -> Result<(), Error> {
        let mut finalizers = subject.graph.finalizers().to_vec();
        if finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        finalizers.push(FINALIZER.to_owned());
        let version = subject.graph.resource_version().unwrap_or_default();
        self.writes
            .set_finalizers(&subject.target, &version, &finalizers)
            .await?;
        Ok(())
    }

    /// The cleaning of an earlier graph of this name must not go on beside this one.
    async fn remove_old_job(&self, subject: &Subject, seen: &Seen) -> Result<(), Error> {
        let Some(job) = &seen.job else { return Ok(()) };
        let name = cleanup_job_name(&subject.name);
        let target = Target::of::<k8s_openapi::api::batch::v1::Job>(&subject.namespace, &name);
        self.writes.delete(&target, job.uid()).await
    }
}
