//! What comes after the faults: one fair run without any, from any state.
//!
//! Level-triggered recovery is what the protocol promises: whatever happened, once it stops happening everybody gets there. So
//! liveness is asked as a property of every single state, and needs no assumption about cycles.

use crate::action::{Action, Put};
use crate::bounds::Flaw;
use crate::protocol::Protocol;
use crate::replica::usable_snapshot;
use crate::state::{ReplicaStep, State, WriterStep};

/// Rounds in which every process takes a step; several times what the longest recovery within our bounds takes.
const ROUNDS: usize = 200;

/// Whether a run without faults ends with one serving writer, every node at the head, and every transaction answered.
pub(crate) fn converges(model: &Protocol, state: &State) -> bool {
    // What happens here is not what the search came by.
    let model = &Protocol::new(model.bounds, &[]);
    let mut state = state.clone();
    for _ in 0..ROUNDS {
        let before = state.clone();
        round(model, &mut state);
        if state == before {
            return settled(model, &state);
        }
    }
    settled(model, &state)
}

fn round(model: &Protocol, state: &mut State) {
    // A deployment runs one writer: another process starts only when none is left.
    if state.writers.iter().all(|writer| writer.step == WriterStep::Down) && model.bounds.writers > 0 {
        *state = model.after(state, Action::Claim(0));
    }
    // Steps sort the processes anew, so a round may ask one twice and another not; the next one makes up for it.
    for at in 0..state.writers.len() {
        if let Some(action) = writers_next(model, state, at) {
            *state = model.after(state, action);
        }
    }
    for at in 0..state.replicas.len() {
        if let Some(action) = replicas_next(model, state, at) {
            *state = model.after(state, action);
        }
    }
}

fn writers_next(model: &Protocol, state: &State, at: usize) -> Option<Action> {
    let writer = &state.writers[at];
    Some(match writer.step {
        WriterStep::Down => return None,
        WriterStep::ReadHead => Action::ReadHead(at),
        WriterStep::PutBarrier => Action::PutBarrier(at),
        WriterStep::ConfirmBarrier => Action::ConfirmBarrier(at),
        WriterStep::Settle => Action::Settle(at),
        WriterStep::RollForward => Action::RollForward(at),
        WriterStep::Serving if state.store.epoch != writer.epoch => Action::Beat(at),
        WriterStep::Serving => {
            let mut open =
                (0..model.bounds.transactions).filter(|number| state.acknowledged & (1 << number) == 0);
            Action::Submit(at, open.next()?)
        }
        WriterStep::WriteLance(table) => Action::WriteLance(at, table),
        WriterStep::PrepareGraph => Action::PrepareGraph {
            writer: at,
            fails: false,
        },
        WriterStep::PutRecord => Action::PutRecord(at, Put::Answered),
        WriterStep::ReadBack => Action::ReadBack(at),
        WriterStep::Confirm => Action::Confirm(at),
        WriterStep::FinishGraph => Action::FinishGraph(at),
        WriterStep::Publish => Action::Publish {
            writer: at,
            lost: false,
        },
        WriterStep::Answer => Action::Answer(at),
        WriterStep::Undo { redo } => Action::Undo { writer: at, redo },
        WriterStep::Restore { table, redo } => Action::Restore {
            writer: at,
            table,
            redo,
        },
        WriterStep::Clean => Action::Clean(at),
        WriterStep::Trim => Action::Trim(at),
    })
}

fn replicas_next(model: &Protocol, state: &State, at: usize) -> Option<Action> {
    let replica = &state.replicas[at];
    Some(match replica.step {
        ReplicaStep::RunOnce if replica.graph.is_none() && usable_snapshot(state).is_some() => {
            Action::RestoreSnapshot(at)
        }
        ReplicaStep::RunOnce if model.bounds.flaw == Some(Flaw::NoPolling) && !replica.bell => return None,
        ReplicaStep::RunOnce => Action::RunOnce(at),
        ReplicaStep::Apply(_) => Action::Apply(at),
        ReplicaStep::Build(_) => Action::Build(at),
        ReplicaStep::Renew => Action::Renew(at),
    })
}

fn settled(model: &Protocol, state: &State) -> bool {
    let head = state.store.log.len();
    let at_head = |seq: u8| usize::from(seq) == head;
    let all = ((1_u16 << model.bounds.transactions) - 1) as u8;
    let serving = state
        .writers
        .iter()
        .filter(|writer| writer.step == WriterStep::Serving);
    let served = serving
        .filter(|writer| writer.graph.is_some_and(|graph| at_head(graph.seq)))
        .count();
    let followed = state
        .replicas
        .iter()
        .all(|replica| replica.graph.is_some_and(|graph| at_head(graph.seq)));
    (model.bounds.writers == 0 || served == 1)
        && followed
        && state.acknowledged == all
        && state.wrong.is_none()
}
