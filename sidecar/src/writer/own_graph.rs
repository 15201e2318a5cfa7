//! The writer's own graph, which it validates against: asked, checkpointed, and built anew from Lance when it is in doubt.
//!
//! Crash behaviour: none of this is needed after one; the next takeover brings whatever graph there is to the head.
//!
//! Owns: when it is rebuilt and checkpointed. Does not own: how (`replica`), and its way to the head (`catch_up`).

use super::session::Session;
use crate::graph::{Graph, GraphError};
use crate::node::NodeState;

impl Session {
    /// Runs a question to the graph on a blocking thread.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Graph) -> Result<T, GraphError> + Send + 'static,
    ) -> Result<T, GraphError> {
        let graph = self.advancer.local.writable().ok_or_else(|| GraphError::Engine {
            doing: "validate".to_owned(),
            detail: "the local graph is being rebuilt".to_owned(),
        })?;
        let answered = tokio::task::spawn_blocking(move || question(&graph)).await;
        answered.unwrap_or_else(|error| {
            Err(GraphError::Engine {
                doing: "validate".to_owned(),
                detail: error.to_string(),
            })
        })
    }

    /// After a commit that failed inside the engine the graph is in doubt (rules of the engine).
    pub(super) async fn ensure_graph(&mut self) {
        if self.advancer.local.writable().is_none() && !self.catch_up.is_behind() {
            self.rebuild_graph().await;
        }
    }

    /// Builds the graph of the head from Lance, until it works: without it nothing can be validated.
    pub(super) async fn rebuild_graph(&mut self) {
        let mut wait = std::time::Duration::from_millis(100);
        while let Err(error) = self.advancer.rebuild(&self.watermark).await {
            tracing::error!(%error, retry_in = ?wait, "failed to rebuild the local graph");
            self.advancer
                .progress
                .set_state(NodeState::Degraded(error.to_string()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // The next process builds it: a store that is away must not hold this one.
                () = self.ending.cancelled() => return,
            }
            wait = (wait * 2).min(std::time::Duration::from_secs(10));
        }
    }

    pub(super) async fn checkpoint(&mut self) {
        // A graph that is being brought forward is not touched from here.
        if self.since_checkpoint < self.settings.checkpoint_commits || self.catch_up.is_behind() {
            return;
        }
        let since = std::mem::take(&mut self.since_checkpoint);
        fail::fail_point!("writer::before_checkpoint");
        match crate::replica::checkpoint(&self.advancer, since, self.settings.checkpoint_commits).await {
            Ok(true) => {
                fail::fail_point!("writer::after_checkpoint");
                // All that it ends with is a crash point of a test, and then the graph is as it was.
                let _ = crate::replica::renew_outgrown(&self.advancer, &self.watermark).await;
            }
            Ok(false) => self.since_checkpoint = since,
            Err(error) => {
                tracing::warn!(%error, "failed to checkpoint the local graph");
                self.rebuild_graph().await;
            }
        }
    }
}
