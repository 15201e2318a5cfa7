//! Which processes should run, which do, and what to do about the difference.
//!
//! ```text
//!             Start            exited (unexpected)
//! (wanted) ─────────> Running ────────────────────> Waiting ── backoff is over ──> Start
//!                        │ surplus, restart, stop
//!                        └── Terminate ──> Stopping ── exited ──> gone, or Start at once if it is wanted
//!                                             └── grace is over ──> Kill
//! ```
//! Synchronous and pure: time is an argument, actions are returned.
//!
//! Owns: order (the writer stops after all replicas), grace, backoff. Does not own: doing any of it (`process`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Wait before the first restart; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// Who ran so long before it died starts with the first backoff again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Time from SIGTERM to SIGKILL for a surplus replica, or a writer that is restarted.
const RESTART_GRACE: Duration = Duration::from_secs(10);
/// The same when everything stops.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// One of the graph's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChildId {
    Writer,
    /// Counted from 1.
    Replica(u16),
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer => f.write_str("writer"),
            Self::Replica(number) => write!(f, "replica-{number}"),
        }
    }
}

/// What should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// False stops everything, the writer last.
    pub(super) running: bool,
    pub(super) replicas: u16,
    /// A writer that was started for a lower revision is restarted.
    pub(super) writer_revision: u64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start(ChildId),
    /// SIGTERM.
    Terminate(ChildId),
    /// SIGKILL.
    Kill(ChildId),
}

/// Where one process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running {
        since: Instant,
        revision: u64,
        failures: u32,
    },
    Stopping {
        kill_at: Instant,
        is_killed: bool,
    },
    Waiting {
        until: Instant,
        failures: u32,
    },
}

/// The processes that exist or will be started again.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) wanted: Wanted,
    children: BTreeMap<ChildId, State>,
}

impl Plan {
    /// Nothing runs yet.
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            children: BTreeMap::new(),
        }
    }

    /// What to do at `now`. Every action is taken to be done: a start that fails is reported as an exit.
    pub(super) fn decide(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.stop_unwanted(now, &mut actions);
        if self.wanted.running {
            let replicas = (1..=self.wanted.replicas).map(ChildId::Replica);
            for id in std::iter::once(ChildId::Writer).chain(replicas) {
                let failures = match self.children.get(&id) {
                    None => 0,
                    Some(State::Waiting { until, failures }) if *until <= now => *failures,
                    Some(_) => continue,
                };
                let revision = self.wanted.writer_revision;
                self.children.insert(
                    id,
                    State::Running {
                        since: now,
                        revision,
                        failures,
                    },
                );
                actions.push(Action::Start(id));
            }
        }
        actions
    }

    fn stop_unwanted(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Wanted {
            running,
            replicas,
            writer_revision,
        } = self.wanted;
        let is_surplus = |id: ChildId| matches!(id, ChildId::Replica(number) if number > replicas);
        self.children.retain(|id, state| {
            let is_waiting = matches!(state, State::Waiting { .. });
            !is_waiting || (running && !is_surplus(*id))
        });
        let only_writer_is_left = self.children.keys().all(|id| *id == ChildId::Writer);
        let must_stop = |id: ChildId, revision: u64| match id {
            ChildId::Writer if running => revision < writer_revision,
            ChildId::Writer => only_writer_is_left,
            ChildId::Replica(_) => !running || is_surplus(id),
        };
        for (&id, state) in &mut self.children {
            match *state {
                State::Running { revision, .. } if must_stop(id, revision) => {
                    let grace = if running { RESTART_GRACE } else { STOP_GRACE };
                    *state = State::Stopping {
                        kill_at: now + grace,
                        is_killed: false,
                    };
                    actions.push(Action::Terminate(id));
                }
                State::Stopping {
                    kill_at,
                    is_killed: false,
                } if kill_at <= now => {
                    *state = State::Stopping {
                        kill_at,
                        is_killed: true,
                    };
                    actions.push(Action::Kill(id));
                }
                State::Running { .. } | State::Stopping { .. } | State::Waiting { .. } => {}
            }
        }
    }

    /// A process ended, or could not be started. Returns the wait before its restart where it was not asked to end.
    pub(super) fn exited(&mut self, id: ChildId, now: Instant) -> Option<Duration> {
        match self.children.remove(&id)? {
            State::Running { since, failures, .. } => {
                let failures = if now.duration_since(since) >= HEALTHY_AFTER {
                    0
                } else {
                    failures
                };
                let backoff = FIRST_BACKOFF
                    .saturating_mul(2_u32.saturating_pow(failures))
                    .min(LONGEST_BACKOFF);
                let failures = failures.saturating_add(1);
                self.children.insert(
                    id,
                    State::Waiting {
                        until: now + backoff,
                        failures,
                    },
                );
                Some(backoff)
            }
            State::Stopping { .. } | State::Waiting { .. } => None,
        }
    }

    /// Waits for nobody any more: kills every process that exists.
    pub(super) fn hurry(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (&id, state) in &mut self.children {
            if !matches!(
                state,
                State::Stopping { is_killed: true, .. } | State::Waiting { .. }
            ) {
                *state = State::Stopping {
                    kill_at: now,
                    is_killed: true,
                };
                actions.push(Action::Kill(id));
            }
        }
        actions
    }

    /// Whether no process exists or will be started.
    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The processes that exist or will be started again, the writer first, each with a word for its state.
    pub(super) fn children(&self) -> impl Iterator<Item = (ChildId, &'static str)> {
        self.children.iter().map(|(id, state)| {
            let word = match state {
                State::Running { .. } => "starting",
                State::Stopping { .. } => "stopping",
                State::Waiting { .. } => "restarting",
            };
            (*id, word)
        })
    }
}

#[cfg(test)]
mod tests;
