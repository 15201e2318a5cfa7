//! The keys of one bulk request: what the requests after it are checked with while the local graph does not hold it yet.

use crate::rows::{KeyColumns, KeySet};
use crate::schema::TableSchema;

/// Memory for the hashes of one request, and as much again for its nodes' keys, in bytes. Of a larger one neither is known,
/// and who needs them waits for the graph.
const MEMORY: usize = 32 << 20;

/// Keys of the rows of one bulk request, as far as they fit into memory.
#[derive(Debug)]
pub(super) struct LoadKeys {
    pub(super) table: String,
    /// Of every row's key, in order.
    hashes: Option<Vec<u64>>,
    /// The keys themselves, of a node table.
    nodes: Option<KeySet>,
}

/// Collects the keys of batch after batch.
#[derive(Debug)]
pub(super) struct KeyCollector {
    table: String,
    hashes: Vec<u64>,
    nodes: Option<KeySet>,
}

impl KeyCollector {
    pub(super) fn new(table: &TableSchema) -> Self {
        Self {
            table: table.name.clone(),
            hashes: Vec::new(),
            nodes: table.is_node().then(KeySet::default),
        }
    }

    /// Adds the keys of a batch.
    pub(super) fn add(&mut self, keys: &KeyColumns<'_>, rows: usize) {
        self.hashes.extend(keys.hashes());
        if let (Some(nodes), [primary_key]) = (&mut self.nodes, keys.parts()) {
            for row in 0..rows {
                nodes.insert(primary_key.get(row));
            }
            if nodes.memory() > MEMORY {
                self.nodes = None;
            }
        }
    }

    /// The collected keys, and the hashes that more than one row has.
    pub(super) fn finish(self) -> (LoadKeys, Vec<u64>) {
        let mut hashes = self.hashes;
        hashes.sort_unstable();
        let mut repeated: Vec<u64> = hashes
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
            .collect();
        repeated.dedup();
        let keys = LoadKeys {
            table: self.table,
            hashes: (hashes.len() * size_of::<u64>() <= MEMORY).then_some(hashes),
            nodes: self.nodes,
        };
        (keys, repeated)
    }
}

impl LoadKeys {
    /// Whether some row may have the key of a row of `other`, a request for the same table.
    pub(super) fn may_share_with(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (&self.hashes, &other.hashes) else {
            return true;
        };
        let (mut ours, mut theirs) = (ours.as_slice(), theirs.as_slice());
        while let (Some(a), Some(b)) = (ours.first(), theirs.first()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => ours = &ours[1..],
                std::cmp::Ordering::Greater => theirs = &theirs[1..],
                std::cmp::Ordering::Equal => return true,
            }
        }
        false
    }

    /// The nodes' keys, if they are known.
    pub(super) fn nodes(&self) -> Option<&KeySet> {
        self.nodes.as_ref()
    }

    /// Bytes in memory.
    pub(super) fn memory(&self) -> usize {
        self.hashes
            .as_ref()
            .map_or(0, |hashes| hashes.len() * size_of::<u64>())
            + self.nodes.as_ref().map_or(0, KeySet::memory)
    }

    /// Of a commit that wrote no rows.
    pub(super) fn none() -> Self {
        Self {
            // No table has this name.
            table: String::new(),
            hashes: Some(Vec::new()),
            nodes: None,
        }
    }

    /// The same request with nothing known about its keys.
    pub(super) fn forgotten(&self) -> Self {
        Self {
            table: self.table.clone(),
            hashes: None,
            nodes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(hashes: Option<&[u64]>) -> LoadKeys {
        LoadKeys {
            table: "T".to_owned(),
            hashes: hashes.map(<[u64]>::to_vec),
            nodes: None,
        }
    }

    #[test]
    fn requests_share_keys_only_if_a_hash_is_in_both() {
        for (a, b, shares) in [
            (&[][..], &[1][..], false),
            (&[1, 3, 5], &[0, 2, 4, 6], false),
            (&[1, 3, 5], &[5], true),
            (&[7, 7], &[1, 7], true),
        ] {
            assert_eq!(
                keys(Some(a)).may_share_with(&keys(Some(b))),
                shares,
                "{a:?} {b:?}"
            );
            assert_eq!(
                keys(Some(b)).may_share_with(&keys(Some(a))),
                shares,
                "{b:?} {a:?}"
            );
        }
        assert!(
            keys(Some(&[])).may_share_with(&keys(None)),
            "unknown keys may be any"
        );
    }
}
