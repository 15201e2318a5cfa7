//! The digest of a table: its rows' hashes, summed, so that neither order nor batches matter.
//!
//! A row is written as bytes in one form, whichever engine it comes from, hashed (BLAKE3, 128 bits) and added. What a row is:
//! the stable row id, the ends and the key of an edge, and every property that the graph holds, in the schema's order. Each
//! value says whether it is null, and its length where it has one, so that null, empty and a shifted boundary are all told
//! apart.
//!
//! Doubles are written by their bits, with two exceptions: every NaN is the same one, and -0 is 0, because they are one value
//! to Cypher and the engine's compression may take one for the other.
//!
//! Owns: that form and the sum. Does not own: where rows come from (`graph/digest.rs`, `lake/digest.rs`).

/// A table's rows and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableDigest {
    pub rows: u64,
    sum: u128,
}

impl TableDigest {
    /// Counts the rows of both.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl std::fmt::Display for TableDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows, digest {:032x}", self.rows, self.sum)
    }
}

/// Writes one row after the other and adds them to a digest. Keeps its buffer: one allocation for a table.
#[derive(Debug, Default)]
pub(crate) struct RowHasher {
    row: Vec<u8>,
    digest: TableDigest,
    bytes: u64,
}

const NULL: u8 = 0;
const VALUE: u8 = 1;
/// Nothing that the other side writes begins like this: a value of another type than the schema says never compares equal.
const FOREIGN: u8 = 2;

impl RowHasher {
    pub(crate) fn null(&mut self) {
        self.row.push(NULL);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.row.extend([VALUE, u8::from(value)]);
    }

    /// A 64-bit integer, a row id, days, or microseconds.
    pub(crate) fn int(&mut self, value: i64) {
        self.row.push(VALUE);
        self.row.extend(value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, value: f64) {
        let plain = match value {
            value if value.is_nan() => f64::NAN,
            // Also -0.
            0.0 => 0.0,
            value => value,
        };
        self.row.push(VALUE);
        self.row.extend(plain.to_bits().to_le_bytes());
    }

    /// Text or bytes.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.row.push(VALUE);
        self.row.extend((value.len() as u64).to_le_bytes());
        self.row.extend(value);
    }

    /// A list of `items` values, which must follow.
    pub(crate) fn list(&mut self, items: usize) {
        self.row.push(VALUE);
        self.row.extend((items as u64).to_le_bytes());
    }

    /// A value that has no place in this column.
    pub(crate) fn foreign(&mut self, value: &dyn std::fmt::Debug) {
        self.row.push(FOREIGN);
        self.row.extend(format!("{value:?}").into_bytes());
    }

    /// The row is complete.
    pub(crate) fn end_row(&mut self) {
        let hash = blake3::hash(&self.row);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.as_bytes()[..16]);
        self.digest.merge(TableDigest {
            rows: 1,
            sum: u128::from_le_bytes(half),
        });
        self.bytes += self.row.len() as u64;
        self.row.clear();
    }

    /// All rows so far.
    pub(crate) fn digest(&self) -> TableDigest {
        self.digest
    }

    /// Bytes of all rows so far, as they were hashed: about what they need in memory.
    pub(crate) fn bytes_hashed(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&dyn Fn(&mut RowHasher)]) -> TableDigest {
        let mut hasher = RowHasher::default();
        for row in rows {
            row(&mut hasher);
            hasher.end_row();
        }
        hasher.digest()
    }

    #[test]
    fn a_digest_depends_on_the_rows_and_not_on_their_order() {
        let one = |hasher: &mut RowHasher| hasher.int(1);
        let two = |hasher: &mut RowHasher| hasher.int(2);
        let three = |hasher: &mut RowHasher| hasher.int(3);
        assert_eq!(digest(&[&one, &two, &three]), digest(&[&three, &one, &two]));
        assert_ne!(digest(&[&one, &three]), digest(&[&two, &two]));
        assert_ne!(digest(&[&one, &one]), digest(&[&two, &two]));
        assert_ne!(digest(&[&one, &one]), digest(&[&one]));
        let mut merged = digest(&[&one]);
        merged.merge(digest(&[&two]));
        assert_eq!(merged, digest(&[&two, &one]));
    }

    #[test]
    fn values_that_look_alike_are_told_apart() {
        let values: [&dyn Fn(&mut RowHasher); 12] = [
            &|hasher| hasher.null(),
            &|hasher| hasher.bytes(b""),
            &|hasher| hasher.list(0),
            &|hasher| hasher.bool(false),
            &|hasher| hasher.int(0),
            &|hasher| {
                hasher.null();
                hasher.null();
            },
            &|hasher| {
                hasher.list(1);
                hasher.null();
            },
            &|hasher| {
                hasher.list(1);
                hasher.bytes(b"");
            },
            &|hasher| {
                hasher.bytes(b"ab");
                hasher.bytes(b"c");
            },
            &|hasher| {
                hasher.bytes(b"a");
                hasher.bytes(b"bc");
            },
            &|hasher| hasher.double(1.0),
            &|hasher| hasher.foreign(&1.0),
        ];
        let digests: Vec<TableDigest> = values.iter().map(|value| digest(&[*value])).collect();
        for (index, digest) in digests.iter().enumerate() {
            // An empty list and an empty text are of two columns' types and may look the same.
            let same = digests.iter().filter(|other| *other == digest).count();
            let expected = if matches!(index, 1 | 2 | 4) { 3 } else { 1 };
            assert_eq!(same, expected, "value {index}");
        }
    }

    #[test]
    fn one_zero_and_one_nan() {
        let double = |value: f64| digest(&[&move |hasher: &mut RowHasher| hasher.double(value)]);
        assert_eq!(double(0.0), double(-0.0));
        assert_eq!(double(f64::NAN), double(-f64::NAN));
        assert_ne!(double(0.0), double(f64::NAN));
        assert_ne!(double(1.0), double(-1.0));
    }
}
