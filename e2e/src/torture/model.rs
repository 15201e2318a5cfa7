//! A plain model of the graph of [`SCHEMA`](super::harness::SCHEMA): requests of clients, and what each does to the rows.
//!
//! Twins: every request writes or deletes the Account and the Mirror of a key together, with the same stamp. So a read that sees
//! one without the other, or different stamps, saw half a commit. Bulk requests write Accounts with a batch number, whose number
//! of rows is known; such rows have no twin and never change.
//!
//! Owns: requests and rows. Does not own: sending (`workload`), reading nodes (`model_check`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Bulk rows have keys from here on.
const BULK_IDS: i64 = 1_000_000;
/// Keys set apart for one batch.
const BATCH_IDS: i64 = 1_000;

/// One row's change.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Account and Mirror `id`.
    Twins {
        id: i64,
        stamp: i64,
        owner: Option<String>,
    },
    /// Account and Mirror `id` go, and every edge on them.
    Remove {
        id: i64,
    },
    Owe {
        from: i64,
        to: i64,
        amount: Option<i64>,
    },
    Forgive {
        from: i64,
        to: i64,
    },
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    Transaction(Vec<Operation>),
    /// Accounts of one batch.
    Bulk {
        batch: Batch,
        stamp: i64,
    },
}

/// A batch's number, which says how many rows it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch(i64);

impl Batch {
    /// Rows of a batch at most.
    pub const MAX_ROWS: i64 = 999;

    /// The batch `number` with so many rows.
    pub fn new(number: i64, rows: i64) -> Self {
        Self(number * (Self::MAX_ROWS + 1) + rows.min(Self::MAX_ROWS))
    }

    /// The number of rows of the batch that a row names.
    pub fn rows_of(number: i64) -> i64 {
        number % (Self::MAX_ROWS + 1)
    }
}

/// A request with its idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub key: String,
    pub work: Work,
}

/// An Account: stamp, owner, batch.
pub type Account = (i64, Option<String>, Option<i64>);

/// The rows of the graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub accounts: BTreeMap<i64, Account>,
    /// Stamp, weight.
    pub mirrors: BTreeMap<i64, (i64, f64)>,
    pub owes: BTreeMap<(i64, i64), Option<i64>>,
}

/// The weight of the Mirror with this stamp.
fn weight(stamp: i64) -> f64 {
    stamp as f64 / 4.0
}

impl Rows {
    /// Does what `request` says.
    pub fn apply(&mut self, request: &Request) {
        match &request.work {
            Work::Transaction(operations) => operations.iter().for_each(|operation| self.change(operation)),
            Work::Bulk { batch, stamp } => {
                for row in 0..Batch::rows_of(batch.0) {
                    let account = (*stamp, None, Some(batch.0));
                    self.accounts.insert(bulk_id(*batch, row), account);
                }
            }
        }
    }

    fn change(&mut self, operation: &Operation) {
        match operation {
            Operation::Twins { id, stamp, owner } => {
                self.accounts.insert(*id, (*stamp, owner.clone(), None));
                self.mirrors.insert(*id, (*stamp, weight(*stamp)));
            }
            Operation::Remove { id } => {
                self.accounts.remove(id);
                self.mirrors.remove(id);
                self.owes.retain(|(from, to), _| from != id && to != id);
            }
            Operation::Owe { from, to, amount } => {
                self.owes.insert((*from, *to), *amount);
            }
            Operation::Forgive { from, to } => {
                self.owes.remove(&(*from, *to));
            }
        }
    }
}

fn bulk_id(batch: Batch, row: i64) -> i64 {
    BULK_IDS + batch.0 * BATCH_IDS + row
}

impl Request {
    /// The body of `POST /v1/transactions`; none for a bulk request.
    pub fn transaction(&self) -> Option<Value> {
        let Work::Transaction(operations) = &self.work else {
            return None;
        };
        let of =
            |table: fn(&Operation) -> Option<Value>| operations.iter().filter_map(table).collect::<Vec<_>>();
        let accounts = of(|operation| match operation {
            Operation::Twins { id, stamp, owner } => Some(json!({"id": id, "stamp": stamp, "owner": owner})),
            _ => None,
        });
        let mirrors = of(|operation| match operation {
            Operation::Twins { id, stamp, .. } => {
                Some(json!({"id": id, "stamp": stamp, "weight": weight(*stamp)}))
            }
            _ => None,
        });
        let owes = of(|operation| match operation {
            Operation::Owe { from, to, amount } => Some(json!({"from": from, "to": to, "amount": amount})),
            _ => None,
        });
        let forgiven = of(|operation| match operation {
            Operation::Forgive { from, to } => Some(json!({"from": from, "to": to})),
            _ => None,
        });
        let removed = of(|operation| match operation {
            Operation::Remove { id } => Some(json!(id)),
            _ => None,
        });
        let mut parts = Vec::new();
        for (table, rows) in [("Account", accounts), ("Mirror", mirrors), ("OWES", owes)] {
            if !rows.is_empty() {
                parts.push(json!({"upsert": {"table": table, "rows": rows}}));
            }
        }
        for (table, keys) in [
            ("OWES", forgiven),
            ("Account", removed.clone()),
            ("Mirror", removed),
        ] {
            if !keys.is_empty() {
                parts.push(json!({"delete": {"table": table, "keys": keys}}));
            }
        }
        Some(json!({"idempotency_key": self.key, "operations": parts}))
    }

    /// The body of a bulk request, newline-delimited JSON; none for a transaction.
    pub fn bulk(&self) -> Option<Vec<u8>> {
        let Work::Bulk { batch, stamp } = self.work else {
            return None;
        };
        let lines = (0..Batch::rows_of(batch.0)).map(|row| {
            let account = json!({"id": bulk_id(batch, row), "stamp": stamp, "owner": null, "batch": batch.0});
            format!("{account}\n")
        });
        Some(lines.collect::<String>().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_takes_its_edges_along() {
        let mut rows = Rows::default();
        let twins = |id| Operation::Twins {
            id,
            stamp: 1,
            owner: None,
        };
        let owe = |from, to| Operation::Owe {
            from,
            to,
            amount: None,
        };
        let work = vec![twins(1), twins(2), twins(3), owe(1, 2), owe(2, 3), owe(3, 3)];
        rows.apply(&Request {
            key: "a".to_owned(),
            work: Work::Transaction(work),
        });
        rows.apply(&Request {
            key: "b".to_owned(),
            work: Work::Transaction(vec![Operation::Remove { id: 2 }]),
        });
        assert_eq!(rows.owes.keys().collect::<Vec<_>>(), [&(3, 3)]);
        assert_eq!((rows.accounts.len(), rows.mirrors.len()), (2, 2));
    }
}
