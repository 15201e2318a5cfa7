//! What is in the store, and what the log ever held.
//!
//! Objects change atomically, as the store's contract says: put-if-absent and compare-and-swap are one step each. What is kept
//! here beyond the objects (`Slot::committed`, rows of cleaned versions) is the observer's memory, which no process reads.

use crate::bounds::Bounds;

/// Most tables that a search may have.
pub const TABLES: usize = 2;
/// Rows of a table: a bit per client transaction, as each transaction writes its own row to every table.
pub type Rows = u8;
/// A Lance version per table: an index into its versions.
pub type VersionMap = [u8; TABLES];

/// What a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Barrier,
    Data(u8),
    Optimize,
}

/// What identifies a record beyond its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxId {
    pub epoch: u8,
    pub kind: Kind,
    /// Commits that this writer gave up before this one.
    pub attempt: u8,
}

/// `commits/<seq>.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    pub seq: u8,
    pub tx_id: TxId,
    pub previous: Option<TxId>,
    pub tables: VersionMap,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The commit, for ever.
    pub committed: Record,
    /// The object that is there now: none once trimmed; a stray one if somebody put it after that.
    pub object: Option<Record>,
}

/// One version of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    pub rows: Rows,
    pub cleaned: bool,
}

/// What a graph holds: a commit by its record, and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shown {
    pub seq: u8,
    pub tx_id: TxId,
    pub tables: VersionMap,
    pub rows: [Rows; TABLES],
}

/// A snapshot that has its meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Snapshot {
    pub of: Shown,
    /// Whether all of its parts are there.
    pub whole: bool,
    /// Whether its versions were pinned in time: no cleaning was planned before the meta was there.
    pub pinned: bool,
}

/// The store, and the observer's memory of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Store {
    pub log: Vec<Slot>,
    /// `writer.json`; 0 before the first claim.
    pub epoch: u8,
    pub tables: [Vec<Version>; TABLES],
    pub snapshots: Vec<Snapshot>,
    /// The greatest epoch that ever served.
    pub served: u8,
}

impl Store {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let mut store = Self::default();
        for table in store.tables.iter_mut().take(bounds.tables) {
            table.push(Version {
                rows: 0,
                cleaned: false,
            });
        }
        store
    }

    /// `CommitLog::read`.
    pub fn read(&self, seq: u8) -> Option<Record> {
        let slot = self.log.get(usize::from(seq.checked_sub(1)?))?;
        slot.object
    }

    /// `CommitLog::head`, by listing: the last object. The head is never trimmed.
    pub fn head(&self) -> Option<Record> {
        self.log.iter().rev().find_map(|slot| slot.object)
    }

    /// `CommitLog::read_after`: dense from `after` on; the last of them.
    pub fn last_after(&self, after: u8) -> Option<Record> {
        let following = self.log.get(usize::from(after)..).unwrap_or_default();
        following.iter().map_while(|slot| slot.object).last()
    }

    /// The first object after `seq`, by listing.
    pub fn first_after(&self, seq: u8) -> Option<Record> {
        let following = self.log.get(usize::from(seq)..).unwrap_or_default();
        following.iter().find_map(|slot| slot.object)
    }

    /// Whether a node at this commit can go on from it: its record and versions are there, and nothing after it was trimmed.
    pub fn continues(&self, shown: &Shown) -> bool {
        let own = self.read(shown.seq);
        let next = self.first_after(shown.seq);
        self.has(&shown.tables)
            && own.is_some_and(|own| own.tx_id == shown.tx_id)
            && next.is_none_or(|next| next.seq == shown.seq + 1)
    }

    /// Put-if-absent of a record; `Err` is what is there. In a free place that was trimmed it makes a stray object.
    pub fn put_if_absent(&mut self, record: Record) -> Result<(), Record> {
        let index = usize::from(record.seq) - 1;
        if let Some(slot) = self.log.get_mut(index) {
            return match slot.object {
                Some(found) => Err(found),
                None => {
                    slot.object = Some(record);
                    Ok(())
                }
            };
        }
        debug_assert_eq!(index, self.log.len(), "writers aim right after a head");
        self.log.push(Slot {
            committed: record,
            object: Some(record),
        });
        Ok(())
    }

    pub fn newest(&self, table: usize) -> u8 {
        self.tables[table].len() as u8 - 1
    }

    pub fn rows(&self, table: usize, version: u8) -> Rows {
        self.tables[table][usize::from(version)].rows
    }

    /// Adds a version with `rows`.
    pub fn add(&mut self, table: usize, rows: Rows) -> u8 {
        self.tables[table].push(Version { rows, cleaned: false });
        self.newest(table)
    }

    /// Whether every table still has the version that `map` names.
    pub fn has(&self, map: &VersionMap) -> bool {
        let mut tables = self.tables.iter().zip(map).filter(|(table, _)| !table.is_empty());
        tables.all(|(table, version)| !table[usize::from(*version)].cleaned)
    }

    /// A graph built from the tables at `record`.
    pub fn built(&self, record: &Record) -> Shown {
        let mut rows = [0; TABLES];
        for (table, rows) in rows.iter_mut().enumerate() {
            if !self.tables[table].is_empty() {
                *rows = self.rows(table, record.tables[table]);
            }
        }
        Shown {
            seq: record.seq,
            tx_id: record.tx_id,
            tables: record.tables,
            rows,
        }
    }

    /// `from` with the delta to `record` applied: what differs between the versions, whatever the graph really held.
    pub fn applied(&self, from: &Shown, record: &Record) -> Shown {
        let mut shown = self.built(record);
        for table in 0..TABLES {
            if !self.tables[table].is_empty() {
                shown.rows[table] ^= from.rows[table] ^ self.rows(table, from.tables[table]);
            }
        }
        shown
    }

    /// The transactions of the log up to `seq`: what every table must hold there.
    pub fn committed_rows(&self, seq: u8) -> Rows {
        let records = self.log.iter().take(usize::from(seq));
        records.fold(0, |rows, slot| match slot.committed.tx_id.kind {
            Kind::Data(transaction) => rows | 1 << transaction,
            Kind::Barrier | Kind::Optimize => rows,
        })
    }
}
