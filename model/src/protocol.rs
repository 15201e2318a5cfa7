//! The state machine: bounds in, states and steps out.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::action::{self, Action, Put};
use crate::bounds::Bounds;
use crate::properties;
use crate::replica::ReplicaTurn;
use crate::seen::{Seen, Sightings};
use crate::state::{ReplicaStep, State};
use crate::writer::{self, WriterTurn};

/// The protocol within bounds. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Protocol {
    pub bounds: Bounds,
    /// Behaviour that the search must come by.
    pub expected: Vec<Seen>,
    pub seen: Arc<Sightings>,
}

impl Protocol {
    pub fn new(bounds: Bounds, expected: &[Seen]) -> Self {
        Self {
            bounds,
            expected: expected.to_vec(),
            seen: Arc::default(),
        }
    }

    /// The state after `action`.
    pub fn after(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        self.take(&mut next, action);
        next.sorted()
    }

    fn take(&self, state: &mut State, action: Action) {
        match action {
            Action::Claim(_) => state.left.claims = state.left.claims.saturating_sub(1),
            Action::CrashWriter(_) => state.left.crashes -= 1,
            Action::ForgeEvent(at) => {
                state.left.forged_events -= 1;
                state.replicas[at].bell = true;
                return self.seen.add(Seen::EventForged);
            }
            Action::Land => {
                if let Some(record) = state.in_flight.take() {
                    let landed = writer::put(state, &self.seen, record);
                    self.seen.add(match landed {
                        Ok(()) => Seen::LatePutLanded,
                        Err(_) => Seen::LatePutRefused,
                    });
                }
                return;
            }
            _ => {}
        }
        match action {
            Action::Claim(at) => self.writer(state, at).claim(),
            Action::ReadHead(at) => self.writer(state, at).read_head(),
            Action::PutBarrier(at) => self.writer(state, at).put_barrier(),
            Action::ConfirmBarrier(at) => self.writer(state, at).confirm_barrier(),
            Action::Settle(at) => self.writer(state, at).settle(),
            Action::RollForward(at) => self.writer(state, at).roll_forward(),
            Action::Submit(at, transaction) => self.writer(state, at).submit(transaction),
            Action::WriteLance(at, table) => self.writer(state, at).write_lance(table),
            Action::PrepareGraph { writer: at, fails } => self.writer(state, at).prepare_graph(fails),
            Action::PutRecord(at, outcome) => self.writer(state, at).put_record(outcome),
            Action::ReadBack(at) => self.writer(state, at).read_back(),
            Action::Confirm(at) => self.writer(state, at).confirm(),
            Action::FinishGraph(at) => self.writer(state, at).finish_graph(),
            Action::Publish { writer: at, lost } => self.writer(state, at).publish(lost),
            Action::Answer(at) => self.writer(state, at).answer(),
            Action::Undo { writer: at, redo } => self.writer(state, at).undo(redo),
            Action::Restore {
                writer: at,
                table,
                redo,
            } => self.writer(state, at).restore(table, redo),
            Action::Beat(at) => self.writer(state, at).beat(),
            Action::Optimize(at) => self.writer(state, at).optimize(),
            Action::PlanCleaning(at) => self.writer(state, at).plan_cleaning(),
            Action::Clean(at) => self.writer(state, at).clean(),
            Action::Trim(at) => self.writer(state, at).trim(),
            Action::CrashWriter(at) => self.writer(state, at).stop(),
            _ => self.take_replica(state, action),
        }
    }

    fn writer<'a>(&'a self, state: &'a mut State, at: usize) -> WriterTurn<'a> {
        let (bounds, seen) = (&self.bounds, self.seen.as_ref());
        WriterTurn {
            state,
            at,
            bounds,
            seen,
        }
    }

    fn replica<'a>(&'a self, state: &'a mut State, at: usize) -> ReplicaTurn<'a> {
        let (bounds, seen) = (&self.bounds, self.seen.as_ref());
        ReplicaTurn {
            state,
            at,
            bounds,
            seen,
        }
    }

    fn take_replica(&self, state: &mut State, action: Action) {
        match action {
            Action::RunOnce(at) => self.replica(state, at).run_once(),
            Action::Apply(at) | Action::Build(at) => {
                let mut turn = self.replica(state, at);
                match turn.me().step {
                    ReplicaStep::Apply(target) => turn.apply(target),
                    ReplicaStep::Build(target) => turn.build(target),
                    ReplicaStep::RunOnce | ReplicaStep::Renew => {}
                }
            }
            Action::Renew(at) => self.replica(state, at).renew(),
            Action::TakeSnapshot(at) => self.replica(state, at).take_snapshot(),
            Action::UploadParts(at) => self.replica(state, at).upload_parts(),
            Action::PutMeta(at) => self.replica(state, at).complete(),
            Action::RestoreSnapshot(at) => self.replica(state, at).restore_snapshot(),
            Action::Retain(at) => self.replica(state, at).retain(),
            Action::CrashReplica(at) => self.replica(state, at).crash(),
            Action::LoseDisk(at) => self.replica(state, at).lose_disk(),
            Action::Expire(at) => self.replica(state, at).expire(),
            _ => {}
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Beyond a wrong there is nothing to learn.
        if state.wrong.is_none() {
            action::possible(&self.bounds, state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let next = self.after(state, action);
        (next != *state).then_some(next)
    }

    fn format_action(&self, action: &Action) -> String {
        match action.implemented_by() {
            Some(function) if !matches!(action, Action::PutRecord(_, Put::Unanswered)) => {
                format!("{action:?} ({function})")
            }
            _ => format!("{action:?}"),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::properties(self)
    }
}
