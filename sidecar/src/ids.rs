//! Identifiers and positions, each a type of its own so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Dense number of a commit: 1, 2, 3 …; 0 stands for the empty graph before the first commit.
    Seq
);
number!(
    /// Number of a writer incarnation; a newer one fences all older ones.
    Epoch
);
number!(
    /// Version of one Lance dataset.
    LanceVersion
);
number!(
    /// Lance's stable row id: kept across compactions, new for every new version of a row.
    RowId
);

impl Seq {
    /// The commit number after this one; nothing comes after the last number there is.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Epoch {
    /// The epoch that a writer taking over from this one holds.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// UUIDv7 of a commit, strictly increasing along the log. The nil UUID stands for "before the first commit".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxId(pub Uuid);

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for TxId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

impl TxId {
    /// A UUIDv7 (RFC 9562, section 5.7) for `unix_millis` that is greater than `previous`, also when the clock went back:
    /// then it is `previous` plus one in its random part.
    pub fn after(previous: TxId, unix_millis: u64) -> Self {
        let seconds = unix_millis / 1000;
        let nanos = (unix_millis % 1000) as u32 * 1_000_000;
        let fresh = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos));
        if fresh > previous.0 {
            Self(fresh)
        } else {
            previous.successor()
        }
    }

    /// The next greater valid UUIDv7: counts up in `rand_b`, carries into `rand_a`, then into the time.
    fn successor(self) -> Self {
        const RAND_B: u128 = (1 << 62) - 1;
        let bits = self.0.as_u128();
        let time = bits >> 80;
        let rand_a = (bits >> 64) & 0xfff;
        let counter = ((time << 12 | rand_a) << 62 | (bits & RAND_B)) + 1;
        let (high, rand_b) = (counter >> 62, counter & RAND_B);
        let (time, rand_a) = (high >> 12, high & 0xfff);
        Self(Uuid::from_u128(
            time << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tx_ids_increase_when_the_clock_stands_still_or_goes_back() {
        let mut last = TxId::default();
        for millis in [
            1_700_000_000_000,
            1_700_000_000_000,
            1_600_000_000_000,
            5,
            1_700_000_000_001,
        ] {
            for _ in 0..100 {
                let next = TxId::after(last, millis);
                assert!(next > last, "{next} after {last}");
                assert_eq!(next.0.get_version_num(), 7);
                last = next;
            }
        }
    }

    #[test]
    fn the_successor_carries_from_the_random_part_into_the_time() {
        let full = TxId(Uuid::parse_str("018f6c6e-6ea8-7fff-bfff-ffffffffffff").unwrap());
        assert_eq!(
            full.successor().to_string(),
            "018f6c6e-6ea9-7000-8000-000000000000"
        );
    }
}
