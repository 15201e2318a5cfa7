//! What all of a writer's steps share: whose turn it is, its claim, its puts into the log.
//!
//! A writer that stalls is one whose next step is not taken for a while: every order of steps is searched.

use crate::bounds::{Bounds, Flaw};
use crate::seen::{Seen, Sightings};
use crate::state::{State, Writer, WriterStep, Wrong};
use crate::store::{Kind, Record, TxId};

/// One writer's step: the state to change, whose step it is, and what the search wants to know.
pub(crate) struct WriterTurn<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) at: usize,
    pub(crate) bounds: &'a Bounds,
    pub(crate) seen: &'a Sightings,
}

impl WriterTurn<'_> {
    pub(crate) fn me(&mut self) -> &mut Writer {
        &mut self.state.writers[self.at]
    }

    pub(crate) fn broken(&self, flaw: Flaw) -> bool {
        self.bounds.flaw == Some(flaw)
    }

    pub(crate) fn holds(&mut self) -> bool {
        let epoch = self.me().epoch;
        self.state.store.epoch == epoch
    }

    /// The process ends; its disk stays.
    pub(crate) fn stop(&mut self) {
        let graph = self.me().graph;
        *self.me() = Writer::down(graph);
    }

    pub(crate) fn go(&mut self, step: WriterStep) {
        self.me().step = step;
    }

    /// Whether a record that exists is a commit of the log: surely, while nobody claimed a newer epoch; else the commit after it
    /// tells. A place that was trimmed is free as well.
    pub(crate) fn stands(&mut self, record: &Record) -> bool {
        self.holds()
            || match self.state.store.first_after(record.seq) {
                None => true,
                Some(after) => after.seq == record.seq + 1 && after.previous == Some(record.tx_id),
            }
    }

    pub(crate) fn put(&mut self, record: Record) -> Result<(), Record> {
        put(self.state, self.seen, record)
    }
}

/// Puts a record, and watches: who may not commit, and what lands in a place that was trimmed.
pub(crate) fn put(state: &mut State, seen: &Sightings, record: Record) -> Result<(), Record> {
    let length = state.store.log.len();
    state.store.put_if_absent(record)?;
    if state.store.log.len() == length {
        seen.add(Seen::StrayRecord);
    } else if record.tx_id.epoch < state.store.served {
        state.note(Wrong::FencedCommitted);
    }
    Ok(())
}

/// The commit right after the writer's head.
pub(crate) fn next_record(writer: &Writer, kind: Kind, tables: [u8; 2]) -> Record {
    Record {
        seq: writer.head.map_or(1, |head| head.seq + 1),
        tx_id: TxId {
            epoch: writer.epoch,
            kind,
            attempt: writer.attempt,
        },
        previous: writer.head.map(|head| head.tx_id),
        tables,
    }
}

pub(crate) fn bit(job: Kind) -> u8 {
    match job {
        Kind::Data(transaction) => 1 << transaction,
        Kind::Barrier | Kind::Optimize => 0,
    }
}
