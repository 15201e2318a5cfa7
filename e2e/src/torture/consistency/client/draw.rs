//! What a session does next, drawn by chance: a transaction, or a read's floor and the registers it reads.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::Session;
use crate::torture::checker::state::{Change, Transaction, link_key};
use crate::torture::consistency::shared::lock;
use crate::torture::history::Floor;

/// Registers; few, so that transactions meet.
const REGISTERS: usize = 12;
/// Demanded staleness, at most.
const STALENESS_MS: u64 = 2_000;

impl Session {
    pub(super) fn floor(&mut self) -> Floor {
        let min_tx = |tx_id: Option<String>, own| match tx_id {
            Some(tx_id) => Floor::MinTx { tx_id, own },
            None => Floor::Nothing,
        };
        match self.random.random_range(0..20) {
            0..4 => Floor::Nothing,
            4..9 => min_tx(self.token.clone(), true),
            9..12 => min_tx(lock(&self.shared.newest_tx).clone(), false),
            12..15 => Floor::MaxStaleness {
                ms: self.random.random_range(1..STALENESS_MS),
            },
            _ => Floor::Strong,
        }
    }

    pub(super) fn names(&mut self) -> Option<Vec<String>> {
        let some = self.random.random_bool(0.3);
        let count = self.random.random_range(1..4);
        some.then(|| self.pick(count))
    }

    fn pick(&mut self, count: usize) -> Vec<String> {
        let all: Vec<String> = (0..REGISTERS).map(|number| format!("r{number:02}")).collect();
        all.choose_multiple(&mut self.random, count).cloned().collect()
    }

    /// One to four registers set or dropped, and links between some of them and others; no row twice.
    pub(super) fn transaction(&mut self) -> Transaction {
        let count = self.random.random_range(1..5);
        let names = self.pick(count);
        let dropped = self.random.random_bool(0.2).then(|| names[0].clone());
        let mut changes: Vec<Change> = names
            .iter()
            .map(|name| match Some(name) == dropped.as_ref() {
                true => Change::Drop(name.clone()),
                false => Change::Set(name.clone()),
            })
            .collect();
        let mut linked = Vec::new();
        for _ in 0..self.random.random_range(0..4) {
            // An end that this transaction does not set may not exist: such a transaction is refused.
            let from = names.choose(&mut self.random).cloned().unwrap_or_default();
            let to = match self.random.random_bool(0.8) {
                true => names.choose(&mut self.random).cloned().unwrap_or_default(),
                false => self.pick(1).remove(0),
            };
            let key = link_key(&from, &to);
            let is_dropped = [&from, &to].into_iter().any(|end| Some(end) == dropped.as_ref());
            if linked.contains(&key) {
                continue;
            }
            linked.push(key);
            changes.push(match !is_dropped && self.random.random_bool(0.7) {
                true => Change::Link(from, to),
                false => Change::Unlink(from, to),
            });
        }
        Transaction { changes }
    }
}
