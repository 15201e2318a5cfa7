//! One look at what is in the store: is a snapshot due, and does anything have to go? Runs beside the replica's passes.
//!
//! Looks twice where there is something to do: once without the duty, and again once it is held, because another replica may
//! have done it in between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use crds::Snapshots;
use tokio::sync::Mutex;

use super::catalog::{Catalog, FoundState};
use super::due::{Newest, Why, due};
use super::duty::{Asked, Duty};
use super::restore::check;
use super::retention::{carry_out, plan};
use super::{SnapshotError, SnapshotLimits, SnapshotMeta};
use crate::clock::Clock;
use crate::ids::{Seq, TxId};
use crate::store::Store;

/// What this process knows of the store's snapshots; spares reading them again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    metas: HashMap<String, SnapshotMeta>,
    /// Read back, or taken, by this process.
    pub(super) verified: HashSet<TxId>,
}

/// What a look works with: values that hold for its time.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) store: Arc<dyn Store>,
    pub(super) holder: String,
    pub(super) limits: SnapshotLimits,
    pub(super) clock: Clock,
    pub(super) settings: Snapshots,
    pub(super) memory: Arc<Mutex<Memory>>,
    /// The commit that this node holds.
    pub(super) watermark: Seq,
    /// From when on a schedule counts where there is no snapshot.
    pub(super) since: DateTime<Utc>,
    /// Somebody asked for a snapshot now.
    pub(super) asked: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) newest: Option<SnapshotMeta>,
    /// Whole ones.
    pub(super) retained: u64,
    pub(super) decision: Decision,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Decision {
    Nothing,
    Take(Duty, Why),
    /// There would be something, but another replica has the duty.
    Busy(String),
    /// Asked for one, there is one already that is as new and good.
    Exists(Box<SnapshotMeta>),
}

impl Look {
    /// Looks, and removes what goes where nothing is due.
    pub(super) async fn run(&self) -> Result<Looked, SnapshotError> {
        let mut memory = self.memory.lock().await;
        let catalog = Catalog::read(&*self.store, &mut memory.metas).await?;
        if self.why(&catalog).is_none() && !self.has_removals(&catalog) {
            return Ok(looked(&catalog, Decision::Nothing));
        }
        let asked = Duty::ask(&self.store, &self.holder, self.limits.duty_ttl, &self.clock).await?;
        let mut duty = match asked {
            Asked::Held(duty) => duty,
            Asked::Busy(holder) => return Ok(looked(&catalog, Decision::Busy(holder))),
        };
        let result = self.decide(&mut memory, &mut duty).await;
        match result {
            Ok((catalog, Some(Verdict::Take(why)))) => Ok(looked(&catalog, Decision::Take(duty, why))),
            Ok((catalog, verdict)) => {
                duty.release().await;
                Ok(looked(
                    &catalog,
                    verdict.map_or(Decision::Nothing, |verdict| match verdict {
                        Verdict::Exists(meta) => Decision::Exists(meta),
                        Verdict::Take(_) => Decision::Nothing,
                    }),
                ))
            }
            Err(error @ SnapshotError::Crashed(_)) => Err(error),
            Err(error) => {
                duty.release().await;
                Err(error)
            }
        }
    }

    /// Removes what goes; to be called while the duty is held.
    pub(super) async fn retain(&self, duty: &mut Duty) -> Result<Looked, SnapshotError> {
        let mut memory = self.memory.lock().await;
        let catalog = self.read_and_retain(&mut memory, duty).await?;
        Ok(looked(&catalog, Decision::Nothing))
    }

    async fn decide(
        &self,
        memory: &mut Memory,
        duty: &mut Duty,
    ) -> Result<(Catalog, Option<Verdict>), SnapshotError> {
        let mut catalog = Catalog::read(&*self.store, &mut memory.metas).await?;
        if self.asked
            && let Some(meta) = self.as_new(&mut catalog, memory, duty).await?
        {
            return Ok((catalog, Some(Verdict::Exists(meta))));
        }
        match self.why(&catalog) {
            Some(why) => Ok((catalog, Some(Verdict::Take(why)))),
            None => Ok((self.read_and_retain(memory, duty).await?, None)),
        }
    }

    async fn read_and_retain(&self, memory: &mut Memory, duty: &mut Duty) -> Result<Catalog, SnapshotError> {
        let mut catalog = Catalog::read(&*self.store, &mut memory.metas).await?;
        let (settings, limits, now) = (&self.settings, &self.limits, self.clock.now());
        let verified = &mut memory.verified;
        carry_out(&self.store, duty, &mut catalog, settings, limits, verified, now).await?;
        Ok(catalog)
    }

    /// A good snapshot that is as new as this node; one that is not good does not count from then on.
    async fn as_new(
        &self,
        catalog: &mut Catalog,
        memory: &mut Memory,
        duty: &mut Duty,
    ) -> Result<Option<Box<SnapshotMeta>>, SnapshotError> {
        let Some(found) = catalog.found.first_mut() else {
            return Ok(None);
        };
        let FoundState::Whole(meta) = &found.state else {
            return Ok(None);
        };
        if meta.seq < self.watermark {
            return Ok(None);
        }
        let checked = tokio::select! {
            checked = check(&self.store, meta, &self.limits) => checked,
            lost = duty.keep() => return Err(lost),
        };
        match checked {
            Ok(()) => {
                memory.verified.insert(meta.tx_id);
                Ok(Some(meta.clone()))
            }
            Err(error) if error.blames_the_snapshot() => {
                tracing::warn!(%error, "taking it anew");
                memory.metas.remove(&found.tx_id);
                memory.verified.remove(&meta.tx_id);
                found.state = FoundState::Damaged(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn why(&self, catalog: &Catalog) -> Option<Why> {
        if self.asked {
            return Some(Why::Asked);
        }
        let newest = catalog.whole().next().map(Newest::from);
        due(
            &self.settings,
            newest,
            self.since,
            self.watermark,
            self.clock.now(),
        )
    }

    fn has_removals(&self, catalog: &Catalog) -> bool {
        let now = self.clock.now();
        !plan(catalog, &self.settings, now, self.limits.leftover_age).is_empty()
    }
}

enum Verdict {
    Take(Why),
    Exists(Box<SnapshotMeta>),
}

fn looked(catalog: &Catalog, decision: Decision) -> Looked {
    Looked {
        newest: catalog.whole().next().cloned(),
        retained: catalog.whole().count() as u64,
        decision,
    }
}
