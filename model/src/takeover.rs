//! A writer's takeover, one durable effect a step: epoch, barrier, settled tables, local graph.

use crate::bounds::Flaw;
use crate::seen::Seen;
use crate::state::WriterStep;
use crate::store::{Kind, Record};
use crate::writer::{WriterTurn, bit, next_record};

impl WriterTurn<'_> {
    /// `takeover::claim`: its compare-and-swap is repeated until it succeeds, so it is one step.
    pub(crate) fn claim(&mut self) {
        self.state.store.epoch += 1;
        let epoch = self.state.store.epoch;
        self.me().epoch = epoch;
        self.go(WriterStep::ReadHead);
    }

    /// `takeover::barrier`, its look for the head.
    pub(crate) fn read_head(&mut self) {
        self.me().head = self.state.store.head();
        if self.broken(Flaw::NoBarrier) || self.broken(Flaw::RestoreBeforeBarrier) {
            self.go(WriterStep::Settle);
        } else {
            self.go(WriterStep::PutBarrier);
        }
    }

    /// `takeover::barrier`, one put.
    pub(crate) fn put_barrier(&mut self) {
        let me = *self.me();
        let newer = me.head.is_some_and(|head| head.tx_id.epoch > me.epoch);
        if newer && !self.broken(Flaw::BarrierOverNewerEpoch) {
            self.seen.add(Seen::FencedInBarrier);
            return self.stop();
        }
        let tables = me.head.map_or_else(Default::default, |head| head.tables);
        let record = next_record(&me, Kind::Barrier, tables);
        match self.put(record) {
            Ok(()) => {
                self.me().head = Some(record);
                self.go(if self.broken(Flaw::RestoreBeforeBarrier) {
                    WriterStep::RollForward
                } else if self.bounds.trims && !self.broken(Flaw::TrustEveryPut) {
                    WriterStep::ConfirmBarrier
                } else {
                    WriterStep::Settle
                });
            }
            Err(taken) if taken.tx_id.epoch > me.epoch => {
                self.seen.add(Seen::FencedInBarrier);
                self.stop();
            }
            Err(taken) => {
                self.seen.add(Seen::OldCommitBeforeBarrier);
                self.me().head = Some(taken);
            }
        }
    }

    /// `Claimed::stands`, for the barrier.
    pub(crate) fn confirm_barrier(&mut self) {
        let stands = self.me().head.is_some_and(|barrier| self.stands(&barrier));
        if stands {
            self.go(WriterStep::Settle);
        } else {
            self.seen.add(Seen::StrayRecordDetected);
            self.stop();
        }
    }

    /// `takeover::settle`: one table that needs it, or the end of it.
    pub(crate) fn settle(&mut self) {
        let committed = self.me().head.map_or_else(Default::default, |head| head.tables);
        for (table, committed) in committed.into_iter().enumerate().take(self.bounds.tables) {
            let newest = self.state.store.newest(table);
            if self.broken(Flaw::NoSettle) {
                self.me().bases[table] = newest;
            } else if self.me().written[table] != 0 {
                // Restored in an earlier step.
            } else if newest == committed {
                self.me().bases[table] = newest;
            } else {
                self.seen.add(Seen::StrayLeft);
                let rows = self.state.store.rows(table, committed);
                let restored = self.state.store.add(table, rows);
                self.me().bases[table] = restored;
                self.me().written[table] = restored;
                return;
            }
        }
        self.me().written = Default::default();
        self.go(if self.broken(Flaw::RestoreBeforeBarrier) {
            WriterStep::PutBarrier
        } else {
            WriterStep::RollForward
        });
    }

    /// `roll_forward`, and the keys of requests that the log knows.
    pub(crate) fn roll_forward(&mut self) {
        if let Some(head) = self.me().head {
            let store = &self.state.store;
            let found = self.state.writers[self.at].graph;
            let ours = found.filter(|found| {
                store
                    .read(found.seq)
                    .is_some_and(|record| record.tx_id == found.tx_id)
            });
            if found.is_some_and(|found| found.seq < head.seq) {
                self.seen.add(Seen::RolledForward);
            }
            let shown = match ours {
                Some(ours) if store.has(&ours.tables) => store.applied(&ours, &head),
                Some(_) if self.broken(Flaw::RollForwardGivesUp) => return self.stop(),
                _ if store.has(&head.tables) => {
                    if found.is_some() {
                        self.seen.add(Seen::WriterBuiltAgain);
                    }
                    store.built(&head)
                }
                _ => return self.stop(),
            };
            self.me().graph = Some(shown);
        }
        let head = self.me().head;
        self.me().known = self.known_before(head);
        let epoch = self.me().epoch;
        self.state.store.served = self.state.store.served.max(epoch);
        self.me().serve();
    }

    /// The requests that the log answers: read back from the head, no further than it is dense. What lies before a gap may be
    /// a stray record.
    fn known_before(&self, head: Option<Record>) -> u8 {
        let mut known = 0;
        let mut at = head;
        while let Some(record) = at {
            known |= bit(record.tx_id.kind);
            let before = self.state.store.read(record.seq - 1);
            at = before
                .filter(|before| record.previous == Some(before.tx_id) || self.broken(Flaw::KeysFromStrays));
        }
        known
    }
}
