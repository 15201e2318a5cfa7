//! When a node scrubs: on the cadence of the resource, and when asked to. One at a time.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{counter, gauge, histogram};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::compare::{Comparison, ScrubError, TableComparison, compare};
use crate::graph::Graph;
use crate::node::LastScrub;
use crate::replica::Advancer;

/// Requests that wait for the next scrub.
const QUEUE: usize = 64;
/// A scrub that gave no verdict is tried again after so long, or after the interval where that is shorter.
const RETRY: Duration = Duration::from_secs(60);

/// The outcome of one scrub.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scrubbed {
    #[serde(flatten)]
    pub scrub: LastScrub,
    pub tables: Vec<TableComparison>,
}

/// How requests reach the keeper. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ScrubRequests(mpsc::Sender<oneshot::Sender<Result<Scrubbed, Arc<ScrubError>>>>);

impl ScrubRequests {
    /// Of a node that is not running: every request is told that there is no graph.
    pub fn nobody() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Scrubs now, or right after the scrub that runs, and waits for the outcome.
    ///
    /// # Errors
    /// When there is no verdict.
    pub async fn scrub(&self) -> Result<Scrubbed, Arc<ScrubError>> {
        let (answer, answered) = oneshot::channel();
        if self.0.send(answer).await.is_err() {
            return Err(Arc::new(ScrubError::NoGraph));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Arc::new(ScrubError::Stopped)))
    }
}

/// Scrubs one node.
pub struct ScrubKeeper {
    advancer: Advancer,
    settings: watch::Receiver<crds::Scrub>,
    /// Rung when a replica is to build its graph again; a writer hears it from `LocalGraph::lost`.
    wake: Arc<Notify>,
    requests: mpsc::Receiver<oneshot::Sender<Result<Scrubbed, Arc<ScrubError>>>>,
    /// Which part of the first interval passes before the first scrub: every node of a graph has its own.
    share: f64,
}

