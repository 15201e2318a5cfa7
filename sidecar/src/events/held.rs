//! Events that wait for their commit to be applied, and when they need wait no longer. Pure.
//!
//! ```text
//! event ─┬─ not newer than the watermark ────────────────────────────> done: old
//!        └─ held ─┬─ the watermark reaches it ───────────────────────> done: applied
//!                 └─ the log was read to its end after it came, and
//!                    the watermark is still older: no such commit ───> done: forged
//! ```
//! The writer publishes after the commit record is durable, so a read that begins after the event came must find it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::ids::TxId;
use crate::node::ProgressView;

/// Held events; `T` is what acknowledges one.
#[derive(Debug)]
pub(super) struct Held<T> {
    waiting: BTreeMap<TxId, Vec<(DateTime<Utc>, T)>>,
}

/// What need wait no longer.
#[derive(Debug, PartialEq)]
pub(super) struct Settled<T> {
    pub(super) applied: Vec<T>,
    pub(super) forged: Vec<T>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> Held<T> {
    /// Takes an event that came at `at`; gives it back if its commit is applied already.
    pub(super) fn take(
        &mut self,
        tx_id: TxId,
        at: DateTime<Utc>,
        event: T,
        view: &ProgressView,
    ) -> Option<T> {
        if applied(tx_id, view) {
            return Some(event);
        }
        self.waiting.entry(tx_id).or_default().push((at, event));
        None
    }

    /// Everything that need not wait any longer, as far as `view` tells; `now` is of the clock that told when events came. One
    /// that seems to come from the future came before that clock went back: the next read of the log decides on it.
    pub(super) fn settle(&mut self, now: DateTime<Utc>, view: &ProgressView) -> Settled<T> {
        for (at, _) in self.waiting.values_mut().flatten() {
            *at = (*at).min(now);
        }
        let (mut done, mut forged) = (Vec::new(), Vec::new());
        while let Some(oldest) = self.waiting.first_entry()
            && applied(*oldest.key(), view)
        {
            done.extend(oldest.remove().into_iter().map(|(_, event)| event));
        }
        let Some(confirmed) = view.confirmed_at.filter(|_| view.lag_commits() == 0) else {
            return Settled {
                applied: done,
                forged,
            };
        };
        for events in self.waiting.values_mut() {
            forged.extend(
                events
                    .extract_if(.., |(at, _)| *at < confirmed)
                    .map(|(_, event)| event),
            );
        }
        self.waiting.retain(|_, events| !events.is_empty());
        Settled {
            applied: done,
            forged,
        }
    }

    /// All that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().flatten().map(|(_, event)| event)
    }
}

fn applied(tx_id: TxId, view: &ProgressView) -> bool {
    view.watermark.is_some_and(|watermark| tx_id <= watermark.tx_id)
}

#[cfg(test)]
mod tests {
    use chrono::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::commit_log::Position;
    use crate::ids::{Epoch, Seq};
    use crate::node::{Progress, Role};

    struct Node {
        progress: Progress,
        now: DateTime<Utc>,
        commits: Vec<TxId>,
    }

    impl Node {
        fn new() -> Self {
            let mut commits = vec![TxId::after(TxId::default(), 1_700_000_000_000)];
            for _ in 0..5 {
                commits.push(TxId::after(commits[commits.len() - 1], 1_700_000_000_000));
            }
            Self {
                progress: Progress::new(Role::Replica, Clock::default()),
                now: Utc::now(),
                commits,
            }
        }

        fn applied(&self, seq: usize) -> ProgressView {
            let position = Position {
                seq: Seq(seq as u64),
                tx_id: self.commits[seq],
            };
            self.progress.applied(position, self.now, Epoch(1));
            self.progress.view()
        }

        /// The log was read to its end, from `seconds` after the start of the test on.
        fn read_to_the_end(&self, seq: u64, seconds: i64) -> ProgressView {
            self.progress
                .confirmed(Seq(seq), self.now + Duration::seconds(seconds));
            self.progress.view()
        }
    }

    fn none() -> Settled<&'static str> {
        Settled {
            applied: vec![],
            forged: vec![],
        }
    }

    #[test]
    fn an_event_is_done_once_its_commit_or_a_later_one_is_applied() {
        let node = Node::new();
        let mut held = Held::default();
        let view = node.applied(2);
        assert_eq!(held.take(node.commits[1], node.now, "old", &view), Some("old"));
        assert_eq!(
            held.take(node.commits[2], node.now, "current", &view),
            Some("current")
        );
        for (seq, name) in [(3, "three"), (3, "three again"), (4, "four"), (5, "five")] {
            assert_eq!(held.take(node.commits[seq], node.now, name, &view), None);
        }
        assert_eq!(held.settle(node.now, &view), none());
        let settled = held.settle(node.now, &node.applied(4));
        assert_eq!(settled.applied, ["three", "three again", "four"]);
        assert_eq!(held.iter().copied().collect::<Vec<_>>(), ["five"]);
    }

    #[test]
    fn an_event_of_no_commit_is_found_out_by_a_read_that_began_after_it_came() {
        let node = Node::new();
        let mut held = Held::default();
        let view = node.applied(2);
        let came = node.now + Duration::seconds(10);
        assert_eq!(held.take(node.commits[5], came, "forged", &view), None);
        assert_eq!(
            held.settle(came, &node.read_to_the_end(2, 9)),
            none(),
            "that read began before"
        );
        // Commit 3 exists but is not applied: this node has not seen the end.
        node.progress.saw_head(
            Position {
                seq: Seq(3),
                tx_id: node.commits[3],
            },
            node.now,
        );
        assert_eq!(held.settle(came, &node.read_to_the_end(2, 11)), none());
        let _ = node.applied(3);
        let settled = held.settle(came, &node.read_to_the_end(3, 12));
        assert_eq!((settled.applied.len(), settled.forged), (0, vec!["forged"]));
        assert_eq!(held.iter().count(), 0);
    }

    #[test]
    fn an_event_from_before_the_clock_went_back_does_not_wait_until_that_time_comes_again() {
        let node = Node::new();
        let mut held = Held::default();
        let view = node.applied(2);
        let tomorrow = node.now + Duration::days(1);
        assert_eq!(held.take(node.commits[5], tomorrow, "forged", &view), None);
        assert_eq!(held.settle(node.now, &node.read_to_the_end(2, 0)), none());
        let settled = held.settle(node.now, &node.read_to_the_end(2, 1));
        assert_eq!(settled.forged, ["forged"]);
    }

    #[test]
    fn without_a_graph_everything_waits() {
        let node = Node::new();
        let mut held = Held::default();
        assert_eq!(
            held.take(node.commits[1], node.now, "first", &node.progress.view()),
            None
        );
        assert_eq!(held.settle(node.now, &node.progress.view()), none());
        assert_eq!(held.settle(node.now, &node.applied(1)).applied, ["first"]);
    }
}
