//! Every step that some process, or the world around it, may take, and the function of the sidecar that takes it.

use crate::bounds::{Bounds, Flaw};
use crate::replica::{too_many, usable_snapshot};
use crate::state::{Replica, ReplicaStep, State, Taking, Writer, WriterStep};

/// How a put of a commit record ends for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Answered,
    /// The store carries it out now, later or never, and no answer comes.
    Unanswered,
}

/// A step. The number is the process's place among those of its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Claim(usize),
    ReadHead(usize),
    PutBarrier(usize),
    ConfirmBarrier(usize),
    Settle(usize),
    RollForward(usize),
    Submit(usize, u8),
    WriteLance(usize, u8),
    PrepareGraph {
        writer: usize,
        fails: bool,
    },
    PutRecord(usize, Put),
    ReadBack(usize),
    Confirm(usize),
    FinishGraph(usize),
    Publish {
        writer: usize,
        lost: bool,
    },
    Answer(usize),
    Undo {
        writer: usize,
        redo: bool,
    },
    Restore {
        writer: usize,
        table: u8,
        redo: bool,
    },
    Beat(usize),
    Optimize(usize),
    PlanCleaning(usize),
    Clean(usize),
    Trim(usize),
    RunOnce(usize),
    Apply(usize),
    Build(usize),
    Renew(usize),
    RestoreSnapshot(usize),
    TakeSnapshot(usize),
    UploadParts(usize),
    PutMeta(usize),
    Retain(usize),
    /// kill -9.
    CrashWriter(usize),
    CrashReplica(usize),
    LoseDisk(usize),
    Expire(usize),
    /// A put whose sender does not wait any more reaches the store.
    Land,
    /// An event that no commit sent, or that comes again.
    ForgeEvent(usize),
}

impl Action {
    /// The function of the sidecar that does this, as `module::function` or `Type::function`; none for what nobody does on
    /// purpose.
    pub fn implemented_by(&self) -> Option<&'static str> {
        Some(match self {
            Action::Claim(_) => "takeover::claim",
            Action::ReadHead(_) => "CommitLog::head",
            Action::PutBarrier(_) => "takeover::barrier",
            Action::ConfirmBarrier(_) | Action::Confirm(_) => "Claimed::stands",
            Action::Undo { .. } => "takeover::holds",
            Action::Settle(_) => "takeover::settle",
            Action::RollForward(_) => "RunningWriter::take_over",
            Action::Submit(..) => "Session::commit_group",
            Action::WriteLance(..) => "Session::write_lance",
            Action::PrepareGraph { .. } => "Session::prepare_graph",
            Action::PutRecord(..) => "Session::put_record",
            Action::ReadBack(_) => "CommitLog::decide",
            Action::FinishGraph(_) => "Session::finish_graph",
            Action::Publish { .. } => "Session::publish",
            Action::Answer(_) => "answers::answer_to",
            Action::Restore { .. } => "Session::undo",
            Action::Beat(_) => "Session::beat",
            Action::Optimize(_) => "Session::commit_optimized",
            Action::PlanCleaning(_) => "pins::pins",
            Action::Clean(_) => "Cleaning::clean",
            Action::Trim(_) => "Cleaning::trim",
            Action::RunOnce(_) => "Replica::run_once",
            Action::Apply(_) => "Advancer::advance",
            Action::Build(_) => "Advancer::rebuild",
            Action::Renew(_) => "LeaseKeeper::renew",
            Action::RestoreSnapshot(_) => "bootstrap::bootstrap",
            Action::TakeSnapshot(_) => "freeze::freeze",
            Action::UploadParts(_) => "Upload::send_part",
            Action::PutMeta(_) => "Upload::complete",
            Action::Retain(_) => "retention::carry_out",
            Action::CrashWriter(_)
            | Action::CrashReplica(_)
            | Action::LoseDisk(_)
            | Action::Expire(_)
            | Action::Land
            | Action::ForgeEvent(_) => return None,
        })
    }
}

/// What may happen next: every process's next step, and every fault that the budget still has.
pub(crate) fn possible(bounds: &Bounds, state: &State, actions: &mut Vec<Action>) {
    for (at, writer) in state.writers.iter().enumerate() {
        of_writer(bounds, state, at, writer, actions);
        if writer.step != WriterStep::Down && state.left.crashes > 0 {
            actions.push(Action::CrashWriter(at));
        }
    }
    for (at, replica) in state.replicas.iter().enumerate() {
        of_replica(bounds, state, at, replica, actions);
        faults_of_replica(bounds, state, at, replica, actions);
    }
    if state.in_flight.is_some() {
        actions.push(Action::Land);
    }
}

