//! Where a node stands: watermark, head, lag, state. Readers wait here for their floors.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use super::Reports;
use crate::clock::Clock;
use crate::commit_log::Position;
use crate::ids::{Epoch, Seq};

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Writer,
    Replica,
}

/// What a node is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "name", content = "detail")]
pub enum NodeState {
    /// Has no graph to answer from yet.
    Starting,
    /// Builds its graph from Lance; may serve an older one meanwhile.
    Building,
    /// Holds the newest commit it knows of, or is on its way there.
    Following,
    /// Its graph was not what Lance holds; answers nobody until it has built another. Says what differed.
    Diverged(String),
    /// Cannot go forward; still answers from its watermark. Says why.
    Degraded(String),
    /// A newer writer took over. Says by which epoch.
    Fenced(String),
}

/// A store that says nothing for so long counts as away, before its client gives up.
const SILENCE: Duration = Duration::from_secs(5);

/// Whether the store answers, as this node saw last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreHealth {
    /// True until the store failed to answer.
    pub ok: bool,
    /// What it answered instead.
    pub error: Option<String>,
    /// Since when `ok` has been what it is; `None` before the first answer.
    pub since: Option<DateTime<Utc>>,
}

impl Default for StoreHealth {
    fn default() -> Self {
        Self {
            ok: true,
            error: None,
            since: None,
        }
    }
}

/// A node's position at one moment.
#[derive(Debug, Clone)]
pub struct ProgressView {
    pub state: NodeState,
    /// The commit that readers see; `None` while there is no graph.
    pub watermark: Option<Position>,
    /// When the writer made that commit.
    pub watermark_timestamp: Option<DateTime<Utc>>,
    /// The newest commit this node knows of.
    pub head: Position,
    /// When the node last saw, by reading the log, that nothing follows its watermark.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// When the oldest commit that is not applied yet was made.
    pub behind_since: Option<DateTime<Utc>>,
    pub epoch: Epoch,
    pub store: StoreHealth,
}

impl ProgressView {
    /// Commits between the watermark and the newest known commit.
    pub fn lag_commits(&self) -> u64 {
        self.head
            .seq
            .0
            .saturating_sub(self.watermark.unwrap_or_default().seq.0)
    }

    /// How old the served state may be, in milliseconds: since the oldest missing commit was made, or, with none known to be
    /// missing, since the log was last read to its end. `None` before the first graph.
    pub fn staleness_ms(&self, now: DateTime<Utc>) -> Option<u64> {
        self.watermark?;
        let since = match (self.behind_since, self.confirmed_at) {
            (Some(behind), _) if self.lag_commits() > 0 => behind,
            (_, Some(confirmed)) => confirmed,
            (Some(behind), None) => behind,
            (None, None) => self.watermark_timestamp?,
        };
        Some(u64::try_from((now - since).num_milliseconds()).unwrap_or(0))
    }

    /// Lag in milliseconds: 0 when nothing is known to be missing.
    pub fn lag_ms(&self, now: DateTime<Utc>) -> u64 {
        if self.lag_commits() == 0 {
            0
        } else {
            self.staleness_ms(now).unwrap_or(0)
        }
    }
}

/// The shared, watchable position. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    pub role: Role,
    sender: watch::Sender<ProgressView>,
    clock: Clock,
    reports: Reports,
}

impl Progress {
    /// Nothing known yet.
    pub fn new(role: Role, clock: Clock) -> Self {
        let (sender, _) = watch::channel(ProgressView {
            state: NodeState::Starting,
            watermark: None,
            watermark_timestamp: None,
            head: Position::default(),
            confirmed_at: None,
            behind_since: None,
            epoch: Epoch(0),
            store: StoreHealth::default(),
        });
        Self {
            role,
            sender,
            clock,
            reports: Reports::default(),
        }
    }

    /// What the background work of this node did last.
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The position now.
    pub fn view(&self) -> ProgressView {
        self.sender.borrow().clone()
    }

    /// For waiting on a floor.
    pub fn subscribe(&self) -> watch::Receiver<ProgressView> {
        self.sender.subscribe()
    }

    /// The clock that lag is measured with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sets the state and keeps the position.
    pub fn set_state(&self, state: NodeState) {
        self.sender.send_if_modified(|view| {
            let changed = view.state != state;
            if changed {
                tracing::info!(?state, "state");
                view.state = state;
            }
            changed
        });
    }

    /// The store answered: the log was read, or the heartbeat written.
    pub fn store_answered(&self) {
        self.store_is(None);
    }

    /// The store did not answer, or not as it must.
    pub fn store_failed(&self, error: &dyn std::fmt::Display) {
        self.store_is(Some(error.to_string()));
    }

    /// Waits for an answer of the store, however long it takes; meanwhile the status says that there is none.
    pub async fn asking_store<T>(&self, answer: impl Future<Output = T>) -> T {
        self.noting_silence(answer, SILENCE).await
    }

