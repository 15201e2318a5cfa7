//! A reader on the writer that wants a fresh state rings, and the writer makes sure at once that nobody else has committed,
//! instead of at its next heartbeat.
//!
//! Owns: how often a ring is answered, and the proof. Does not own: waiting for a floor (`api/floors`), the heartbeat
//! (`session`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::CommitError;
use super::session::Session;
use super::takeover;

/// From one answer to the next question at least: however many readers ring, the store is asked so often at most.
const SPACING: Duration = Duration::from_millis(50);

/// What readers ring; nobody does by default.
#[derive(Debug, Default)]
pub(super) struct ReaderBell {
    ring: Arc<Notify>,
    answered_at: Option<Instant>,
}

impl ReaderBell {
    pub(super) fn new(ring: Arc<Notify>) -> Self {
        Self {
            ring,
            answered_at: None,
        }
    }

    /// Waits for a ring that may be answered now. Dropped before it returns, it loses none.
    pub(super) async fn rung(&self) {
        if let Some(answered_at) = self.answered_at {
            sleep_until(answered_at + SPACING).await;
        }
        self.ring.notified().await;
    }

    /// The ring was answered. The pause begins here, so that however slow the store is, the writer has time for its jobs; a
    /// ring that came meanwhile is kept for the next answer.
    pub(super) fn answered(&mut self) {
        self.answered_at = Some(Instant::now());
    }
}

impl Session {
    /// Makes sure that nothing follows this writer's head: whoever else commits has changed `writer.json` before.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] when somebody has.
    pub(super) async fn confirm_head(&self) -> Result<(), CommitError> {
        let progress = &self.advancer.progress;
        // The answer tells of this moment or a later one.
        let asked_at = self.clock.now();
        let holds = takeover::holds(self.store.as_ref(), &self.claim);
        match progress.asking_store(holds).await {
            Ok(true) => {
                progress.store_answered();
                progress.confirmed(self.head.seq, asked_at);
                Ok(())
            }
            Ok(false) => Err(CommitError::Fenced("writer.json names another writer".to_owned())),
            // The reader gets it from a heartbeat, or its timeout.
            Err(error) => {
                tracing::warn!(%error, "failed to read the claim for a reader");
                progress.store_failed(&error);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn rings_are_answered_at_once_but_not_in_a_flood() {
        let ring = Arc::new(Notify::new());
        let mut bell = ReaderBell::new(ring.clone());
        assert!(bell.rung().now_or_never().is_none(), "nobody rang");
        ring.notify_one();
        assert!(bell.rung().now_or_never().is_some());
        let answered_at = Instant::now();
        bell.answered();
        for _ in 0..100 {
            ring.notify_one();
        }
        assert!(bell.rung().now_or_never().is_none(), "too soon");
        bell.rung().await;
        assert!(answered_at.elapsed() >= SPACING);
        bell.answered();
        assert!(
            tokio::time::timeout(SPACING * 2, bell.rung()).await.is_err(),
            "a hundred rings are one"
        );
    }
}