fn of_writer(bounds: &Bounds, state: &State, at: usize, writer: &Writer, actions: &mut Vec<Action>) {
    let left = &state.left;
    match writer.step {
        WriterStep::Down => {
            if left.claims > 0 {
                actions.push(Action::Claim(at));
            }
        }
        WriterStep::ReadHead => actions.push(Action::ReadHead(at)),
        WriterStep::PutBarrier => actions.push(Action::PutBarrier(at)),
        WriterStep::ConfirmBarrier => actions.push(Action::ConfirmBarrier(at)),
        WriterStep::Settle => actions.push(Action::Settle(at)),
        WriterStep::RollForward => actions.push(Action::RollForward(at)),
        WriterStep::Serving => {
            let open = (0..bounds.transactions).filter(|number| state.acknowledged & (1 << number) == 0);
            actions.extend(open.map(|number| Action::Submit(at, number)));
            if state.store.epoch != writer.epoch {
                actions.push(Action::Beat(at));
            }
            if left.optimizes > 0 {
                actions.push(Action::Optimize(at));
            }
            if left.cleanings > 0 {
                actions.push(Action::PlanCleaning(at));
            }
        }
        WriterStep::WriteLance(table) => actions.push(Action::WriteLance(at, table)),
        WriterStep::PrepareGraph => {
            actions.push(Action::PrepareGraph {
                writer: at,
                fails: false,
            });
            if left.graph_failures > 0 {
                actions.push(Action::PrepareGraph {
                    writer: at,
                    fails: true,
                });
            }
        }
        WriterStep::PutRecord => {
            actions.push(Action::PutRecord(at, Put::Answered));
            if left.unknown > 0 && state.in_flight.is_none() {
                actions.push(Action::PutRecord(at, Put::Unanswered));
            }
        }
        WriterStep::ReadBack => actions.push(Action::ReadBack(at)),
        WriterStep::Confirm => actions.push(Action::Confirm(at)),
        WriterStep::FinishGraph => actions.push(Action::FinishGraph(at)),
        WriterStep::Publish => {
            actions.push(Action::Publish {
                writer: at,
                lost: false,
            });
            if left.lost_events > 0 {
                actions.push(Action::Publish {
                    writer: at,
                    lost: true,
                });
            }
        }
        WriterStep::Answer => actions.push(Action::Answer(at)),
        WriterStep::Undo { redo } => actions.push(Action::Undo { writer: at, redo }),
        WriterStep::Restore { table, redo } => actions.push(Action::Restore {
            writer: at,
            table,
            redo,
        }),
        WriterStep::Clean => actions.push(Action::Clean(at)),
        WriterStep::Trim => actions.push(Action::Trim(at)),
    }
}

fn of_replica(bounds: &Bounds, state: &State, at: usize, replica: &Replica, actions: &mut Vec<Action>) {
    match replica.step {
        ReplicaStep::RunOnce => {
            if replica.graph.is_none() && usable_snapshot(state).is_some() {
                actions.push(Action::RestoreSnapshot(at));
            } else if replica.bell || bounds.flaw != Some(Flaw::NoPolling) {
                actions.push(Action::RunOnce(at));
            }
            if replica.graph.is_some() && replica.taking.is_none() && state.left.snapshots > 0 {
                actions.push(Action::TakeSnapshot(at));
            }
            if too_many(state) {
                actions.push(Action::Retain(at));
            }
        }
        ReplicaStep::Apply(_) => actions.push(Action::Apply(at)),
        ReplicaStep::Build(_) => actions.push(Action::Build(at)),
        ReplicaStep::Renew => actions.push(Action::Renew(at)),
    }
    match replica.taking {
        Some(Taking::Copied(_)) => actions.push(Action::UploadParts(at)),
        Some(Taking::PartsUp(_)) => actions.push(Action::PutMeta(at)),
        None => {}
    }
}

fn faults_of_replica(
    bounds: &Bounds,
    state: &State,
    at: usize,
    replica: &Replica,
    actions: &mut Vec<Action>,
) {
    let left = &state.left;
    let busy = replica.step != ReplicaStep::RunOnce || replica.taking.is_some();
    if left.crashes > 0 && busy {
        actions.push(Action::CrashReplica(at));
    }
    if left.lost_disks > 0 && replica.graph.is_some() {
        actions.push(Action::LoseDisk(at));
    }
    if left.expiries > 0 && replica.lease.is_some() {
        actions.push(Action::Expire(at));
    }
    if bounds.bells && left.forged_events > 0 && !replica.bell {
        actions.push(Action::ForgeEvent(at));
    }
}