    async fn noting_silence<T>(&self, answer: impl Future<Output = T>, silence: Duration) -> T {
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(silence) => {}
        }
        self.store_failed(&format!("no answer for {} s", silence.as_secs_f32()));
        answer.await
    }

    fn store_is(&self, error: Option<String>) {
        let (ok, now) = (error.is_none(), self.clock.now());
        self.sender.send_if_modified(|view| {
            let store = &mut view.store;
            if store.since.is_none() || store.ok != ok {
                store.since = Some(now);
            } else if store.error == error {
                return false;
            }
            (store.ok, store.error) = (ok, error);
            true
        });
    }

    /// Sets the epoch of the newest commit or, on the writer, its own.
    pub fn set_epoch(&self, epoch: Epoch) {
        self.sender.send_modify(|view| view.epoch = epoch);
    }

    /// Commits up to `head` exist; the first one that is missing here was made at `oldest_missing`.
    pub fn saw_head(&self, head: Position, oldest_missing: DateTime<Utc>) {
        self.sender.send_modify(|view| {
            if head.seq > view.head.seq {
                view.head = head;
            }
            view.behind_since = Some(oldest_missing);
        });
    }

    /// Readers see `position` from now on.
    pub fn applied(&self, position: Position, timestamp: DateTime<Utc>, epoch: Epoch) {
        self.sender.send_modify(|view| {
            view.watermark = Some(position);
            view.watermark_timestamp = Some(timestamp);
            view.epoch = epoch;
            if position.seq >= view.head.seq {
                view.head = position;
                view.behind_since = None;
            } else {
                // A restored snapshot lies far below the head that was seen: what is missing may be as old as what it ends at.
                view.behind_since = view.behind_since.min(Some(timestamp)).or(Some(timestamp));
            }
        });
    }

    /// The log was read to its end, as of `at`, and nothing followed `seq`.
    pub fn confirmed(&self, seq: Seq, at: DateTime<Utc>) {
        self.sender.send_modify(|view| {
            if view.watermark.is_some_and(|watermark| watermark.seq >= seq) && view.head.seq <= seq {
                view.confirmed_at = Some(at);
                view.behind_since = None;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TxId;

    fn at(seq: u64) -> Position {
        Position {
            seq: Seq(seq),
            tx_id: TxId::default(),
        }
    }

    #[test]
    fn the_store_s_health_says_since_when() {
        let clock = Clock::default();
        let progress = Progress::new(Role::Replica, clock.clone());
        assert_eq!(progress.view().store, StoreHealth::default());
        progress.store_answered();
        let answered = progress.view().store;
        assert!(answered.ok && answered.since.is_some(), "{answered:?}");
        clock.shift_millis(1000);
        progress.store_answered();
        assert_eq!(progress.view().store, answered, "nothing changed");
        progress.store_failed(&"connection refused");
        let failed = progress.view().store;
        assert!(!failed.ok && failed.since > answered.since, "{failed:?}");
        assert_eq!(failed.error.as_deref(), Some("connection refused"));
        clock.shift_millis(1000);
        progress.store_failed(&"timed out");
        assert_eq!(progress.view().store.since, failed.since);
    }

    #[tokio::test]
    async fn a_store_that_says_nothing_counts_as_away_before_the_answer_comes() {
        let progress = Progress::new(Role::Replica, Clock::default());
        let mut noted = progress.subscribe();
        let silent = async {
            let view = noted.wait_for(|view| !view.store.ok).await.unwrap();
            view.store.error.clone()
        };
        let answer = progress.noting_silence(silent, Duration::from_millis(1)).await;
        assert_eq!(answer.as_deref(), Some("no answer for 0.001 s"));
        assert_eq!(progress.asking_store(async { 7 }).await, 7);
    }

    #[test]
    fn lag_counts_from_the_oldest_commit_that_is_missing() {
        let clock = Clock::default();
        let progress = Progress::new(Role::Replica, clock.clone());
        let now = clock.now();
        assert_eq!(progress.view().staleness_ms(now), None);
        progress.applied(at(3), now, Epoch(1));
        progress.confirmed(Seq(3), now);
        assert_eq!(progress.view().lag_commits(), 0);
        progress.saw_head(at(5), now - chrono::Duration::seconds(7));
        assert_eq!(progress.view().lag_commits(), 2);
        assert_eq!(progress.view().lag_ms(now), 7000);
        progress.applied(at(5), now, Epoch(1));
        assert_eq!(progress.view().lag_ms(now), 0);
    }

    #[test]
    fn a_graph_below_the_head_is_as_old_as_the_commit_it_holds() {
        let clock = Clock::default();
        let progress = Progress::new(Role::Replica, clock.clone());
        let now = clock.now();
        progress.saw_head(at(9), now);
        progress.applied(at(3), now - chrono::Duration::seconds(7), Epoch(1));
        assert_eq!(progress.view().staleness_ms(now), Some(7000));
    }
}
