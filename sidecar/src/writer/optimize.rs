//! An optimize commit: names what the optimizer prepared, between two commits of clients.
//!
//! The same steps as any commit: Lance, Kuzu (an empty delta, the watermark moves), the record, Kuzu, the event. It holds up
//! clients for about as long as a commit of theirs would: the work was done before.
//!
//! Crash behaviour: as of any commit (`commit`). Before the record, versions in no commit are restored over at the next
//! takeover, and the files they name are removed once those versions are cleaned.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::CommitError;
use super::commit::{PreparedGraph, roll_back};
use super::load_keys::LoadKeys;
use super::optimizing::{Event, Optimizing};
use super::session::Session;
use super::takeover;
use crate::commit_log::{CommitKind, CommitRecord};
use crate::graph::Watermark;
use crate::ids::TxId;
use crate::lake::{CommitTag, LakeError, TableAt};
use crate::optimizer::{Cleaning, OptimizeError, Pin, Prepared, PreparedTable, Rewriting};

impl Session {
    /// Does what an event of the optimizer asks for.
    ///
    /// # Errors
    /// What ends a writer. A run that failed is reported and comes again.
    pub(super) async fn optimize(
        &mut self,
        optimizing: &mut Optimizing,
        event: Event,
    ) -> Result<(), CommitError> {
        match event {
            Event::Due => optimizing.start_rewriting(self.rewriting(optimizing)),
            Event::Rewritten(Ok(None)) => optimizing.finish(None),
            Event::Rewritten(Ok(Some(prepared))) => {
                if self.take_prepared(optimizing, prepared).await? {
                    let work = self.rewriting(optimizing);
                    optimizing.start_indexing(work);
                }
            }
            Event::Indexed(Ok(prepared)) => {
                if self.take_prepared(optimizing, prepared).await? {
                    let work = self.cleaning(optimizing);
                    optimizing.start_cleaning(work);
                }
            }
            Event::Cleaned(outcome) => {
                optimizing.cleaned(&outcome);
                return self.run_ended(optimizing, outcome.error);
            }
            Event::Rewritten(Err(error)) | Event::Indexed(Err(error)) => {
                return self.run_ended(optimizing, Some(error));
            }
        }
        Ok(())
    }

