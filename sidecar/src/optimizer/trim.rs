//! Trimming: the old end of the commit log, and leases that nobody renews.
//!
//! A record goes when it is below every pin's commit, below the time-travel window, and older than the commits whose
//! idempotency keys are known. Never: the head, and the record that holds the schema of the oldest commit that stays.
//!
//! Records go one by one, oldest first. So at any moment, crashes included, the log is: perhaps one schema's record, a gap, then
//! dense to the head. A node whose own record is there finds all after it; one whose record is gone joins anew at the head.
//! Versions are cleaned before records are trimmed: a node that still finds its record but not its versions joins anew too.

use super::clean::{Cleaning, CleaningOutcome};
use super::pins::leases;
use super::{OptimizeError, Pin};
use crate::commit_log::CommitRecord;
use crate::ids::Seq;

/// Records per listing; the claim is checked once for each.
const PAGE: usize = 500;

impl Cleaning {
    pub(super) async fn trim(
        &self,
        cut_off: &CommitRecord,
        pins: &[Pin],
        outcome: &mut CleaningOutcome,
    ) -> Result<(), OptimizeError> {
        let keys = self.head.seq.0.saturating_sub(self.idempotency_commits) + 1;
        let floor = floor(cut_off.seq, keys, pins).min(self.head.seq);
        // The schema's record of the commit that becomes the oldest stays, and is all that is needed of what goes.
        let Some(oldest) = self.log.read(floor).await? else {
            return Ok(());
        };
        let mut after = Seq(0);
        loop {
            let page = self.log.listed_after(after, PAGE).await?;
            let goes = page
                .iter()
                .filter(|seq| **seq < floor && **seq != oldest.schema_version);
            for seq in goes {
                fail::fail_point!("optimizer::before_trim", |_| Err(OptimizeError::Crashed(
                    "optimizer::before_trim"
                )));
                self.log.remove(*seq).await?;
                outcome.commits += 1;
                fail::fail_point!("optimizer::between_trims", |_| Err(OptimizeError::Crashed(
                    "optimizer::between_trims"
                )));
            }
            match page.last() {
                Some(last) if *last < floor && page.len() == PAGE => after = *last,
                _ => break,
            }
            self.check_claim().await?;
        }
        outcome.floor = Some(oldest.tx_id);
        Ok(())
    }

    /// Removes leases that expired long ago: their replicas have left without a word.
    pub(super) async fn trim_leases(&self, outcome: &mut CleaningOutcome) -> Result<(), OptimizeError> {
        let now = self.clock.now();
        let age = chrono::Duration::from_std(self.min_age).unwrap_or(chrono::Duration::MAX);
        let Some(before) = now.checked_sub_signed(age) else {
            return Ok(());
        };
        for key in leases(self.store.as_ref(), now, before).await?.long_expired {
            fail::fail_point!("optimizer::before_lease_trim", |_| Err(OptimizeError::Crashed(
                "optimizer::before_lease_trim"
            )));
            self.check_claim().await?;
            self.store.delete(&key).await?;
            outcome.leases += 1;
        }
        Ok(())
    }
}

/// The oldest commit that must stay.
fn floor(cut_off: Seq, keys: u64, pins: &[Pin]) -> Seq {
    let pinned = pins.iter().map(|pin| pin.seq).min();
    cut_off.min(Seq(keys)).min(pinned.unwrap_or(cut_off))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::VersionMap;

    #[test]
    fn the_oldest_need_decides_where_the_log_begins() {
        let pin = |seq| Pin {
            by: String::new(),
            seq: Seq(seq),
            tables: VersionMap::default(),
        };
        for (cut_off, keys, pins, expected) in [
            (50, 90, vec![], 50),
            (50, 20, vec![], 20),
            (50, 90, vec![pin(30), pin(70)], 30),
            (50, 90, vec![pin(70)], 50),
        ] {
            assert_eq!(floor(Seq(cut_off), keys, &pins), Seq(expected));
        }
    }
}
