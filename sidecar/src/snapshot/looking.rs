//! From idle to a look and on: when there is a reason to look at the store, and what the replica does about what was seen.
//!
//! Owns: when to look, and how long there is nothing to do. Does not own: what is due (`due`), the look itself (`look`), the
//! states (`snapshotter`).

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crds::Snapshots;

use super::due::{due, next_due};
use super::look::{Decision, Look};
use super::snapshotter::{LookEnd, Snapshotter, State};
use super::{SnapshotAnswer, SnapshotRefusal};
use crate::clock::Clock;
use crate::ids::Seq;
use crate::replica::Advancer;

/// At most between two looks at the clock: a schedule is followed although the clock is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After finding another replica at it.
const BUSY_WAIT: Duration = Duration::from_secs(5);

impl Snapshotter {
    /// Starts a look where there is a reason for one.
    pub(super) fn idle(&mut self, advancer: &Advancer) -> State {
        let view = advancer.progress.view();
        let (Some(watermark), Some(timestamp)) = (view.watermark, view.watermark_timestamp) else {
            self.answer(&Err(SnapshotRefusal::NoGraph));
            return State::Idle;
        };
        let since = *self.since.get_or_insert(timestamp);
        let (now, settings) = (advancer.progress.clock().now(), self.settings.borrow().clone());
        let is_due = due(&settings, self.newest, since, watermark.seq, now).is_some();
        let is_time = self
            .looked_at
            .is_none_or(|looked_at| looked_at.elapsed() >= self.limits.look);
        let may = Instant::now() >= self.not_before;
        if self.waiting.is_empty() && !(may && (is_due || is_time)) {
            return State::Idle;
        }
        let look = self.look(advancer.progress.clock(), settings, watermark.seq, since);
        State::Looking(tokio::spawn(async move { look.run().await.map(Box::new) }))
    }

    pub(super) fn look(
        &self,
        clock: &Clock,
        settings: Snapshots,
        watermark: Seq,
        since: DateTime<Utc>,
    ) -> Look {
        Look {
            store: self.store.clone(),
            holder: self.holder.clone(),
            limits: self.limits,
            clock: clock.clone(),
            settings,
            memory: self.memory.clone(),
            watermark,
            since,
            asked: !self.waiting.is_empty(),
        }
    }

    pub(super) fn after_look(&mut self, advancer: &Advancer, looked: LookEnd) -> State {
        self.looked_at = Some(Instant::now());
        let looked = match looked {
            Ok(looked) => *looked,
            Err(error) => return self.failed(advancer, error),
        };
        self.saw(advancer, &looked, None);
        self.outcome = Some(Ok(None));
        match looked.decision {
            Decision::Nothing => State::Idle,
            Decision::Take(duty, why) => State::Holding {
                duty,
                why,
                since: Instant::now(),
            },
            Decision::Busy(holder) => {
                self.not_before = Instant::now() + BUSY_WAIT;
                self.answer(&Err(SnapshotRefusal::Busy { holder }));
                State::Idle
            }
            Decision::Exists(meta) => {
                let answer = SnapshotAnswer {
                    meta: *meta,
                    existed: true,
                };
                self.answer(&Ok(answer));
                State::Idle
            }
        }
    }

    /// How long there is nothing to do, as far as can be known.
    pub(super) fn sleep(&self, advancer: &Advancer) -> Duration {
        let Some(watermark) = advancer.progress.view().watermark else {
            return LONGEST_SLEEP;
        };
        let settings = self.settings.borrow();
        let clock = advancer.progress.clock();
        let (now, since) = (clock.now(), self.since.unwrap_or_else(|| clock.now()));
        let next = next_due(&settings, self.newest, since, Some(watermark.seq), now);
        let until_due = next.map_or(LONGEST_SLEEP, |next| (next - now).to_std().unwrap_or_default());
        let until_look = self
            .looked_at
            .map_or(Duration::ZERO, |at| self.limits.look.saturating_sub(at.elapsed()));
        let may_in = self.not_before.saturating_duration_since(Instant::now());
        // A little later than the moment itself, so that it has come when this looks.
        let sleep = until_due.min(until_look).max(may_in) + Duration::from_millis(5);
        sleep.min(LONGEST_SLEEP)
    }
}
