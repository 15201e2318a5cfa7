//! Floors: how new the state must be that a query is answered from, and waiting until it is.

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};

use super::ApiState;
use super::problem::{Problem, ProblemKind};
use crate::commit_log::Position;
use crate::ids::{Seq, TxId};
use crate::node::ProgressView;

/// What a request demands; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// Read your writes: at least this commit.
    pub(super) min_tx: Option<TxId>,
    /// At least the commit that was the log's head when the request came.
    pub(super) min_seq: Option<Seq>,
    pub(super) max_staleness_ms: Option<u64>,
}

impl Floor {
    /// Whether a node that stands at `view` may answer now.
    pub(super) fn is_reached(&self, view: &ProgressView, now: DateTime<Utc>) -> bool {
        if *self == Self::default() {
            return true;
        }
        let fresh = || {
            self.max_staleness_ms
                .is_none_or(|max| view.staleness_ms(now).is_some_and(|age| age <= max))
        };
        view.watermark.is_some_and(|watermark| self.holds_at(watermark)) && fresh()
    }

    /// Whether the commit at `position` is new enough; staleness is no property of a commit.
    pub(super) fn holds_at(&self, position: Position) -> bool {
        self.min_tx.is_none_or(|min| position.tx_id >= min)
            && self.min_seq.is_none_or(|min| position.seq >= min)
    }

    fn describe(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.min_tx.map(|tx_id| format!("tx_id {tx_id}")));
        parts.extend(self.min_seq.map(|seq| format!("the log's head, seq {seq}")));
        parts.extend(
            self.max_staleness_ms
                .map(|max| format!("a state at most {max} ms old")),
        );
        parts.join(" and ")
    }

    /// The 503 that tells what the node has instead.
    pub(super) fn not_reached(&self, view: &ProgressView, now: DateTime<Utc>) -> Problem {
        let has = match view.watermark {
            Some(watermark) => format!(
                "this node holds tx_id {} (seq {})",
                watermark.tx_id, watermark.seq
            ),
            None => "this node has no graph yet".to_owned(),
        };
        let detail = format!("expected {} before the timeout, {has}", self.describe());
        Problem::new(ProblemKind::FloorNotReached, detail)
            .with_some("tx_id", view.watermark.map(|watermark| watermark.tx_id))
            .with_some("seq", view.watermark.map(|watermark| watermark.seq))
            .with("lag_ms", view.lag_ms(now))
            .with_some("staleness_ms", view.staleness_ms(now))
    }
}

/// The `seq` of the log's head, read from the store: what `strong` demands.
pub(super) async fn head_of_log(state: &ApiState, deadline: Instant) -> Result<Seq, Problem> {
    let known = state.progress.view().head.seq;
    match timeout_at(deadline, state.log.head(known)).await {
        Ok(head) => Ok(head?.map_or(Seq(0), |record| record.seq)),
        Err(_) => Err(Problem::new(
            ProblemKind::LogUnavailable,
            "the commit log's head was not found before the timeout",
        )),
    }
}

/// Waits until the node has reached `floor`.
///
/// # Errors
/// 503 with what the node has at `deadline`.
pub(super) async fn wait(state: &ApiState, floor: &Floor, deadline: Instant) -> Result<(), Problem> {
    let clock = state.progress.clock();
    let mut changes = state.progress.subscribe();
    if floor.is_reached(&changes.borrow_and_update(), clock.now()) {
        return Ok(());
    }
    state.wake.notify_one();
    let reached = timeout_at(
        deadline,
        changes.wait_for(|view| floor.is_reached(view, clock.now())),
    );
    if reached.await.is_ok_and(|view| view.is_ok()) {
        return Ok(());
    }
    Err(floor.not_reached(&state.progress.view(), clock.now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::node::NodeState;

    fn tx(number: u128) -> TxId {
        TxId(uuid::Uuid::from_u128(number))
    }

    fn view(watermark: Option<u64>, head: u64, confirmed_at: DateTime<Utc>) -> ProgressView {
        let at = |seq: u64| Position {
            seq: Seq(seq),
            tx_id: tx(u128::from(seq) * 10),
        };
        ProgressView {
            state: NodeState::Following,
            watermark: watermark.map(at),
            watermark_timestamp: None,
            head: at(head),
            confirmed_at: Some(confirmed_at),
            behind_since: None,
            epoch: Epoch(1),
            store: crate::node::StoreHealth::default(),
        }
    }

    #[test]
    fn a_floor_is_reached_at_its_commit_and_after_it() {
        let now = crate::clock::Clock::default().now();
        let nothing = Floor::default();
        let min_tx = |number| Floor {
            min_tx: Some(tx(number)),
            ..nothing
        };
        let min_seq = |seq| Floor {
            min_seq: Some(Seq(seq)),
            ..nothing
        };
        for (floor, watermark, reached) in [
            (nothing, None, true),
            (min_seq(0), None, false),
            (min_tx(50), Some(5), true),
            (min_tx(51), Some(5), false),
            (min_tx(51), Some(6), true),
            (min_seq(5), Some(5), true),
            (min_seq(6), Some(5), false),
            (
                Floor {
                    min_tx: Some(tx(50)),
                    ..min_seq(6)
                },
                Some(5),
                false,
            ),
        ] {
            assert_eq!(
                floor.is_reached(&view(watermark, 6, now), now),
                reached,
                "{floor:?} at {watermark:?}"
            );
        }
    }

    #[test]
    fn staleness_counts_from_the_last_look_at_the_log() {
        let now = crate::clock::Clock::default().now();
        let floor = |max| Floor {
            max_staleness_ms: Some(max),
            ..Floor::default()
        };
        let looked = view(Some(5), 5, now - chrono::Duration::milliseconds(200));
        assert!(floor(200).is_reached(&looked, now));
        assert!(!floor(199).is_reached(&looked, now));
        assert!(!floor(1_000_000).is_reached(&view(None, 5, now), now));
    }

    #[test]
    fn a_floor_that_is_not_reached_tells_what_the_node_has() {
        let now = crate::clock::Clock::default().now();
        let document = Floor {
            min_seq: Some(Seq(7)),
            ..Floor::default()
        }
        .not_reached(&view(Some(5), 7, now), now)
        .to_json();
        assert_eq!((&document["status"], &document["seq"]), (&503.into(), &5.into()));
        assert_eq!(document["tx_id"], tx(50).to_string());
        assert!(document["lag_ms"].is_u64());
    }
}
