//! The background half that removes: old versions, commit records, leases that nobody renews.
//!
//! ```text
//! list versions of every table -> claim still ours? -> read the pins -> per table: claim? remove -> trim the log -> leases
//! ```
//!
//! The list comes before the pins, and only listed versions are removed: whatever is written after that, by this writer or by
//! one that took over while this one was stalled, is not in it. So a cleaner that does not know that it was fenced removes
//! nothing that a newer writer made.
//!
//! Crash behaviour: every version and record that is left is complete; the next run goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{OptimizeError, Pin, cut_off, pins};
use crate::clock::Clock;
use crate::commit_log::{CommitLog, CommitRecord};
use crate::ids::{LanceVersion, TxId};
use crate::lake::TableAt;
use crate::store::Store;
use crate::writer::WriterClaim;

/// What a run of the cleaner needs.
#[derive(Debug, Clone)]
pub struct Cleaning {
    pub store: Arc<dyn Store>,
    pub log: CommitLog,
    pub claim: WriterClaim,
    pub clock: Clock,
    /// At the writer's bases.
    pub tables: Vec<TableAt>,
    pub head: CommitRecord,
    /// The writer's own graph.
    pub own: Pin,
    /// Versions of commits that are younger stay.
    pub time_travel_window: Duration,
    /// So do versions, records and expired leases that are younger, whatever the resource says: far longer than a writer or a
    /// replica could be stalled without noticing.
    pub min_age: Duration,
    /// Records of so many newest commits stay: they hold clients' idempotency keys.
    pub idempotency_commits: u64,
}

/// What was removed; also of a run that failed half-way.
#[derive(Debug, Default)]
pub struct CleaningOutcome {
    pub versions: u64,
    pub bytes: u64,
    pub commits: u64,
    pub leases: u64,
    /// The oldest commit of the log, where it was trimmed to: nobody goes on from one before it.
    pub floor: Option<TxId>,
    pub error: Option<OptimizeError>,
}

impl Cleaning {
    /// Removes what nobody needs. Ends within moments of `cancel`.
    pub async fn run(self, cancel: CancellationToken) -> CleaningOutcome {
        let mut outcome = CleaningOutcome::default();
        let done = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(OptimizeError::Cancelled),
            done = self.clean(&mut outcome) => done,
        };
        outcome.error = done.err();
        outcome
    }

    async fn clean(&self, outcome: &mut CleaningOutcome) -> Result<(), OptimizeError> {
        let mut listed = Vec::new();
        for table in &self.tables {
            listed.push((table, table.versions().await?));
        }
        self.check_claim().await?;
        let now = self.clock.now();
        let pins = pins(self.store.as_ref(), self.own.clone(), now).await?;
        let age = self.time_travel_window.max(self.min_age);
        let Some(cut_off) = cut_off(&self.log, &self.head, now, age).await? else {
            return self.trim_leases(outcome).await;
        };
        for (table, versions) in listed {
            let goes = removable(table.name(), &versions, &cut_off, &pins);
            if goes.is_empty() {
                continue;
            }
            fail::fail_point!("optimizer::before_cleaning", |_| Err(OptimizeError::Crashed(
                "optimizer::before_cleaning"
            )));
            self.check_claim().await?;
            let cleaned = table.clean(&goes).await?;
            outcome.versions += cleaned.versions;
            outcome.bytes += cleaned.bytes;
            if cleaned.failed > 0 {
                tracing::warn!(
                    table = table.name(),
                    files = cleaned.failed,
                    "some files could not be removed"
                );
            }
            fail::fail_point!("optimizer::between_cleanings", |_| Err(OptimizeError::Crashed(
                "optimizer::between_cleanings"
            )));
        }
        self.check_claim().await?;
        self.trim(&cut_off, &pins, outcome).await?;
        self.trim_leases(outcome).await
    }

    /// # Errors
    /// [`OptimizeError::Fenced`]: a fenced writer cleans nothing.
    pub(super) async fn check_claim(&self) -> Result<(), OptimizeError> {
        match crate::writer::holds(self.store.as_ref(), &self.claim).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(OptimizeError::Fenced),
            Err(error) => Err(OptimizeError::Task(error.to_string())),
        }
    }
}

/// Listed versions of a table that nobody needs: below the line that time draws, and named by no pin.
fn removable(
    table: &str,
    listed: &[LanceVersion],
    cut_off: &CommitRecord,
    pins: &[Pin],
) -> Vec<LanceVersion> {
    // A table that came later has no old versions.
    let Some(line) = cut_off.tables.get(table) else {
        return Vec::new();
    };
    let is_pinned = |version: LanceVersion| pins.iter().any(|pin| pin.tables.get(table) == Some(version));
    listed
        .iter()
        .copied()
        .filter(|version| *version < line && !is_pinned(*version))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::{CommitKind, VersionMap};
    use crate::ids::{Epoch, Seq};

    fn versions(table: &str, version: u64) -> VersionMap {
        let mut map = VersionMap::default();
        map.set(table, LanceVersion(version));
        map
    }

    #[test]
    fn versions_below_the_line_go_unless_a_pin_names_exactly_them() {
        let cut_off = CommitRecord {
            seq: Seq(9),
            tx_id: TxId::default(),
            prev_tx_id: TxId::default(),
            epoch: Epoch(1),
            timestamp: chrono::Utc::now(),
            kind: CommitKind::Data,
            tables: versions("T", 7),
            manifests: Default::default(),
            changed: Vec::new(),
            schema_version: Seq(0),
            schema: None,
            notes: None,
            idempotency: Vec::new(),
            traceparent: None,
        };
        let pin = |table: &str, version| Pin {
            by: String::new(),
            seq: Seq(1),
            tables: versions(table, version),
        };
        let listed: Vec<LanceVersion> = (1..=9).map(LanceVersion).collect();
        let goes = |pins: &[Pin]| -> Vec<u64> {
            let goes = removable("T", &listed, &cut_off, pins);
            goes.into_iter().map(|version| version.0).collect()
        };
        assert_eq!(goes(&[]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(goes(&[pin("T", 3), pin("T", 8), pin("U", 4)]), [1, 2, 4, 5, 6]);
        assert_eq!(removable("New", &listed, &cut_off, &[]), []);
    }
}