    fn run_ended(
        &self,
        optimizing: &mut Optimizing,
        error: Option<OptimizeError>,
    ) -> Result<(), CommitError> {
        optimizing.finish(error.as_ref());
        match error {
            Some(OptimizeError::Crashed(point)) => Err(CommitError::Crashed(point)),
            Some(OptimizeError::Fenced) => {
                Err(CommitError::Fenced("writer.json names another writer".to_owned()))
            }
            Some(error) => {
                tracing::warn!(%error, "the optimizer's run failed; it comes again");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn rewriting(&self, optimizing: &Optimizing) -> Rewriting {
        Rewriting {
            tables: self.bases.values().cloned().collect(),
            config: optimizing.config(),
            wishes: optimizing.wishes.clone(),
            vector_min_rows: optimizing.settings.vector_min_rows,
            commits_since_cleaning: self.head.seq.0.saturating_sub(optimizing.cleaned_at.0),
            tombstones_before: optimizing.tombstones_before,
        }
    }

    fn cleaning(&self, optimizing: &Optimizing) -> Cleaning {
        Cleaning {
            store: self.store.clone(),
            log: self.advancer.log.clone(),
            claim: self.claim.clone(),
            clock: self.clock.clone(),
            tables: self.bases.values().cloned().collect(),
            head: self.head.clone(),
            own: Pin {
                by: "the writer's graph".to_owned(),
                seq: self.watermark.position.seq,
                tables: self.watermark.tables.clone(),
            },
            time_travel_window: optimizing.config().time_travel_window.as_std(),
            min_age: optimizing.settings.cleaning_min_age,
            idempotency_commits: self.settings.idempotency_commits,
        }
    }

    /// Commits what was prepared; `false`: that failed and was undone, and the run is over.
    async fn take_prepared(
        &mut self,
        optimizing: &mut Optimizing,
        prepared: Prepared,
    ) -> Result<bool, CommitError> {
        let why = prepared.why.clone();
        let (tables, dropped) = self.that_fits(prepared);
        if dropped > 0 {
            tracing::info!(
                dropped,
                "clients changed what was being optimized; it comes again"
            );
            metrics::counter!("slipstream_optimize_dropped_tasks_total").increment(dropped);
        }
        if tables.is_empty() {
            return Ok(true);
        }
        match self.commit_optimized(&tables).await {
            Ok(record) => {
                let what = tables.iter().map(|(name, table)| describe(name, table));
                optimizing.committed(&record, what.collect(), why);
                Ok(true)
            }
            Err(CommitError::NotCommitted(detail)) => {
                self.ensure_graph().await;
                self.run_ended(optimizing, Some(OptimizeError::Task(detail)))?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What still holds after the commits that were made meanwhile, and how many results do not.
    fn that_fits(&self, prepared: Prepared) -> (BTreeMap<String, PreparedTable>, u64) {
        let mut dropped = 0;
        let mut tables = BTreeMap::new();
        for (name, mut table) in prepared.tables {
            let Some(base) = self.bases.get(&name) else {
                continue;
            };
            let before = table.rewrites.len() + table.indexes.len();
            table.rewrites.retain(|rewrite| rewrite.fits(base));
            table.indexes.retain(|index| index.fits(base));
            dropped += (before - table.rewrites.len() - table.indexes.len()) as u64;
            if !table.is_empty() {
                tables.insert(name, table);
            }
        }
        (tables, dropped)
    }

    /// Guarantees: as [`Session::commit`].
    async fn commit_optimized(
        &mut self,
        tables: &BTreeMap<String, PreparedTable>,
    ) -> Result<CommitRecord, CommitError> {
        if !takeover::holds(self.store.as_ref(), &self.claim).await? {
            return Err(CommitError::Fenced("writer.json names another writer".to_owned()));
        }
        fail::fail_point!("optimizer::before_commit_tables", |_| Err(CommitError::Crashed(
            "optimizer::before_commit_tables"
        )));
        let names = || tables.keys().cloned().collect::<Vec<_>>();
        let tx_id = TxId::after(self.head.tx_id, self.clock.unix_millis());
        let tag = CommitTag {
            tx_id,
            epoch: self.claim.epoch,
        };
        let session = &*self;
        let writes = tables.iter().map(|(name, table)| async move {
            let written = write(session.base(name)?, table, tag).await?;
            fail::fail_point!("optimizer::between_tables");
            Ok((name.clone(), written))
        });
        // All are awaited, also after a failure: none may go on writing while the others are undone.
        let written: Result<Vec<(String, TableAt)>, LakeError> = join_all(writes).await.into_iter().collect();
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.undo(names()).await?;
                return Err(error.into());
            }
        };
        let (mut versions, mut manifests) = (self.head.tables.clone(), self.head.manifests.clone());
        for (_, table) in &written {
            table.record_in(&mut versions, &mut manifests)?;
        }
        let record = CommitRecord {
            seq: self.head.seq.next(),
            tx_id,
            prev_tx_id: self.head.tx_id,
            epoch: self.claim.epoch,
            timestamp: self.clock.now(),
            kind: CommitKind::Optimize,
            tables: versions,
            manifests,
            changed: Vec::new(),
            schema_version: self.head.schema_version,
            schema: None,
            notes: None,
            idempotency: Vec::new(),
            traceparent: None,
        };
        let target = Watermark::of(&record, &self.watermark.graph_schema);
        // A graph that is being brought forward is not touched from here: this commit is one more ahead of it.
        let is_ahead = self.catch_up.is_behind();
        let prepared = if is_ahead {
            PreparedGraph::Later
        } else {
            match self.prepare_graph(&target, 0).await {
                Ok(prepared) => prepared,
                Err(error) => {
                    self.advancer.local.doubt();
                    self.undo(names()).await?;
                    return Err(CommitError::NotCommitted(error.to_string()));
                }
            }
        };
        fail::fail_point!("optimizer::before_record", |_| Err(CommitError::Crashed(
            "optimizer::before_record"
        )));
        if let Err(error) = self.put_record(&record).await {
            roll_back(prepared).await;
            return Err(error);
        }
        fail::fail_point!("optimizer::after_record", |_| Err(CommitError::Crashed(
            "optimizer::after_record"
        )));
        self.bases.extend(written);
        self.head = record.clone();
        self.known_keys.add(&record);
        if is_ahead {
            self.run_ahead(&record, 0, Arc::new(LoadKeys::none()));
        } else {
            self.finish_graph(prepared, target).await;
        }
        self.publish(&record);
        metrics::counter!("slipstream_commits_total").increment(1);
        Ok(record)
    }
}

/// All of one table's results, on top of `base`.
async fn write(base: &TableAt, table: &PreparedTable, tag: CommitTag) -> Result<TableAt, LakeError> {
    let mut newest = base.clone();
    if !table.rewrites.is_empty() {
        newest = newest.replace_fragments(&table.rewrites, tag).await?;
    }
    if !table.delete.is_empty() {
        newest = newest.write_staged(&table.delete, None, tag).await?;
    }
    for index in &table.indexes {
        newest = newest.take_index(index, tag).await?;
    }
    for name in &table.drops {
        newest = newest.drop_index(name, tag).await?;
    }
    Ok(newest)
}

/// What was done to a table, in words.
fn describe(name: &str, table: &PreparedTable) -> String {
    let mut parts = Vec::new();
    let merged: usize = table.rewrites.iter().map(crate::lake::Rewrite::fragments).sum();
    if merged > 0 {
        parts.push(format!("{merged} fragments compacted"));
    }
    if !table.delete.is_empty() {
        parts.push(format!("{} rows removed", table.delete.len()));
    }
    let indexes = table
        .indexes
        .iter()
        .map(|index| format!("index {} built", index.name()));
    parts.extend(indexes);
    parts.extend(table.drops.iter().map(|index| format!("index {index} dropped")));
    format!("{name}: {}", parts.join(", "))
}
