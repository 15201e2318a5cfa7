//! `/healthz` (restart me?) and `/readyz` (send me readers?), both from measured positions.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};

use super::ApiState;
use super::problem::{Problem, ProblemKind};
use super::status::shown_state;
use crate::node::{NodeState, ProgressView, Role};

/// 200 while the process serves; 503 once it is fenced and about to end.
pub(super) async fn healthz(State(state): State<Arc<ApiState>>) -> Result<&'static str, Problem> {
    match state.progress.view().state {
        NodeState::Fenced(detail) => Err(Problem::new(
            ProblemKind::Fenced,
            format!("this writer was fenced: {detail}"),
        )),
        _ => Ok("ok\n"),
    }
}

/// 200 when readers are welcome, else 503 with the bound that is not kept.
pub(super) async fn readyz(State(state): State<Arc<ApiState>>) -> Result<&'static str, Problem> {
    ready(&state).map(|()| "ready\n")
}

/// Whether the node is ready now.
pub(super) fn ready(state: &ApiState) -> Result<(), Problem> {
    let (bounds, view) = (state.readiness.borrow().clone(), state.progress.view());
    let node = Node {
        role: state.role,
        has_graph: state.local.current().is_some(),
        takes_writes: state.writer.get().is_some(),
        view: &ProgressView {
            state: shown_state(&view.state, &state.local),
            ..view
        },
    };
    node.ready(&bounds, state.progress.clock().now())
}

struct Node<'a> {
    role: Role,
    has_graph: bool,
    takes_writes: bool,
    view: &'a ProgressView,
}

