//! The searches that the tests run.
//!
//! Each is a few seconds: bounds are chosen so that the search ends.
#![allow(dead_code, reason = "every test file uses its part")]

use slipstream_model::{Bounds, Budget, Seen};

/// One configuration and what it is for.
pub(crate) struct Search {
    pub(crate) name: &'static str,
    pub(crate) bounds: Bounds,
    pub(crate) expected: &'static [Seen],
}

const NOTHING: Budget = Budget {
    claims: 0,
    crashes: 0,
    unknown: 0,
    graph_failures: 0,
    optimizes: 0,
    cleanings: 0,
    snapshots: 0,
    expiries: 0,
    lost_disks: 0,
    lost_events: 0,
    forged_events: 0,
};

const SMALL: Bounds = Bounds {
    writers: 1,
    replicas: 1,
    tables: 1,
    transactions: 2,
    budget: NOTHING,
    bells: false,
    trims: false,
    flaw: None,
};

/// All of them.
pub(crate) const SEARCHES: &[Search] = &[
    Search {
        name: "two_writers_and_two_tables",
        bounds: Bounds {
            writers: 2,
            replicas: 0,
            tables: 2,
            budget: Budget {
                claims: 2,
                graph_failures: 1,
                ..NOTHING
            },
            ..SMALL
        },
        expected: &[
            Seen::FencedByRecord,
            Seen::FencedByHeartbeat,
            Seen::FencedInUndo,
            Seen::FencedInBarrier,
            Seen::OldCommitBeforeBarrier,
            Seen::StrayLeft,
            Seen::Interference,
            Seen::Redone,
            Seen::AnsweredFromLog,
            Seen::GraphFailureUndone,
        ],
    },
    Search {
        name: "two_writers_crash_and_come_back",
        bounds: Bounds {
            writers: 2,
            replicas: 0,
            tables: 2,
            transactions: 1,
            budget: Budget {
                claims: 3,
                crashes: 1,
                ..NOTHING
            },
            ..SMALL
        },
        expected: &[Seen::RolledForward, Seen::AnsweredFromLog, Seen::StrayLeft],
    },
    Search {
        name: "two_writers_and_lost_answers",
        bounds: Bounds {
            writers: 2,
            replicas: 0,
            budget: Budget {
                claims: 2,
                unknown: 2,
                optimizes: 1,
                ..NOTHING
            },
            ..SMALL
        },
        expected: &[
            Seen::UnknownCommitted,
            Seen::UnknownNotThere,
            Seen::UnknownFenced,
            Seen::LatePutLanded,
            Seen::LatePutRefused,
            Seen::Optimized,
        ],
    },
    Search {
        name: "three_writers",
        bounds: Bounds {
            writers: 3,
            replicas: 0,
            transactions: 2,
            budget: Budget { claims: 3, ..NOTHING },
            ..SMALL
        },
        expected: &[
            Seen::FencedByRecord,
            Seen::OldCommitBeforeBarrier,
            Seen::Interference,
        ],
    },
    Search {
        name: "two_replicas_follow",
        bounds: Bounds {
            replicas: 2,
            tables: 2,
            budget: Budget {
                claims: 2,
                crashes: 2,
                ..NOTHING
            },
            ..SMALL
        },
        expected: &[Seen::Coalesced, Seen::RolledForward, Seen::StrayLeft],
    },
    Search {
        name: "cleaning_and_a_replica_that_slept",
        bounds: Bounds {
            replicas: 2,
            budget: Budget {
                claims: 1,
                optimizes: 1,
                cleanings: 1,
                expiries: 1,
                crashes: 1,
                ..NOTHING
            },
            ..SMALL
        },
        expected: &[Seen::Optimized, Seen::Cleaned, Seen::RebuiltAfterCleaning],
    },
    Search {
        name: "snapshots_and_cleaning",
        bounds: Bounds {
            transactions: 2,
            budget: Budget {
                claims: 1,
                snapshots: 2,
                cleanings: 1,
                lost_disks: 1,
                crashes: 1,
                ..NOTHING
            },
            trims: true,
            ..SMALL
        },
        expected: &[
            Seen::SnapshotTaken,
            Seen::SnapshotRestored,
            Seen::SnapshotDropped,
            Seen::Cleaned,
        ],
    },
    Search {
        name: "zombies_over_a_trimmed_log",
        bounds: Bounds {
            writers: 2,
            replicas: 0,
            budget: Budget {
                claims: 3,
                cleanings: 1,
                ..NOTHING
            },
            trims: true,
            ..SMALL
        },
        expected: &[
            Seen::Trimmed,
            Seen::StrayRecord,
            Seen::StrayRecordDetected,
            Seen::WriterBuiltAgain,
        ],
    },
    Search {
        name: "a_replica_that_slept_over_a_trimmed_log",
        bounds: Bounds {
            writers: 2,
            budget: Budget {
                claims: 2,
                cleanings: 1,
                expiries: 1,
                ..NOTHING
            },
            trims: true,
            ..SMALL
        },
        expected: &[Seen::StrayRecord, Seen::JoinedAfterTrimming],
    },
    Search {
        name: "events_lost_and_forged",
        bounds: Bounds {
            replicas: 2,
            bells: true,
            budget: Budget {
                claims: 2,
                crashes: 1,
                lost_events: 2,
                forged_events: 1,
                ..NOTHING
            },
            ..SMALL
        },
        expected: &[Seen::EventLost, Seen::EventForged, Seen::Coalesced],
    },
];
