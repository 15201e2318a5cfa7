//! A replica's steps: following the log, its lease, snapshots and restoring from them.

use crate::bounds::{Bounds, Flaw};
use crate::seen::{Seen, Sightings};
use crate::state::{Lease, Replica, ReplicaStep, State, Taking, Wrong};
use crate::store::{Record, Shown, Snapshot, TxId};

/// Snapshots that are kept.
const KEEP_LAST: usize = 1;

/// One replica's step.
pub(crate) struct ReplicaTurn<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) at: usize,
    pub(crate) bounds: &'a Bounds,
    pub(crate) seen: &'a Sightings,
}

impl ReplicaTurn<'_> {
    pub(crate) fn me(&mut self) -> &mut Replica {
        &mut self.state.replicas[self.at]
    }

    fn broken(&self, flaw: Flaw) -> bool {
        self.bounds.flaw == Some(flaw)
    }

    /// `Replica::run_once` until it knows what to do: reads the log after the watermark, and then whether the watermark's own
    /// record is still there; as trimming goes upwards, nothing after it is missing then. Only the schema's record proves
    /// nothing, as it is never trimmed: after that one a gap is looked for.
    pub(crate) fn run_once(&mut self) {
        self.me().bell = false;
        let Some(graph) = self.me().graph else {
            return self.join();
        };
        if self.broken(Flaw::EventIsTheLog) {
            return self.believe_event(graph);
        }
        let last = self.state.store.last_after(graph.seq);
        let own = self.state.store.read(graph.seq);
        let is_ours = own.is_some_and(|own| own.tx_id == graph.tx_id);
        let first = self.state.store.first_after(graph.seq);
        let gap = first.is_some_and(|first| first.seq != graph.seq + 1);
        let trimmed = !is_ours || gap && !self.broken(Flaw::OwnRecordIsProof);
        if trimmed && !self.broken(Flaw::TrimmedIsTheEnd) {
            if self.me().pinned {
                self.state.note(Wrong::PinBroken);
            }
            self.seen.add(Seen::JoinedAfterTrimming);
            return self.join();
        }
        match last {
            Some(last) => {
                if last.seq > graph.seq + 1 {
                    self.seen.add(Seen::Coalesced);
                }
                self.me().step = ReplicaStep::Apply(last);
            }
            None => {
                if usize::from(graph.seq) != self.state.store.log.len() {
                    self.state.note(Wrong::FalseEnd);
                }
                if self.me().lease != Some(lease(&graph)) {
                    self.me().step = ReplicaStep::Renew;
                }
            }
        }
    }

    /// `Replica::join`: from the head's record alone.
    fn join(&mut self) {
        if let Some(head) = self.state.store.head() {
            self.me().step = ReplicaStep::Build(head);
        }
    }

    /// `bootstrap::bootstrap` of a process without a graph: the newest usable snapshot, then the commits after it.
    pub(crate) fn restore_snapshot(&mut self) {
        if let Some(usable) = usable_snapshot(self.state) {
            self.seen.add(Seen::SnapshotRestored);
            let me = self.me();
            me.graph = Some(usable.of);
            me.step = ReplicaStep::Renew;
        }
    }

    /// `Advancer::advance` in place; where the base was cleaned, a rebuild at the head.
    pub(crate) fn apply(&mut self, target: Record) {
        let store = &self.state.store;
        let Some(graph) = self.state.replicas[self.at].graph else {
            return;
        };
        let shown = store.applied(&graph, &target);
        if store.has(&graph.tables) && store.has(&target.tables) {
            let me = self.me();
            me.graph = Some(shown);
            me.step = ReplicaStep::Renew;
            return;
        }
        if !store.has(&graph.tables) && self.state.replicas[self.at].pinned {
            self.state.note(Wrong::PinBroken);
        }
        let head = self.state.store.head();
        let newer = head.is_some_and(|head| head.seq > target.seq);
        self.me().step = match head {
            Some(head) if newer || !self.broken(Flaw::RebuildWaitsForHead) => {
                self.seen.add(Seen::RebuiltAfterCleaning);
                ReplicaStep::Build(head)
            }
            _ => ReplicaStep::RunOnce,
        };
    }

    /// `Advancer::rebuild`; where the versions were cleaned meanwhile, the next pass looks again.
    pub(crate) fn build(&mut self, target: Record) {
        if self.state.store.has(&target.tables) {
            let shown = self.state.store.built(&target);
            self.me().graph = Some(shown);
            self.me().step = ReplicaStep::Renew;
        } else {
            self.me().step = ReplicaStep::RunOnce;
        }
    }

    /// `LeaseKeeper::renew`.
    pub(crate) fn renew(&mut self) {
        let kept = self.me().lease.is_some() && self.me().pinned;
        let graph = self.me().graph;
        let there = graph.is_some_and(|graph| self.state.store.continues(&graph));
        // A plan that was made before the lease does not know of it.
        let in_time = there && !self.state.cleaning();
        let me = self.me();
        me.lease = me.graph.as_ref().map(lease);
        me.pinned = kept || in_time;
        me.step = ReplicaStep::RunOnce;
    }

    pub(crate) fn expire(&mut self) {
        self.state.left.expiries -= 1;
        let me = self.me();
        me.lease = None;
        me.pinned = false;
    }

    pub(crate) fn crash(&mut self) {
        self.state.left.crashes -= 1;
        let me = self.me();
        me.step = ReplicaStep::RunOnce;
        me.taking = None;
    }

    pub(crate) fn lose_disk(&mut self) {
        self.state.left.lost_disks -= 1;
        let me = self.me();
        me.step = ReplicaStep::RunOnce;
        (me.taking, me.graph, me.pinned) = (None, None, false);
    }

    /// Stops applying, copies the graph, goes on applying.
    pub(crate) fn take_snapshot(&mut self) {
        self.state.left.snapshots -= 1;
        let me = self.me();
        me.taking = me.graph.map(Taking::Copied);
    }

    /// `Upload::send_part`, all of them.
    pub(crate) fn upload_parts(&mut self) {
        let Some(Taking::Copied(of)) = self.me().taking else {
            return;
        };
        if self.broken(Flaw::MetaFirst) {
            self.put_meta(of, false);
        }
        self.me().taking = Some(Taking::PartsUp(of));
    }

    /// `Upload::complete`: from here on it is a snapshot.
    pub(crate) fn complete(&mut self) {
        let Some(Taking::PartsUp(of)) = self.me().taking else {
            return;
        };
        self.me().taking = None;
        if !self.broken(Flaw::MetaFirst) {
            self.put_meta(of, true);
            self.seen.add(Seen::SnapshotTaken);
        } else if let Some(torn) = self.state.store.snapshots.iter_mut().find(|found| found.of == of) {
            torn.whole = true;
        }
    }

    fn put_meta(&mut self, of: Shown, whole: bool) {
        let pinned = self.state.store.continues(&of) && !self.state.cleaning();
        let snapshot = Snapshot { of, whole, pinned };
        let snapshots = &mut self.state.store.snapshots;
        // The same commit's snapshot, taken again, has the same name.
        snapshots.retain(|found| found.of.seq != of.seq);
        snapshots.push(snapshot);
        snapshots.sort_unstable();
    }

    /// Retention: the oldest goes, its meta first; parts without a meta are no snapshot.
    pub(crate) fn retain(&mut self) {
        let broken = self.broken(Flaw::PartsDeletedFirst);
        let snapshots = &mut self.state.store.snapshots;
        if broken && snapshots[0].whole {
            snapshots[0].whole = false;
        } else {
            snapshots.remove(0);
            self.seen.add(Seen::SnapshotDropped);
        }
    }

    /// What acting on the event itself would be: whatever Lance has.
    fn believe_event(&mut self, graph: Shown) {
        let mut shown = graph;
        for (table, rows) in shown.rows.iter_mut().enumerate().take(self.bounds.tables) {
            let newest = self.state.store.newest(table);
            shown.tables[table] = newest;
            *rows = self.state.store.rows(table, newest);
        }
        shown.seq = self.state.store.log.len() as u8;
        shown.tx_id = self
            .state
            .store
            .head()
            .map_or(graph.tx_id, |head: Record| -> TxId { head.tx_id });
        self.me().graph = Some(shown);
    }
}

/// The newest snapshot that is whole and of a commit that the log still has.
pub(crate) fn usable_snapshot(state: &State) -> Option<Snapshot> {
    let store = &state.store;
    let usable = |snapshot: &&Snapshot| {
        let record = store.read(snapshot.of.seq);
        snapshot.whole && record.is_some_and(|record| record.tx_id == snapshot.of.tx_id)
    };
    store.snapshots.iter().rev().find(usable).copied()
}

/// Whether retention has something to delete.
pub(crate) fn too_many(state: &State) -> bool {
    state.store.snapshots.len() > KEEP_LAST
}

fn lease(graph: &Shown) -> Lease {
    Lease {
        seq: graph.seq,
        tables: graph.tables,
    }
}