impl Node<'_> {
    fn ready(&self, bounds: &crds::Readiness, now: DateTime<Utc>) -> Result<(), Problem> {
        let not_ready = |detail: String| Problem::new(ProblemKind::NotReady, detail);
        match &self.view.state {
            NodeState::Starting => return Err(not_ready("the node is starting".to_owned())),
            NodeState::Fenced(detail) => return Err(not_ready(format!("this writer was fenced: {detail}"))),
            NodeState::Diverged(detail) => {
                return Err(not_ready(format!("the graph differed from Lance: {detail}")));
            }
            NodeState::Building | NodeState::Following | NodeState::Degraded(_) => {}
        }
        if !self.has_graph {
            return Err(not_ready("the node has no graph yet".to_owned()));
        }
        match self.role {
            Role::Writer if self.takes_writes => Ok(()),
            Role::Writer => Err(not_ready("this writer has not taken over yet".to_owned())),
            Role::Replica => self.near_the_head(bounds, now),
        }
    }

    /// While the store does not answer nobody can commit or follow, and staleness grows on every replica alike: taking them all
    /// away from readers would turn its outage into ours. Who minds asks with `max_staleness_ms`.
    fn near_the_head(&self, bounds: &crds::Readiness, now: DateTime<Utc>) -> Result<(), Problem> {
        if self.view.confirmed_at.is_none() {
            let detail = "the log was not read to its end yet, so the lag is not known".to_owned();
            return Err(Problem::new(ProblemKind::NotReady, detail));
        }
        let lag_commits = self.view.lag_commits();
        let staleness_ms = self.view.staleness_ms(now).unwrap_or(u64::MAX);
        let max_staleness_ms = bounds.max_lag_seconds.saturating_mul(1000);
        let broken = if lag_commits > bounds.max_lag_commits {
            format!(
                "lag: expected at most {} commits (maxLagCommits), found {lag_commits}",
                bounds.max_lag_commits
            )
        } else if staleness_ms > max_staleness_ms && self.view.store.ok {
            format!("staleness: expected at most {max_staleness_ms} ms (maxLagSeconds), found {staleness_ms}")
        } else {
            return Ok(());
        };
        let problem = Problem::new(ProblemKind::NotReady, broken);
        Err(problem
            .with("lag_commits", lag_commits)
            .with("staleness_ms", staleness_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::Position;
    use crate::ids::{Epoch, Seq, TxId};

    fn view(state: NodeState, watermark: u64, head: u64, age_seconds: i64) -> (ProgressView, DateTime<Utc>) {
        let now = crate::clock::Clock::default().now();
        let at = |seq| Position {
            seq: Seq(seq),
            tx_id: TxId::default(),
        };
        let since = now - chrono::Duration::seconds(age_seconds);
        let view = ProgressView {
            state,
            watermark: Some(at(watermark)),
            watermark_timestamp: Some(since),
            head: at(head),
            confirmed_at: Some(since),
            behind_since: Some(since),
            epoch: Epoch(1),
            store: crate::node::StoreHealth::default(),
        };
        (view, now)
    }

    #[test]
    fn a_replica_is_ready_within_both_bounds_only() {
        let bounds = crds::Readiness {
            max_lag_commits: 10,
            max_lag_seconds: 30,
        };
        for (watermark, head, age_seconds, refused_for) in [
            (90, 100, 30, None),
            (89, 100, 1, Some("maxLagCommits")),
            (100, 100, 31, Some("maxLagSeconds")),
            (90, 100, 31, Some("maxLagSeconds")),
        ] {
            let (view, now) = view(NodeState::Following, watermark, head, age_seconds);
            let node = Node {
                role: Role::Replica,
                has_graph: true,
                takes_writes: false,
                view: &view,
            };
            let refused = node
                .ready(&bounds, now)
                .err()
                .map(|problem| problem.detail().to_owned());
            assert_eq!(refused.is_some(), refused_for.is_some(), "{refused:?}");
            assert!(
                refused
                    .unwrap_or_default()
                    .contains(refused_for.unwrap_or_default())
            );
        }
    }

    #[test]
    fn an_outage_of_the_store_takes_no_replica_from_its_readers() {
        let bounds = crds::Readiness {
            max_lag_commits: 10,
            max_lag_seconds: 30,
        };
        for (watermark, store_ok, ready) in [(100, true, false), (100, false, true), (89, false, false)] {
            let (mut view, now) = view(NodeState::Following, watermark, 100, 3600);
            view.store.ok = store_ok;
            let node = Node {
                role: Role::Replica,
                has_graph: true,
                takes_writes: false,
                view: &view,
            };
            assert_eq!(node.ready(&bounds, now).is_ok(), ready, "{watermark} {store_ok}");
        }
    }

    #[test]
    fn a_replica_that_never_saw_the_end_of_the_log_is_not_ready() {
        for store_ok in [true, false] {
            let (mut view, now) = view(NodeState::Following, 100, 100, 0);
            view.confirmed_at = None;
            view.store.ok = store_ok;
            let node = Node {
                role: Role::Replica,
                has_graph: true,
                takes_writes: false,
                view: &view,
            };
            let refused = node.ready(&crds::Readiness::default(), now).unwrap_err();
            assert!(refused.detail().contains("the log"), "{}", refused.detail());
        }
    }

    #[test]
    fn nobody_is_ready_who_starts_is_fenced_or_has_no_graph() {
        let fenced = NodeState::Fenced("by epoch 2".to_owned());
        let degraded = NodeState::Degraded("the store is away".to_owned());
        let diverged = NodeState::Diverged("table Package: a row is missing".to_owned());
        for (state, role, has_graph, takes_writes, ready) in [
            (NodeState::Following, Role::Replica, true, false, true),
            (NodeState::Building, Role::Replica, true, false, true),
            (degraded, Role::Replica, true, false, true),
            (NodeState::Following, Role::Replica, false, false, false),
            (NodeState::Starting, Role::Replica, true, false, false),
            (NodeState::Following, Role::Writer, true, true, true),
            (NodeState::Following, Role::Writer, true, false, false),
            (fenced, Role::Writer, true, true, false),
            (diverged.clone(), Role::Replica, true, false, false),
            (diverged, Role::Writer, true, true, false),
        ] {
            let (view, now) = view(state, 5, 5, 0);
            let node = Node {
                role,
                has_graph,
                takes_writes,
                view: &view,
            };
            assert_eq!(
                node.ready(&crds::Readiness::default(), now).is_ok(),
                ready,
                "{role:?} {:?}",
                view.state
            );
        }
    }
}
