//! What clients are told: of a commit that was made, of one that was not, and of a writer that ends.
//!
//! Owns: how a job is answered, and which errors go on from there as the writer's end. Does not own: the commit (`commit`), why
//! a request is refused (`refusal`, `validate`).

use std::sync::Arc;

use tracing::Instrument;

use super::load_keys::LoadKeys;
use super::session::Session;
use super::validate::Plan;
use super::{CommitAnswer, CommitError, Job, WriteError};

impl Session {
    /// Writes one plan as one commit, and tells `jobs` what became of it.
    pub(super) async fn commit_and_answer(
        &mut self,
        plan: &Plan,
        ahead: Option<Arc<LoadKeys>>,
        jobs: Vec<Job>,
    ) -> Result<(), CommitError> {
        let span = tracing::info_span!("commit", rows = plan.rows());
        if let Some(parent) = &plan.traceparent {
            telemetry::set_parent(&span, parent);
        }
        match Box::pin(self.commit(plan, ahead)).instrument(span).await {
            Ok(record) => {
                self.since_checkpoint += crate::replica::checkpoint_count(1, plan.rows());
                fail::fail_point!("writer::before_answer", |_| Err(CommitError::Crashed(
                    "writer::before_answer"
                )));
                jobs.into_iter()
                    .for_each(|job| answer_to(job, Ok(CommitAnswer::from(&record))));
                Ok(())
            }
            Err(CommitError::NotCommitted(detail)) => {
                tracing::warn!(detail, "a commit failed and was undone");
                jobs.into_iter().for_each(|job| {
                    answer_to(
                        job,
                        Err(WriteError::NotCommitted {
                            detail: detail.clone(),
                        }),
                    )
                });
                self.ensure_graph().await;
                Ok(())
            }
            Err(error) => {
                let ended = Err(error);
                jobs.into_iter().for_each(|job| refuse(job, &ended));
                ended
            }
        }
    }
}

/// Where the client is gone, nobody wants the answer; its idempotency key finds it.
pub(super) fn answer_to(job: Job, answer: Result<CommitAnswer, WriteError>) {
    let _ = job.answer.send(answer);
}

/// Tells the clients why; what is not the end of the writer ends here.
pub(super) fn refuse_all(jobs: Vec<Job>, error: CommitError) -> Result<(), CommitError> {
    let ended = match error {
        CommitError::NotCommitted(detail) => {
            for job in jobs {
                let detail = detail.clone();
                answer_to(job, Err(WriteError::NotCommitted { detail }));
            }
            return Ok(());
        }
        error => Err(error),
    };
    jobs.into_iter().for_each(|job| refuse(job, &ended));
    ended
}

pub(super) fn refuse(job: Job, ended: &Result<(), CommitError>) {
    let error = match ended {
        Ok(()) => WriteError::NotCommitted {
            detail: "the writer is shutting down".to_owned(),
        },
        Err(CommitError::Fenced(detail)) => WriteError::Fenced {
            detail: detail.clone(),
        },
        Err(_) => WriteError::Unknown,
    };
    answer_to(job, Err(error));
}
