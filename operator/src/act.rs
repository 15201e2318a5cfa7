//! What is done for one graph in one reconcile, before it is measured: desired → apply, unless the graph is to be left alone.
//!
//! Guarantees: a failed apply does not keep the graph from being measured and told of, nor a refused object the others from
//! being written; see `retry` for when they are tried again.
//! Owns: what precedes an apply (the finalizer, an old Job), and sparing it where nothing changed. Does not own: what is
//! desired, how it is applied.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;

use crate::apply::{Applied, apply};
use crate::basis::Basis;
use crate::controller::{Context, Subject, reference};
use crate::desired::{cleanup_job_name, desired, storage_class_to_read};
use crate::error::Error;
use crate::finalize::FINALIZER;
use crate::observe::Seen;
use crate::retry::Retry;
use crate::status::Standing;
use crate::validate::{Invalid, Validated, read, validate};
use crate::writes::Target;

/// What is remembered of the attempts at one graph; losing it costs time only.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    retry: Retry,
    settled: Option<Settled>,
    resource: Option<Checked>,
    /// The writer's account as it was last seen: what a cloud wrote on it is nowhere else once it is gone.
    writer_account: Option<Arc<ServiceAccount>>,
}

/// The resource of this uid and generation, checked.
#[derive(Debug, Clone)]
struct Checked {
    uid: Option<String>,
    generation: i64,
    resource: Arc<Result<Validated, Invalid>>,
}

/// All objects were as desired, and are for as long as the basis is what it was.
#[derive(Debug, Clone)]
struct Settled {
    basis: Basis,
    writer_waits: bool,
    sidecar_image: Option<String>,
}

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
    /// Reads and checks the resource, once for each generation of it.
    pub(crate) fn resource(&self, subject: &Subject) -> Arc<Result<Validated, Invalid>> {
        let (uid, generation) = (subject.graph.uid(), subject.graph.metadata.generation);
        let known = self.attempts(subject, |attempts| attempts.resource.clone());
        if let Some(known) = known
            && known.uid == uid
            && Some(known.generation) == generation
        {
            return known.resource;
        }
        let resource = Arc::new(read(&subject.graph).and_then(|resource| validate(&resource)));
        let remembered = generation.map(|generation| Checked {
            uid,
            generation,
            resource: Arc::clone(&resource),
        });
        self.attempts(subject, |attempts| attempts.resource = remembered);
        resource
    }

    /// The writer's account as it is, or else as it was last seen; what is seen is remembered.
    pub(crate) fn writer_account(&self, subject: &Subject, seen: &Seen) -> Option<Arc<ServiceAccount>> {
        self.attempts(subject, |attempts| {
            if seen.writer_account.is_some() {
                attempts.writer_account.clone_from(&seen.writer_account);
            }
            attempts.writer_account.clone()
        })
    }

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
        let waits = self.attempts(subject, |attempts| {
            attempts.retry.heed(generation);
            attempts.retry.waits(Instant::now())
        });
        if let Some((why, left)) = waits {
            return Ok(Acted {
                again_in: Some(left),
                ..Acted::of(Standing::ApplyFailed(why))
            });
        }
        match self.apply(subject, seen, resource).await {
            Ok(applied) => Ok(self.ended(subject, applied)),
            Err(error) => {
                let now = Instant::now();
                let delay = self.attempts(subject, |attempts| attempts.retry.failed(&error, now));
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
        let basis = Basis::of(subject, seen, &self.watched);
        let settled = self.attempts(subject, |attempts| attempts.settled.clone());
        if let Some(settled) = settled.filter(|settled| settled.basis == basis) {
            return Ok(Applied {
                writer_waits: settled.writer_waits,
                sidecar_image: settled.sidecar_image,
                ..Applied::default()
            });
        }
        let seen = seen.clone().with_storage_class(&self.client, resource).await?;
        let objects = desired(resource, &seen.cluster);
        let waiting = self.attempts(subject, |attempts| {
            attempts.settled = None;
            attempts.retry.waiting_objects(Instant::now())
        });
        let applied = apply(objects, &self.watched, &self.writes, &waiting).await?;
        // A storage class is not watched, so what followed from one is looked at each time.
        let is_watched = storage_class_to_read(resource, seen.cluster.data_claim.as_deref()).is_none();
        let settled = basis.after(&applied).filter(|_| is_watched).map(|basis| Settled {
            basis,
            writer_waits: applied.writer_waits,
            sidecar_image: applied.sidecar_image.clone(),
        });
        self.attempts(subject, |attempts| attempts.settled = settled);
        Ok(applied)
    }

    /// What to tell of an apply that came to its end, and when to try again what was refused.
    fn ended(&self, subject: &Subject, mut applied: Applied) -> Acted {
        if !applied.written.is_empty() {
            let written: Vec<_> = applied
                .written
                .iter()
                .map(|written| match written.version {
                    Some(_) => written.object.clone(),
                    None => format!("{} (deleted)", written.object),
                })
                .collect();
            tracing::info!(objects = written.join(", "), "applied");
        }
        let waiting: Vec<_> = applied.waiting.iter().map(|(object, _)| object.clone()).collect();
        let again_in = self.attempts(subject, |attempts| {
            attempts.retry.ended(&applied.refused, &waiting, Instant::now())
        });
        let mut why = applied.waiting.clone();
        let now = applied.refused.iter();
        why.extend(now.map(|(object, error)| (object.clone(), error.to_string())));
        // In a fixed order, whichever of them was tried just now: the status must not change with that.
        why.sort();
        let why: Vec<_> = why.into_iter().map(|(_, why)| why).collect();
        let failure = (!applied.refused.is_empty()).then(|| applied.refused.swap_remove(0).1);
        Acted {
            standing: if why.is_empty() {
                Standing::Applied
            } else {
                Standing::ApplyFailed(why.join("; "))
            },
            failure,
            again_in,
            applied,
        }
    }

    fn attempts<T>(&self, subject: &Subject, f: impl FnOnce(&mut Attempts) -> T) -> T {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        f(attempts.entry(reference(&subject.graph)).or_default())
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
