//! From the pause to a stored snapshot: the upload in the background, then retention, while the duty is held.
//!
//! Crash behaviour: parts without meta data are left to retention, and the duty expires.
//!
//! Owns: the background task, and the end of a snapshot that was taken or was not. Does not own: how it is stored (`upload`),
//! what goes afterwards (`retention`), the states (`snapshotter`).

use std::time::{Duration, Instant};

use super::due::Why;
use super::duty::Duty;
use super::freeze::Frozen;
use super::snapshotter::{Snapshotter, State, UploadEnd};
use super::upload::{Upload, remove};
use super::{SnapshotAnswer, SnapshotError};
use crate::replica::Advancer;

/// How long an interrupted upload may take to clean up after itself, and leaving may take.
pub(super) const TIDYING: Duration = Duration::from_secs(3);

impl Snapshotter {
    /// Goes on in the background; the replica applies again.
    pub(super) fn upload(&self, advancer: &Advancer, frozen: Frozen, mut duty: Duty, why: Why) -> State {
        let (seq, tx_id) = (frozen.watermark.position.seq, frozen.watermark.position.tx_id);
        tracing::info!(%seq, %tx_id, ?why, pause_ms = frozen.since.elapsed().as_millis(), "taking a snapshot");
        advancer
            .progress
            .reports()
            .update(|reports| reports.snapshots.running = true);
        let clock = advancer.progress.clock().clone();
        let look = self.look(&clock, self.settings.borrow().clone(), seq, frozen.taken_at);
        let upload = Upload {
            store: self.store.clone(),
            holder: self.holder.clone(),
            limits: self.limits,
            clock,
        };
        let cancel = self.cancel.clone();
        State::Uploading(tokio::spawn(async move {
            let uploaded = upload.run(&frozen, &mut duty, &cancel).await;
            let meta = match uploaded {
                Ok(meta) => meta,
                Err(error) => {
                    tidy(&upload, &tx_id.to_string(), duty, &error).await;
                    return Err(error);
                }
            };
            drop(frozen);
            look.memory.lock().await.verified.insert(meta.tx_id);
            let retained = look.retain(&mut duty).await;
            if !matches!(retained, Err(SnapshotError::Crashed(_))) {
                duty.release().await;
            }
            Ok(Box::new((meta, retained?)))
        }))
    }

    pub(super) fn after_upload(&mut self, advancer: &Advancer, uploaded: UploadEnd) -> State {
        let (meta, looked) = match uploaded {
            Ok(uploaded) => *uploaded,
            Err(error) => return self.failed(advancer, error),
        };
        let took = (meta.completed_at - meta.taken_at).to_std().unwrap_or_default();
        tracing::info!(
            seq = %meta.seq, tx_id = %meta.tx_id, bytes = meta.stored_bytes(), file_bytes = meta.file.size,
            seconds = took.as_secs_f64(), retained = looked.retained, "took a snapshot"
        );
        metrics::counter!("slipstream_snapshots_total", "outcome" => "taken").increment(1);
        metrics::histogram!("slipstream_snapshot_duration_seconds").record(took.as_secs_f64());
        self.failures = 0;
        self.not_before = Instant::now();
        self.saw(advancer, &looked, Some((&meta, took)));
        self.answer(&Ok(SnapshotAnswer {
            meta: meta.clone(),
            existed: false,
        }));
        self.outcome = Some(Ok(Some(meta)));
        State::Idle
    }
}

/// After an upload that failed: its parts go, unless another may be at it now. A crash leaves them to retention.
async fn tidy(upload: &Upload, tx_id: &str, duty: Duty, error: &SnapshotError) {
    match error {
        SnapshotError::Crashed(_) | SnapshotError::DutyLost { .. } => {}
        _ => {
            let removing = async {
                if let Err(error) = remove(&*upload.store, tx_id).await {
                    tracing::warn!(%error, tx_id, "failed to remove the parts of a snapshot; retention will");
                }
                duty.release().await;
            };
            if tokio::time::timeout(TIDYING, removing).await.is_err() {
                tracing::warn!(tx_id, "the parts of a snapshot are left to retention");
            }
        }
    }
}
