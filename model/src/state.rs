//! One moment of the whole system: the store, every process, and what the outside world was told.

use crate::bounds::{Bounds, Budget};
use crate::store::{Kind, Record, Rows, Shown, Store, TxId, VersionMap};

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub store: Store,
    pub writers: Vec<Writer>,
    pub replicas: Vec<Replica>,
    /// A put of a record whose sender gave up waiting, or died: the store may still carry it out.
    pub in_flight: Option<Record>,
    /// Transactions whose client has its answer.
    pub acknowledged: Rows,
    /// Commits of which a client was told that they were not made.
    pub denied: Vec<TxId>,
    pub left: Budget,
    /// What a step did that no step may do.
    pub wrong: Option<Wrong>,
}

/// Wrongs that show in a step rather than in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// A writer committed although a newer one serves.
    FencedCommitted,
    /// A replica said that it is at the end of the log, and was not.
    FalseEnd,
    /// What a lease in force pinned was cleaned or trimmed.
    PinBroken,
}

/// Where a writer's process is: named after what it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WriterStep {
    Down,
    ReadHead,
    PutBarrier,
    ConfirmBarrier,
    Settle,
    RollForward,
    Serving,
    WriteLance(u8),
    PrepareGraph,
    PutRecord,
    ReadBack,
    Confirm,
    FinishGraph,
    Publish,
    Answer,
    Undo { redo: bool },
    Restore { table: u8, redo: bool },
    Clean,
    Trim,
}

/// A writer's process; all but `graph` is memory and gone with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Writer {
    pub step: WriterStep,
    pub epoch: u8,
    pub head: Option<Record>,
    /// What the next write of each table goes on top of.
    pub bases: VersionMap,
    /// What the commit at hand wrote.
    pub written: VersionMap,
    pub job: Kind,
    /// Whether a stranger's version came between base and written one.
    pub interfered: bool,
    pub redone: u8,
    /// Commits that it gave up.
    pub attempt: u8,
    /// Requests that the log answers.
    pub known: Rows,
    /// Versions below these are to be cleaned.
    pub cut: VersionMap,
    /// Records below this one are to be trimmed.
    pub floor: u8,
    pub graph: Option<Shown>,
}

impl Writer {
    /// No process; what it left on its disk.
    pub(crate) fn down(graph: Option<Shown>) -> Self {
        Self {
            step: WriterStep::Down,
            epoch: 0,
            head: None,
            bases: VersionMap::default(),
            written: VersionMap::default(),
            job: Kind::Barrier,
            interfered: false,
            redone: 0,
            attempt: 0,
            known: 0,
            cut: VersionMap::default(),
            floor: 0,
            graph,
        }
    }

    /// Back to waiting for jobs, with nothing of the last one in mind.
    pub(crate) fn serve(&mut self) {
        *self = Self {
            step: WriterStep::Serving,
            epoch: self.epoch,
            head: self.head,
            bases: self.bases,
            known: self.known,
            attempt: self.attempt,
            ..Self::down(self.graph)
        };
    }
}

/// Where a replica's following is: named after what it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplicaStep {
    RunOnce,
    Apply(Record),
    Build(Record),
    Renew,
}

/// What a lease in force pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    pub seq: u8,
    pub tables: VersionMap,
}

/// A snapshot on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Taking {
    Copied(Shown),
    PartsUp(Shown),
}

/// A replica's process, its disk and its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Replica {
    pub step: ReplicaStep,
    pub graph: Option<Shown>,
    pub lease: Option<Lease>,
    pub taking: Option<Taking>,
    /// An event waits.
    pub bell: bool,
    /// Whether the lease was in force whenever a cleaner looked.
    pub pinned: bool,
}

impl State {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let replica = Replica {
            step: ReplicaStep::RunOnce,
            graph: None,
            lease: None,
            taking: None,
            bell: false,
            pinned: false,
        };
        Self {
            store: Store::new(bounds),
            writers: vec![Writer::down(None); bounds.writers],
            replicas: vec![replica; bounds.replicas],
            in_flight: None,
            acknowledged: 0,
            denied: Vec::new(),
            left: bounds.budget,
            wrong: None,
        }
    }

    /// Processes of a role are alike: their order says nothing.
    pub(crate) fn sorted(mut self) -> Self {
        self.writers.sort_unstable();
        self.replicas.sort_unstable();
        self
    }

    /// Whether some writer holds a plan of what to clean or trim.
    pub(crate) fn cleaning(&self) -> bool {
        let steps = [WriterStep::Clean, WriterStep::Trim];
        self.writers.iter().any(|writer| steps.contains(&writer.step))
    }

    pub(crate) fn note(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }
}
