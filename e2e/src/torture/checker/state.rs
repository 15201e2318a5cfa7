//! The registers: a plain model of what transactions do to two tables.
//!
//! A node table of registers (`Register {name, value}`) and an edge table of links between them (`LINK {value}`). A transaction
//! upserts and deletes several rows of both; every row that it upserts has the transaction's own number as its value, so each
//! row that a read shows tells who wrote it. Deleting a register deletes its links.

use std::collections::BTreeMap;

use serde::Serialize;

/// What both tables hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// Value by name.
    pub registers: BTreeMap<String, i64>,
    /// Value by the names of both ends, written `from>to`.
    pub links: BTreeMap<String, i64>,
}

/// One row that a transaction changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    Set(String),
    /// Its links go with it.
    Drop(String),
    Link(String, String),
    Unlink(String, String),
}

/// Changes that apply whole or not at all; no row twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Transaction {
    pub changes: Vec<Change>,
}

/// The key of a link.
pub fn link_key(from: &str, to: &str) -> String {
    format!("{from}>{to}")
}

impl State {
    /// Applies a transaction: first what goes, then what comes.
    ///
    /// # Errors
    /// When a link would have an end that does not exist; says which. The state is not usable then.
    pub fn apply(&mut self, id: i64, transaction: &Transaction) -> Result<(), String> {
        for change in &transaction.changes {
            match change {
                Change::Drop(name) => {
                    self.registers.remove(name);
                    self.links.retain(|key, _| !key.split('>').any(|end| end == name));
                }
                Change::Unlink(from, to) => {
                    self.links.remove(&link_key(from, to));
                }
                Change::Set(_) | Change::Link(..) => {}
            }
        }
        for change in &transaction.changes {
            if let Change::Set(name) = change {
                self.registers.insert(name.clone(), id);
            }
        }
        for change in &transaction.changes {
            if let Change::Link(from, to) = change {
                if let Some(missing) = [from, to]
                    .into_iter()
                    .find(|end| !self.registers.contains_key(*end))
                {
                    return Err(format!("w{id} links {from} to {to}, but there is no {missing}"));
                }
                self.links.insert(link_key(from, to), id);
            }
        }
        Ok(())
    }

    /// What a read of these registers shows: their values, and the links that start at them.
    pub fn view(&self, names: Option<&[String]>) -> Self {
        let Some(names) = names else { return self.clone() };
        let asked = |name: &str| names.iter().any(|asked| asked == name);
        let starts = |key: &str| key.split('>').next().is_some_and(asked);
        Self {
            registers: self
                .registers
                .iter()
                .filter(|(name, _)| asked(name))
                .map(|(name, value)| (name.clone(), *value))
                .collect(),
            links: self
                .links
                .iter()
                .filter(|(key, _)| starts(key))
                .map(|(key, value)| (key.clone(), *value))
                .collect(),
        }
    }

    /// The rows in which two states differ, in words; `None` when they are equal.
    pub fn difference(&self, found: &Self) -> Option<String> {
        let mut rows = Vec::new();
        for (expected, found) in [(&self.registers, &found.registers), (&self.links, &found.links)] {
            let mut keys: Vec<&String> = expected.keys().chain(found.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            let show =
                |value: Option<&i64>| value.map_or_else(|| "nothing".to_owned(), |id| format!("w{id}"));
            rows.extend(
                keys.into_iter()
                    .filter(|key| expected.get(*key) != found.get(*key))
                    .map(|key| {
                        format!(
                            "{key}: expected {}, found {}",
                            show(expected.get(key)),
                            show(found.get(key))
                        )
                    }),
            );
        }
        (!rows.is_empty()).then(|| rows.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(changes: &[Change]) -> Transaction {
        Transaction {
            changes: changes.to_vec(),
        }
    }

    fn set(name: &str) -> Change {
        Change::Set(name.to_owned())
    }

    #[test]
    fn links_go_with_either_end() {
        let mut state = State::default();
        let link = |from: &str, to: &str| Change::Link(from.to_owned(), to.to_owned());
        let first = transaction(&[
            set("a"),
            set("b"),
            set("c"),
            link("a", "b"),
            link("c", "a"),
            link("b", "c"),
        ]);
        state.apply(1, &first).unwrap();
        state
            .apply(2, &transaction(&[Change::Drop("a".to_owned())]))
            .unwrap();
        assert_eq!(state.links.keys().collect::<Vec<_>>(), ["b>c"]);
    }

    #[test]
    fn a_link_to_nothing_is_refused() {
        let link = transaction(&[set("a"), Change::Link("a".to_owned(), "b".to_owned())]);
        let refused = State::default().apply(7, &link);
        assert_eq!(refused, Err("w7 links a to b, but there is no b".to_owned()));
    }

    #[test]
    fn a_view_has_the_registers_asked_for_and_the_links_that_start_there() {
        let mut state = State::default();
        let link = |from: &str, to: &str| Change::Link(from.to_owned(), to.to_owned());
        state
            .apply(
                1,
                &transaction(&[set("a"), set("b"), link("a", "b"), link("b", "a")]),
            )
            .unwrap();
        let view = state.view(Some(&["a".to_owned()]));
        assert_eq!(view.registers.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(view.links.keys().collect::<Vec<_>>(), ["a>b"]);
    }
}