impl ScrubKeeper {
    /// For the node named `holder`.
    pub fn new(
        advancer: Advancer,
        settings: watch::Receiver<crds::Scrub>,
        wake: Arc<Notify>,
        holder: &str,
    ) -> (Self, ScrubRequests) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let keeper = Self {
            advancer,
            settings,
            wake,
            requests,
            share: share_of(holder),
        };
        (keeper, ScrubRequests(sender))
    }

    /// Scrubs until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (mut since, mut wait_of) = (Instant::now(), Wait::Share(self.share));
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let due = settings
                .enabled
                .then(|| since + wait_of.within(settings.interval.into()));
            self.report_due(due);
            let mut asked = Vec::new();
            tokio::select! {
                () = shutdown.cancelled() => return,
                // The due time counts from where it did.
                Ok(()) = self.settings.changed() => continue,
                Some(request) = self.requests.recv() => asked.push(request),
                () = wait_until(due) => {}
            }
            while let Ok(request) = self.requests.try_recv() {
                asked.push(request);
            }
            let scrubbed = self.scrub_once(&shutdown).await.map_err(Arc::new);
            (since, wait_of) = (Instant::now(), Wait::after(&scrubbed));
            for request in asked {
                // Whoever went away finds it in the status.
                let _ = request.send(scrubbed.clone());
            }
        }
    }

    /// One scrub, and what follows from it.
    ///
    /// Guarantees: after a difference, readers get nothing of that graph any more, and the node builds another from Lance.
    pub async fn scrub_once(&self, stop: &CancellationToken) -> Result<Scrubbed, ScrubError> {
        let reports = self.advancer.progress.reports();
        reports.update(|view| view.scrub.running = true);
        let outcome = match compare(&self.advancer, stop).await {
            Ok((graph, comparison)) => self.conclude(&graph, comparison),
            Err(error) => Err(error),
        };
        let label = match &outcome {
            Ok(scrubbed) if scrubbed.scrub.ok => "equal",
            Ok(_) => "different",
            Err(_) => "failed",
        };
        counter!("slipstream_scrubs_total", "outcome" => label).increment(1);
        reports.update(|view| {
            view.scrub.running = false;
            match &outcome {
                Ok(scrubbed) => {
                    view.scrub.last = Some(scrubbed.scrub.clone());
                    view.scrub.error = None;
                }
                Err(error) => view.scrub.error = Some(error.to_string()),
            }
        });
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the graph could not be compared with Lance");
        }
        outcome
    }

    fn conclude(&self, graph: &Arc<Graph>, comparison: Comparison) -> Result<Scrubbed, ScrubError> {
        let difference = comparison.difference();
        let scrubbed = self.scrubbed(comparison, difference.clone());
        let (seq, rows) = (scrubbed.scrub.seq, scrubbed.scrub.rows);
        histogram!("slipstream_scrub_duration_seconds").record(scrubbed.scrub.duration_ms as f64 / 1000.0);
        gauge!("slipstream_scrub_timestamp_seconds").set(scrubbed.scrub.timestamp.timestamp() as f64);
        match difference {
            None => tracing::info!(%seq, rows, "the graph is what Lance holds"),
            Some(difference) => {
                tracing::error!(%seq, difference, "the graph differs from Lance; building it again");
                counter!("slipstream_divergences_total").increment(1);
                fail::fail_point!("scrub::after_difference", |_| Err(ScrubError::Crashed(
                    "scrub::after_difference"
                )));
                let current = self.advancer.local.current();
                if current.is_some_and(|current| Arc::ptr_eq(&current, graph)) {
                    self.advancer.local.diverged(&difference);
                    self.wake.notify_one();
                }
            }
        }
        Ok(scrubbed)
    }

    fn scrubbed(&self, comparison: Comparison, difference: Option<String>) -> Scrubbed {
        let duration_ms = u64::try_from(comparison.elapsed.as_millis()).unwrap_or(u64::MAX);
        Scrubbed {
            scrub: LastScrub {
                seq: comparison.position.seq,
                tx_id: comparison.position.tx_id,
                timestamp: self.advancer.progress.clock().now(),
                ok: difference.is_none(),
                rows: comparison.rows(),
                duration_ms,
                difference,
            },
            tables: comparison.tables,
        }
    }

    fn report_due(&self, due: Option<Instant>) {
        let progress = &self.advancer.progress;
        let from_now = due.map(|due| due.saturating_duration_since(Instant::now()));
        let next_due: Option<DateTime<Utc>> = from_now
            .and_then(|wait| chrono::TimeDelta::from_std(wait).ok())
            .map(|wait| progress.clock().now() + wait);
        progress.reports().update(|view| view.scrub.next_due = next_due);
    }
}

/// How long after the last scrub, or the start, the next one is due.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wait {
    /// This part of the interval.
    Share(f64),
    /// Soon: there was no verdict.
    Retry,
}

impl Wait {
    fn after<T, E>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::Share(1.0),
            Err(_) => Self::Retry,
        }
    }

    fn within(self, interval: Duration) -> Duration {
        match self {
            Self::Share(share) => interval.mul_f64(share),
            Self::Retry => interval.min(RETRY),
        }
    }
}

/// From 0 to 1, evenly over names: the same for the same node, so that a restart does not gather the scrubs of a graph.
fn share_of(holder: &str) -> f64 {
    let hash = blake3::hash(holder.as_bytes());
    let bytes = hash.as_bytes();
    f64::from(u16::from_le_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX)
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_of_a_graph_scrub_at_different_times() {
        let day = Duration::from_secs(86_400);
        let mut first: Vec<Duration> = (0..8)
            .map(|number| Wait::Share(share_of(&format!("debian-replica-{number}"))).within(day))
            .collect();
        first.sort();
        assert!(first.iter().all(|wait| *wait <= day), "{first:?}");
        assert!(first.windows(2).all(|pair| pair[0] < pair[1]), "{first:?}");
        assert!(
            first[0] < day / 2 && first[7] > day / 2,
            "all in one half: {first:?}"
        );
    }

    #[test]
    fn without_a_verdict_the_next_scrub_comes_sooner() {
        let failed: Result<(), ()> = Err(());
        assert_eq!(Wait::after(&failed).within(Duration::from_secs(86_400)), RETRY);
        let short = Duration::from_secs(2);
        assert_eq!(Wait::after(&failed).within(short), short);
        let done: Result<(), ()> = Ok(());
        assert_eq!(Wait::after(&done).within(short), short);
    }
}
