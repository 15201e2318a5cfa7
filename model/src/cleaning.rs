//! What the writer does between commits to keep the store small: optimize commits, cleaning of versions, trimming of the log.

use crate::bounds::Flaw;
use crate::seen::Seen;
use crate::state::{Lease, WriterStep};
use crate::store::Kind;
use crate::writer::WriterTurn;

/// Records at the beginning that are never trimmed.
const SCHEMA: usize = 1;

impl WriterTurn<'_> {
    /// Files rewritten, rows the same; from here on a commit like any other.
    pub(crate) fn optimize(&mut self) {
        self.state.left.optimizes -= 1;
        self.me().job = Kind::Optimize;
        self.me().step = WriterStep::WriteLance(0);
    }

    /// Reads the pins: what is below all of them may go. The epoch is looked at before.
    ///
    /// Pins are the head, leases in force, retained snapshots, and requests that a client may still repeat (the window of
    /// idempotency keys).
    pub(crate) fn plan_cleaning(&mut self) {
        if !self.holds() {
            return self.stop();
        }
        self.state.left.cleanings -= 1;
        let Some(head) = self.me().head else { return };
        let mut pins = vec![Lease {
            seq: head.seq,
            tables: head.tables,
        }];
        if !self.broken(Flaw::CleanIgnoresLeases) {
            pins.extend(self.state.replicas.iter().filter_map(|replica| replica.lease));
        }
        if !self.broken(Flaw::CleanIgnoresSnapshots) {
            pins.extend(self.state.store.snapshots.iter().map(|snapshot| Lease {
                seq: snapshot.of.seq,
                tables: snapshot.of.tables,
            }));
        }
        let mut cut = head.tables;
        for (table, cut) in cut.iter_mut().enumerate() {
            *cut = pins.iter().map(|pin| pin.tables[table]).min().unwrap_or(*cut);
        }
        let repeatable = self
            .state
            .store
            .log
            .iter()
            .find_map(|slot| match slot.committed.tx_id.kind {
                Kind::Data(transaction) => {
                    (self.state.acknowledged & (1 << transaction) == 0).then_some(slot.committed.seq)
                }
                Kind::Barrier | Kind::Optimize => None,
            });
        let floor = pins.iter().map(|pin| pin.seq).chain(repeatable).min();
        let me = self.me();
        me.cut = cut;
        me.floor = floor.unwrap_or(0);
        me.step = WriterStep::Clean;
    }

    /// Deletes the versions below the cut. A writer that was replaced since it planned still does no harm: the cut is old.
    pub(crate) fn clean(&mut self) {
        let me = *self.me();
        let listed_late = self.broken(Flaw::CleanListsLate);
        let known = me.head.map_or_else(Default::default, |head| head.tables);
        for (table, versions) in self.state.store.tables.iter_mut().enumerate() {
            for (number, version) in versions.iter_mut().enumerate() {
                if number < usize::from(me.cut[table]) || listed_late && number > usize::from(known[table]) {
                    version.cleaned = true;
                    self.seen.add(Seen::Cleaned);
                }
            }
        }
        self.me().step = WriterStep::Trim;
        self.end_of_trimming();
    }

    /// Deletes the oldest record below the floor. The first one stays: as the schema's it is needed for ever.
    pub(crate) fn trim(&mut self) {
        let floor = usize::from(self.me().floor);
        let below = self
            .state
            .store
            .log
            .iter_mut()
            .take(floor.saturating_sub(1))
            .skip(SCHEMA);
        if let Some(slot) = below.into_iter().find(|slot| slot.object.is_some()) {
            slot.object = None;
            self.seen.add(Seen::Trimmed);
        }
        self.end_of_trimming();
    }

    fn end_of_trimming(&mut self) {
        let floor = usize::from(self.me().floor);
        let mut below = self
            .state
            .store
            .log
            .iter()
            .take(floor.saturating_sub(1))
            .skip(SCHEMA);
        if !self.bounds.trims || below.all(|slot| slot.object.is_none()) {
            self.me().serve();
        }
    }
}
