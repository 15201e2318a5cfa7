//! The identity of rows seen through their columns: what a bulk request is checked with, without an allocation per row.
//!
//! Owns: borrowing, hashing and collecting keys. Does not own: what the keys are compared with.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};

use super::{Key, RowKey};
use crate::schema::TableSchema;

/// One part of a row's identity, borrowed from its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRef<'a> {
    Int(i64),
    String(&'a str),
}

impl KeyRef<'_> {
    /// The same, owned.
    pub fn to_key(self) -> Key {
        match self {
            Self::Int(number) => Key::Int(number),
            Self::String(text) => Key::String(text.into()),
        }
    }
}

/// One key column of a batch; it has no nulls.
#[derive(Debug, Clone, Copy)]
pub enum KeyColumn<'a> {
    Int(&'a Int64Array),
    String(&'a StringArray),
}

impl<'a> KeyColumn<'a> {
    fn new(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Int64 => Self::Int(array.as_primitive::<Int64Type>()),
            _ => Self::String(array.as_string::<i32>()),
        }
    }

    /// The value in a row.
    pub fn get(self, row: usize) -> KeyRef<'a> {
        match self {
            Self::Int(array) => KeyRef::Int(array.value(row)),
            Self::String(array) => KeyRef::String(array.value(row)),
        }
    }
}

/// The key columns of a batch: `[primary key]`, `[from, to]` or `[from, to, key]`.
#[derive(Debug)]
pub struct KeyColumns<'a> {
    parts: Vec<KeyColumn<'a>>,
    rows: usize,
}

impl<'a> KeyColumns<'a> {
    /// Of a batch that conforms to `table`.
    ///
    /// # Panics
    /// When the batch does not conform.
    pub fn of(table: &TableSchema, batch: &'a RecordBatch) -> Self {
        let indices = table.key_columns().into_iter();
        Self {
            parts: indices.map(|index| KeyColumn::new(batch.column(index))).collect(),
            rows: batch.num_rows(),
        }
    }

    /// The columns, in the order of [`TableSchema::key_columns`].
    pub fn parts(&self) -> &[KeyColumn<'a>] {
        &self.parts
    }

    /// One hash per row. Equal keys have equal hashes, in every batch of this process; different keys may have as well.
    pub fn hashes(&self) -> impl Iterator<Item = u64> {
        (0..self.rows).map(|row| {
            let mut hasher = DefaultHasher::new();
            for part in &self.parts {
                part.get(row).hash(&mut hasher);
            }
            hasher.finish()
        })
    }

    /// The identity of a row, owned.
    pub fn row_key(&self, row: usize) -> RowKey {
        let part = |column: &KeyColumn<'_>| column.get(row).to_key();
        match self.parts.as_slice() {
            [primary_key] => RowKey::Node(part(primary_key)),
            [from, to, key @ ..] => RowKey::Edge {
                from: part(from),
                to: part(to),
                key: key.first().map(part),
            },
            [] => unreachable!("every table has a key"),
        }
    }
}

/// An exact set of node keys of one table.
#[derive(Debug, Default)]
pub struct KeySet {
    numbers: HashSet<i64>,
    texts: HashSet<Box<str>>,
    text_bytes: usize,
}

impl KeySet {
    /// Adds a key; `false` when it was there.
    pub fn insert(&mut self, key: KeyRef<'_>) -> bool {
        match key {
            KeyRef::Int(number) => self.numbers.insert(number),
            KeyRef::String(text) => {
                let new = !self.texts.contains(text);
                if new {
                    self.text_bytes += text.len();
                    self.texts.insert(text.into());
                }
                new
            }
        }
    }

    /// Whether the key is in the set.
    pub fn contains(&self, key: KeyRef<'_>) -> bool {
        match key {
            KeyRef::Int(number) => self.numbers.contains(&number),
            KeyRef::String(text) => self.texts.contains(text),
        }
    }

    /// Keys in the set.
    pub fn len(&self) -> usize {
        self.numbers.len() + self.texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        // A slot with its control byte, at the load a table has after it grew; a text also has an allocation.
        let slots = |capacity: usize, slot: usize| capacity * 8 / 7 * (slot + 1);
        slots(self.numbers.capacity(), size_of::<i64>())
            + slots(self.texts.capacity(), size_of::<Box<str>>())
            + self.texts.len() * 16
            + self.text_bytes
    }

    /// The keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = KeyRef<'_>> {
        let texts = self.texts.iter().map(|text| KeyRef::String(text));
        self.numbers
            .iter()
            .map(|number| KeyRef::Int(*number))
            .chain(texts)
    }
}
