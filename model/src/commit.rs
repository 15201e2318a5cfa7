//! A writer's commit and its undo, one durable effect a step.

use crate::action::Put;
use crate::bounds::Flaw;
use crate::seen::Seen;
use crate::state::WriterStep;
use crate::store::{Kind, Record};
use crate::writer::{WriterTurn, bit, next_record};

/// How often a commit is written again after a stranger's version came in between.
const REDO_LIMIT: u8 = 1;

impl WriterTurn<'_> {
    /// `Session::commit_group`: a request that the log knows is answered from it.
    pub(crate) fn submit(&mut self, transaction: u8) {
        if self.me().known & (1 << transaction) != 0 && !self.broken(Flaw::NoKnownKeys) {
            self.seen.add(Seen::AnsweredFromLog);
            self.state.acknowledged |= 1 << transaction;
        } else {
            self.me().job = Kind::Data(transaction);
            self.go(WriterStep::WriteLance(0));
        }
    }

    /// `Session::write_lance`: one table. Lance rebases over a stranger's version and says so by the version's number.
    pub(crate) fn write_lance(&mut self, table: u8) {
        let index = usize::from(table);
        let base = self.me().bases[index];
        let newest = self.state.store.newest(index);
        let rows = self.state.store.rows(index, newest) | bit(self.me().job);
        let written = self.state.store.add(index, rows);
        self.me().written[index] = written;
        if newest != base && !self.broken(Flaw::NoVersionCheck) {
            self.seen.add(Seen::Interference);
            self.me().interfered = true;
        }
        if index + 1 < self.bounds.tables {
            self.go(WriterStep::WriteLance(table + 1));
        } else if self.me().interfered {
            self.go(WriterStep::Undo { redo: true });
        } else if self.bounds.budget.graph_failures > 0 {
            self.go(WriterStep::PrepareGraph);
        } else {
            self.before_record();
        }
    }

    /// `Session::prepare_graph`: nothing that anybody sees, unless it fails.
    pub(crate) fn prepare_graph(&mut self, fails: bool) {
        if fails {
            self.state.left.graph_failures -= 1;
            self.seen.add(Seen::GraphFailureUndone);
            self.go(WriterStep::Undo { redo: false });
        } else {
            self.before_record();
        }
    }

    fn before_record(&mut self) {
        if self.broken(Flaw::AnswerBeforeRecord) {
            self.state.acknowledged |= bit(self.me().job);
        }
        if self.broken(Flaw::GraphBeforeRecord) {
            let record = self.record();
            self.show(&record);
        }
        self.go(WriterStep::PutRecord);
    }

    fn record(&mut self) -> Record {
        let me = *self.me();
        next_record(&me, me.job, me.written)
    }

    fn show(&mut self, record: &Record) {
        let store = &self.state.store;
        let graph = self.state.writers[self.at].graph;
        self.me().graph = Some(match graph {
            Some(graph) if store.has(&graph.tables) => store.applied(&graph, record),
            _ => store.built(record),
        });
    }

    /// `Session::put_record`, one attempt.
    pub(crate) fn put_record(&mut self, outcome: Put) {
        let record = self.record();
        match outcome {
            Put::Answered => match self.put(record) {
                Ok(()) => self.committed(),
                Err(found) if found.tx_id == record.tx_id => self.committed(),
                Err(_) => {
                    self.seen.add(Seen::FencedByRecord);
                    self.stop();
                }
            },
            // It may land at once, later, or never.
            Put::Unanswered => {
                self.state.left.unknown -= 1;
                self.state.in_flight = Some(record);
                self.unknown();
            }
        }
    }

    fn unknown(&mut self) {
        self.go(if self.broken(Flaw::UnknownIsAbort) {
            WriterStep::Undo { redo: false }
        } else {
            WriterStep::ReadBack
        });
    }

    /// `CommitLog::decide`: what became of the put.
    pub(crate) fn read_back(&mut self) {
        let record = self.record();
        match self.state.store.read(record.seq) {
            Some(found) if found.tx_id == record.tx_id => {
                self.seen.add(Seen::UnknownCommitted);
                self.committed();
            }
            Some(_) => {
                self.seen.add(Seen::UnknownFenced);
                self.stop();
            }
            None => {
                self.seen.add(Seen::UnknownNotThere);
                self.go(WriterStep::PutRecord);
            }
        }
    }

    fn committed(&mut self) {
        self.go(if self.bounds.trims && !self.broken(Flaw::TrustEveryPut) {
            WriterStep::Confirm
        } else {
            WriterStep::FinishGraph
        });
    }

    /// `Claimed::stands`, for a commit.
    pub(crate) fn confirm(&mut self) {
        let record = self.record();
        if self.stands(&record) {
            self.go(WriterStep::FinishGraph);
        } else {
            self.seen.add(Seen::StrayRecordDetected);
            self.stop();
        }
    }

    /// `Session::finish_graph`.
    pub(crate) fn finish_graph(&mut self) {
        let record = self.record();
        if !self.broken(Flaw::GraphBeforeRecord) {
            self.show(&record);
        }
        let me = self.me();
        me.head = Some(record);
        me.bases = me.written;
        me.known |= bit(me.job);
        if me.job == Kind::Optimize {
            self.seen.add(Seen::Optimized);
        }
        if self.bounds.bells {
            self.go(WriterStep::Publish);
        } else {
            self.after_publish();
        }
    }

    /// `Session::publish`.
    pub(crate) fn publish(&mut self, lost: bool) {
        if lost {
            self.state.left.lost_events -= 1;
            self.seen.add(Seen::EventLost);
        } else {
            self.state
                .replicas
                .iter_mut()
                .for_each(|replica| replica.bell = true);
        }
        self.after_publish();
    }

    fn after_publish(&mut self) {
        match self.me().job {
            Kind::Data(_) => self.go(WriterStep::Answer),
            Kind::Barrier | Kind::Optimize => self.me().serve(),
        }
    }

    /// `answer_to`.
    pub(crate) fn answer(&mut self) {
        self.state.acknowledged |= bit(self.me().job);
        self.me().serve();
    }

    /// `Session::undo`, its look at `writer.json`.
    pub(crate) fn undo(&mut self, redo: bool) {
        if self.holds() {
            self.go(WriterStep::Restore { table: 0, redo });
        } else {
            self.seen.add(Seen::FencedInUndo);
            self.stop();
        }
    }

    /// `Session::undo`, its restores: one table, or the end of the undo. Looks at every table once: who else writes meanwhile
    /// shows at the next write.
    pub(crate) fn restore(&mut self, table: u8, redo: bool) {
        let committed = self.me().head.map_or_else(Default::default, |head| head.tables);
        let tables = committed.into_iter().enumerate().take(self.bounds.tables);
        for (index, committed) in tables.skip(usize::from(table)) {
            if self.state.store.newest(index) != self.me().bases[index] {
                let rows = self.state.store.rows(index, committed);
                let restored = self.state.store.add(index, rows);
                self.me().bases[index] = restored;
                let table = index as u8 + 1;
                return self.go(WriterStep::Restore { table, redo });
            }
        }
        let me = self.me();
        if redo && me.redone < REDO_LIMIT {
            me.redone += 1;
            me.interfered = false;
            me.written = Default::default();
            self.seen.add(Seen::Redone);
            self.go(WriterStep::WriteLance(0));
        } else {
            self.not_committed();
        }
    }

    /// The client hears that nothing was committed.
    fn not_committed(&mut self) {
        let tx_id = self.record().tx_id;
        if matches!(tx_id.kind, Kind::Data(_)) {
            self.state.denied.push(tx_id);
            self.state.denied.sort_unstable();
        }
        self.me().attempt += 1;
        self.me().serve();
    }

    /// `Session::beat` of a writer that was replaced.
    pub(crate) fn beat(&mut self) {
        self.seen.add(Seen::FencedByHeartbeat);
        self.stop();
    }
}
