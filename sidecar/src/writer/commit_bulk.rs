//! A bulk request's turn: checked against the graph and the commits ahead of it, committed with the graph or ahead of it.

use std::sync::Arc;

use super::answers::{answer_to, refuse_all};
use super::session::Session;
use super::validate::unavailable;
use super::validate_bulk::{BulkVerdict, validate_bulk};
use super::{CommitError, Job, Work, WriteError};
use crate::lake::{LakeError, is_system_table};

impl Session {
    pub(super) async fn commit_bulk(&mut self, job: Job) -> Result<(), CommitError> {
        let Job {
            work: Work::Bulk(load),
            answer,
        } = job
        else {
            return Ok(());
        };
        let job = |answer| Job {
            work: Work::Transaction(Box::default()),
            answer,
        };
        match load.idempotency.as_ref().map(|entry| self.known_keys.find(entry)) {
            Some(Ok(Some(found))) => {
                answer_to(job(answer), Ok(found));
                return Ok(());
            }
            Some(Err(error)) => {
                answer_to(job(answer), Err(error));
                return Ok(());
            }
            Some(Ok(None)) | None => {}
        }
        let job = job(answer);
        let load = Arc::new(load);
        loop {
            let (ahead, asked) = (self.catch_up.keys(), load.clone());
            match self.ask(move |graph| validate_bulk(graph, &ahead, &asked)).await {
                Ok(BulkVerdict::Plan(plan)) => {
                    let runs_ahead = match self.runs_ahead(load.rows()).await {
                        Ok(runs_ahead) => runs_ahead,
                        Err(error) => {
                            let detail = error.to_string();
                            answer_to(job, Err(WriteError::NotCommitted { detail }));
                            return Ok(());
                        }
                    };
                    let ahead = runs_ahead.then(|| load.keys.clone());
                    return self.commit_and_answer(&plan, ahead, vec![job]).await;
                }
                Ok(BulkVerdict::Refused(refusal)) => {
                    answer_to(job, Err(refusal.into()));
                    return Ok(());
                }
                Ok(BulkVerdict::NeedsGraph) => {
                    if let Err(error) = self.reach_head().await {
                        return refuse_all(vec![job], error);
                    }
                }
                Err(error) => {
                    answer_to(job, Err(unavailable(&error)));
                    return Ok(());
                }
            }
        }
    }

    /// Whether a bulk request of so many rows is committed without waiting for the graph: it is large next to the tables, so
    /// that the graph will be built anew anyway, or commits before it run ahead already.
    async fn runs_ahead(&self, rows: u64) -> Result<bool, LakeError> {
        if self.catch_up.is_behind() {
            return Ok(true);
        }
        let deferral = self.settings.deferral;
        if rows < deferral.min_rows {
            return Ok(false);
        }
        let mut held = 0;
        for table in self.bases.values().filter(|table| !is_system_table(table.name())) {
            held += table.count_rows().await?;
        }
        Ok(rows.saturating_mul(deferral.share) > held)
    }
}
