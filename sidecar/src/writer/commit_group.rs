//! A group of transactions' turn: retries are answered, the rest is checked against the graph of the head, and what is good
//! becomes one commit.
//!
//! Owns: which jobs of the group are part of the commit. Does not own: which jobs are a group (`group`), the check
//! (`validate`), the commit and its answers (`answers`, `commit`).

use std::sync::Arc;

use super::answers::{answer_to, refuse_all};
use super::session::Session;
use super::validate::{unavailable, validate};
use super::{CommitError, Job, Transaction, Work, WriteError};

impl Session {
    pub(super) async fn commit_group(&mut self, jobs: Vec<Job>) -> Result<(), CommitError> {
        let mut open = Vec::new();
        for job in jobs {
            let Work::Transaction(transaction) = &job.work else {
                continue;
            };
            match transaction
                .idempotency
                .as_ref()
                .map(|entry| self.known_keys.find(entry))
            {
                Some(Ok(Some(answer))) => answer_to(job, Ok(answer)),
                Some(Err(error)) => answer_to(job, Err(error)),
                Some(Ok(None)) | None => open.push(job),
            }
        }
        let transactions: Vec<Arc<Transaction>> = open
            .iter_mut()
            .filter_map(|job| match &mut job.work {
                Work::Transaction(transaction) => Some(Arc::new(std::mem::take(transaction.as_mut()))),
                Work::Bulk(_) => None,
            })
            .collect();
        if transactions.is_empty() {
            return Ok(());
        }
        // Which rows these touch only the graph of the head can tell.
        if let Err(error) = self.reach_head().await {
            return refuse_all(open, error);
        }
        let checked = self
            .ask(move |graph| {
                let transactions: Vec<&Transaction> = transactions.iter().map(AsRef::as_ref).collect();
                validate(graph, &transactions)
            })
            .await;
        let (plan, verdicts) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                let detail = unavailable(&error).to_string();
                open.into_iter().for_each(|job| {
                    answer_to(
                        job,
                        Err(WriteError::NotCommitted {
                            detail: detail.clone(),
                        }),
                    )
                });
                return Ok(());
            }
        };
        let mut accepted = Vec::new();
        for (job, verdict) in open.into_iter().zip(verdicts) {
            match verdict {
                Ok(()) => accepted.push(job),
                Err(refusal) => answer_to(job, Err(refusal.into())),
            }
        }
        if accepted.is_empty() {
            return Ok(());
        }
        self.commit_and_answer(&plan, None, accepted).await
    }
}
