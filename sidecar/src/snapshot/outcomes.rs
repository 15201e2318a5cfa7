//! What a look or an upload came to, for everybody who wants to know: report, metrics, whoever asked; and the next try's wait.
//!
//! Owns: back-off, answers to requests, the report. Does not own: what follows in the state machine (`looking`, `uploading`).

use std::time::{Duration, Instant};

use super::due::{Newest, next_due};
use super::look::Looked;
use super::snapshotter::{Snapshotter, State};
use super::{SnapshotAnswer, SnapshotError, SnapshotMeta, SnapshotRefusal};
use crate::node::LastSnapshot;
use crate::replica::Advancer;

impl Snapshotter {
    /// Takes over what a look or an upload found, into report and metrics too.
    pub(super) fn saw(
        &mut self,
        advancer: &Advancer,
        looked: &Looked,
        taken: Option<(&SnapshotMeta, Duration)>,
    ) {
        self.newest = looked.newest.as_ref().map(Newest::from);
        let (clock, watermark) = (advancer.progress.clock(), advancer.progress.view().watermark);
        let now = clock.now();
        let next = next_due(
            &self.settings.borrow(),
            self.newest,
            self.since.unwrap_or(now),
            watermark.map(|watermark| watermark.seq),
            now,
        );
        let last = looked.newest.as_ref().map(|meta| {
            let took = taken.filter(|(taken, _)| taken.tx_id == meta.tx_id);
            let took = took.map_or_else(
                || meta.completed_at - meta.taken_at,
                |(_, took)| chrono::Duration::from_std(took).unwrap_or_default(),
            );
            LastSnapshot {
                seq: meta.seq,
                tx_id: meta.tx_id,
                timestamp: meta.completed_at,
                bytes: meta.stored_bytes(),
                duration_ms: u64::try_from(took.num_milliseconds()).unwrap_or(0),
            }
        });
        if let Some(last) = &last {
            metrics::gauge!("slipstream_snapshot_bytes").set(last.bytes as f64);
            metrics::gauge!("slipstream_snapshot_timestamp_seconds")
                .set(last.timestamp.timestamp_millis() as f64 / 1000.0);
        }
        let retained = looked.retained;
        advancer.progress.reports().update(|reports| {
            let report = &mut reports.snapshots;
            (report.last, report.next_due, report.retained) = (last, next, retained);
            report.running = false;
            if taken.is_some() {
                report.error = None;
            }
        });
    }

    pub(super) fn failed(&mut self, advancer: &Advancer, error: SnapshotError) -> State {
        if matches!(error, SnapshotError::Cancelled) {
            self.answer(&Err(SnapshotRefusal::Leaving));
            self.outcome = Some(Err(error));
            return State::Idle;
        }
        self.failures += 1;
        let factor = 2_u32.saturating_pow(self.failures.saturating_sub(1)).min(20);
        let wait = self.limits.back_off * factor;
        self.not_before = Instant::now() + wait;
        tracing::warn!(%error, retry_in = ?wait, "no snapshot was taken");
        metrics::counter!("slipstream_snapshots_total", "outcome" => "failed").increment(1);
        advancer.progress.reports().update(|reports| {
            reports.snapshots.running = false;
            reports.snapshots.error = Some(error.to_string());
        });
        self.answer(&Err(SnapshotRefusal::Failed(error.to_string())));
        self.outcome = Some(Err(error));
        State::Idle
    }

    pub(super) fn answer(&mut self, answer: &Result<SnapshotAnswer, SnapshotRefusal>) {
        for request in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = request.send(answer.clone());
        }
    }
}
